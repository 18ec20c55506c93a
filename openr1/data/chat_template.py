"""Chat templates: by name, file or text; and whether one of them can teach reasoning, by a real round trip.

Works on any tokenizer object of transformers; imports none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.data.messages import Message
from openr1.errors import RecipeError

FOLDER = Path(__file__).parent / "templates"
SHIPPED = ("chatml", "deepseek-r1", "plain")
"""Templates that come with openr1. All write assistant turns whole."""
MARK = "openr1 looks for the end of this answer"
PROBED = 64  # conversations that go through the template and back
THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)


def template_text(value: str | None) -> str | None:
    """A section's `chat_template` as Jinja text: a shipped name, a file, or the text itself.

    Raises:
        RecipeError: it is none of them.
    """
    if value is None or "{" in value:
        return value
    if value in SHIPPED:
        return (FOLDER / f"{value}.jinja").read_text(encoding="utf-8")
    path = Path(value).expanduser()
    if path.is_file():
        return path.read_text(encoding="utf-8")
    raise RecipeError(
        f"there is no chat template `{value}`",
        where="chat_template",
        fix=f"one of {', '.join(SHIPPED)}, a file, or Jinja text",
    )


def use_template(tokenizer: Any, value: str | None) -> None:
    """Give a tokenizer the section's template; of several named ones the default becomes the only one."""
    text = template_text(value)
    if text is not None:
        tokenizer.chat_template = text
    elif isinstance(tokenizer.chat_template, dict):
        tokenizer.chat_template = tokenizer.chat_template.get("default")


def opens_think(tokenizer: Any, prompt: Sequence[Message]) -> bool:
    """Whether the generation prompt already opens `<think>`; rewards and grading must know (trl#6966)."""
    if tokenizer.chat_template is None:
        return False
    return render(tokenizer, prompt, generation=True).rstrip().endswith("<think>")


def render(tokenizer: Any, messages: Sequence[Message], *, generation: bool = False) -> str:
    """The conversation as text.

    Raises:
        RecipeError: what the template itself refuses.
    """
    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generation)
    except Exception as error:  # jinja2's, or any that a template's own code raises
        roles = ", ".join(m["role"] for m in messages)
        raise RecipeError(
            f"the chat template refuses a conversation of {roles}: {error}",
            where="chat_template",
            fix=f"mend the rows, or use --chat_template {fitting(tokenizer)}",
        ) from error
    return str(text)


def fitting(tokenizer: Any) -> str:
    """The shipped template whose tokens this tokenizer has."""
    if _has(tokenizer, "<｜Assistant｜>"):
        return "deepseek-r1"
    return "chatml" if _has(tokenizer, "<|im_end|>") else "plain"


def _has(tokenizer: Any, token: str) -> bool:
    found = tokenizer.convert_tokens_to_ids(token)  # the unknown token's, for one that is not there
    return found is not None and tokenizer.convert_ids_to_tokens(found) == token


@dataclass(frozen=True)
class Checked:
    """What a tokenizer must be set to before it trains, and what is worth saying."""

    eos: str
    pad: str
    opens_think: bool = False
    notices: tuple[str, ...] = ()


def check_for_sft(
    tokenizer: Any,
    conversations: Sequence[Sequence[Message]],
    *,
    eos_token: str | None = None,
    pad_token: str | None = None,
) -> Checked:
    """Send conversations through the template and the tokenizer and look at what comes back.

    Args:
        tokenizer: with the template that training will use.
        conversations: some of the dataset's, whole; none for plain text.
        eos_token, pad_token: what the section sets; None leaves the choice here.

    Raises:
        RecipeError: the template deletes the reasoning, an answer does not end in a token that can be learnt
            as its end, or the section's own EOS and padding tokens cannot work.
    """
    for key, token in (("eos_token", eos_token), ("pad_token", pad_token)):
        if token is not None and not _has(tokenizer, token):
            raise RecipeError(f"the tokenizer has no token `{token}`", where=key, fix="name one it has")
    notices: list[str] = []
    eos, opened = eos_token or tokenizer.eos_token, False
    some = [conversations[i] for i in _spread(len(conversations), PROBED)]
    if some:
        _need_template(tokenizer)
        notices += _round_trip(tokenizer, some)
        eos = _end(tokenizer, some[0], eos_token, notices)
        asked = [m for m in some[0] if m["role"] != "assistant"]
        opened = bool(asked) and opens_think(tokenizer, asked)
        if opened:
            notices.append(
                "the chat template's generation prompt opens <think> by itself; rewards and grading know"
            )
    if eos is None:
        raise RecipeError(
            "the tokenizer has no EOS token: the model would never learn to stop",
            where="eos_token",
            fix="set eos_token to a token that ends a text",
        )
    return Checked(eos, _pad(tokenizer, eos, pad_token, notices), opened, tuple(notices))


def _spread(total: int, count: int) -> list[int]:
    """`count` places, evenly over `total`."""
    return sorted({index * total // count for index in range(count)}) if total else []


def _need_template(tokenizer: Any) -> None:
    if tokenizer.chat_template is None:
        raise RecipeError(
            "this model's tokenizer has no chat template, and the rows are conversations",
            where="chat_template",
            fix=f"--chat_template {fitting(tokenizer)}",
        )


def _squeezed(text: str) -> str:
    """Without white space and in one normal form: templates and tokenizers may differ in both."""
    return "".join(unicodedata.normalize("NFC", text).split())


def _round_trip(tokenizer: Any, conversations: Sequence[Sequence[Message]]) -> list[str]:
    """Refuse a template that loses the reasoning; say what else does not come back whole."""
    earlier = altered = unread = 0
    for messages in conversations:
        text = render(tokenizer, messages)
        back = _squeezed(
            tokenizer.decode(
                tokenizer(text, add_special_tokens=False)["input_ids"],
                skip_special_tokens=False,
                clean_up_tokenization_spaces=False,
            )
        )
        unread += back != _squeezed(text)
        answers = [m["content"] for m in messages if m["role"] == "assistant"]
        written = _squeezed(text)
        end = len(written)  # from the last turn back: two turns may have thought the same
        for number, answer in enumerate(reversed(answers)):
            lost = False
            for thought in filter(None, map(_squeezed, reversed(THOUGHT.findall(answer)))):
                place = written.rfind(thought, 0, end)
                lost = lost or place < 0
                end = place if place >= 0 else end
            if lost and number == 0:
                raise RecipeError(
                    "the chat template deletes <think>…</think> from the assistant's turns: "
                    "the reasoning would not be learnt",
                    where="chat_template",
                    fix=f"--chat_template {fitting(tokenizer)} (shipped with openr1) keeps it",
                )
            earlier += lost
            altered += not lost and _squeezed(answer) not in written
    said = []
    total = len(conversations)
    if earlier:
        said.append(
            f"the chat template drops the reasoning of {earlier} earlier turns ({total} rows looked at)"
        )
    if altered:
        said.append(f"the chat template rewrites {altered} answers ({total} rows looked at)")
    if unread:
        said.append(f"{unread} of {total} rows looked at lose characters that the tokenizer does not know")
    return said


def _end(tokenizer: Any, messages: Sequence[Message], asked: str | None, notices: list[str]) -> str:
    """The token that ends an answer in this template: the EOS, or the one that must become it."""
    turns = list(messages)
    while turns[-1]["role"] != "assistant":
        turns.pop()
    text = render(tokenizer, [*turns[:-1], {"role": "assistant", "content": MARK}])
    tail = text.rpartition(MARK)[2]
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
    eos = asked or tokenizer.eos_token
    if eos is not None and tokenizer.convert_tokens_to_ids(eos) in ids:
        return str(eos)
    special = {
        *tokenizer.all_special_ids,
        *(i for i, t in tokenizer.added_tokens_decoder.items() if t.special),
    }
    ends = [tokenizer.convert_ids_to_tokens(i) for i in ids if i in special]
    shown = tail.strip() or "nothing"
    if ends and asked is None:
        notices.append(
            f"eos_token is {ends[0]}, which ends an answer in the chat template; the tokenizer's own is {eos}"
        )
        return str(ends[0])
    raise RecipeError(
        f"the chat template ends an answer with {shown}, and the EOS token is {eos}: "
        "the model would never learn to stop",
        where="eos_token" if asked else "chat_template",
        fix=f"--eos_token '{ends[0]}'" if ends else f"--chat_template {fitting(tokenizer)}",
    )


def _pad(tokenizer: Any, eos: str, asked: str | None, notices: list[str]) -> str:
    """A padding token that is not the EOS: padding is masked, and would take the EOS with it."""
    if asked == eos:
        other = _other_pad(tokenizer, eos)
        raise RecipeError(
            f"pad_token is the EOS token {eos}: what pads is masked, and the model never learns to stop",
            where="pad_token",
            fix=f"--pad_token '{other}'" if other else "name a token that no text holds",
        )
    own = asked or tokenizer.pad_token
    if own is not None and own != eos:
        return str(own)
    other = _other_pad(tokenizer, eos)
    if other is None:
        raise RecipeError(
            f"the tokenizer pads with its EOS token {eos}, and no other token offers itself",
            where="pad_token",
            fix="set pad_token to a token that no text holds",
        )
    was = f"the tokenizer pads with its EOS token {eos}" if own else "the tokenizer has no padding token"
    notices.append(f"pad_token is {other}: {was}")
    return other


def _other_pad(tokenizer: Any, eos: str) -> str | None:
    """A special token that can pad: one that says so, `<|endoftext|>`, a reserved one, the unknown token."""
    special = [t.content for _, t in sorted(tokenizer.added_tokens_decoder.items()) if t.special]
    names = dict.fromkeys([*special, *tokenizer.all_special_tokens])
    wishes = ("pad", "<|endoftext|>", "reserved", "unk")
    for wish in wishes:
        for name in names:
            if wish in name.lower() and name != eos:
                return str(name)
    return None
