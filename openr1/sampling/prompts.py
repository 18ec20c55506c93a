"""Conversations as the text and tokens a model reads: one rendering for every backend with a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openr1.data.chat_template import template_text
from openr1.errors import RecipeError
from openr1.sampling.requests import Failure, Request, with_prefill


@dataclass(frozen=True)
class Prompt:
    """A request as the model reads it: its text, its token ids, and the tokens its completion may have."""

    text: str
    ids: list[int]
    limit: int

    def shortened(self, wanted: int) -> int | None:
        """The limit, where the context leaves less than was wanted."""
        return self.limit if self.limit < wanted else None


class TemplateRefusal(RecipeError):
    """A chat template that will not have one conversation; others it may."""


class Prompts:
    """A tokenizer and the chat template in force.

    Args:
        source: the model's name, for messages.
        chat_template: Jinja text, a file that holds it, or a name that comes with openr1; None takes the
            tokenizer's own.
    """

    def __init__(self, tokenizer: Any, source: str, chat_template: str | None = None) -> None:
        self.tokenizer, self.source = tokenizer, source
        self.template = template_text(chat_template) if chat_template else tokenizer.chat_template

    def text(self, request: Request) -> str:
        """What the model is given to complete.

        Raises:
            RecipeError: the model has no chat template.
            TemplateRefusal: its template refuses the conversation.
        """
        if request.prompt is not None:
            return with_prefill(request.prompt, request.prefill)
        if self.template is None:
            raise RecipeError(
                "this model's tokenizer has no chat template",
                where=self.source,
                fix="use an instruct or trained model, or name one with --chat_template FILE",
            )
        try:
            rendered = self.tokenizer.apply_chat_template(
                list(request.messages),
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except Exception as error:  # jinja2's, and whatever a template's own code raises
            raise TemplateRefusal(
                f"the chat template refuses the conversation: {error}",
                where=self.source,
                fix="name another template with --chat_template FILE, or leave system_prompt out",
            ) from error
        return with_prefill(str(rendered), request.prefill)

    def fitted(self, request: Request, wanted: int, context: int | None) -> Prompt | Failure:
        """One request for `wanted` tokens of completion at most, or why it cannot be asked.

        Args:
            context: prompt and completion together, in tokens; None where there is no such limit.

        Raises:
            RecipeError: the model has no chat template.
        """
        try:
            text = self.text(request)
        except TemplateRefusal as error:
            return Failure("refused", error.what, 1, self.source)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        room = wanted if context is None else min(wanted, context - len(ids))
        if room < 1:
            said = f"the prompt has {len(ids):,} tokens, and the model's context {context:,}"
            return Failure("too long", said, 1, self.source)
        return Prompt(text, ids, room)

    def ids(self, requests: Sequence[Request]) -> list[list[int]]:
        """Token ids of each prompt. The template has written the special tokens; none is added again."""
        texts = [self.text(request) for request in requests]
        found: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        return found
