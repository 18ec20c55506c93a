"""What is asked of a model and what comes back, whatever the backend."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from openr1.errors import ComponentFailed, OpenR1Error, RecipeError


@dataclass(frozen=True)
class SamplingParams:
    """How completions are drawn; the names are those of vLLM and transformers."""

    temperature: float
    top_p: float
    top_k: int | None
    max_new_tokens: int
    seed: int

    def text(self) -> str:
        """All of it on one line, as a part of a sample's key."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Request:
    """One completion to draw: sample `index` of one conversation.

    Args:
        row: the problem's number in its dataset.
        messages: the conversation up to the answer.
        task: what the problem belongs to; "" where there is only one.
        prefill: text the answer is made to begin with.
        prompt: the text to complete, where it is no conversation (lighteval); None renders the messages.
        stop: texts that end the answer.
    """

    row: int
    index: int
    messages: tuple[dict[str, str], ...]
    task: str = ""
    prefill: str = ""
    prompt: str | None = None
    stop: tuple[str, ...] = ()

    def key(self, model: str, protocol: str) -> str:
        """Sixteen hex digits that name this sample: task, problem, index, model and protocol, and no other.

        Args:
            model: fingerprint of the weights.
            protocol: how it is asked and drawn, the seed included.
        """
        problem = [self.row, self.messages, self.prompt, self.stop]
        text = json.dumps([self.task, problem, self.index, model, protocol, self.prefill], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def seed(self, params: SamplingParams) -> int:
        """This sample's own seed, whatever else is drawn beside it."""
        text = f"{params.seed}/{self.task}/{self.row}/{self.index}"
        return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) & 0x7FFFFFFF


@dataclass(frozen=True)
class Completion:
    """One drawn completion.

    `finish_reason` is "stop" when the model ended its turn, "length" when it was cut off, or a server's
    own word ("repetition"); `tokens` counts the completion, the end-of-turn token included; `think_prefilled`
    says that the prompt ended inside a `<think>` that the completion therefore does not hold.

    The rest is what a server tells, and None elsewhere: `prompt_tokens`; `latency_s`, seconds of the attempt
    that gave the answer; `server`; `request_id`; `seed`; `limit`, the tokens asked for where the context left
    fewer than wanted.
    """

    text: str
    tokens: int
    finish_reason: str
    think_prefilled: bool = False
    prompt_tokens: int | None = field(default=None, compare=False)
    latency_s: float | None = field(default=None, compare=False)
    server: str | None = field(default=None, compare=False)
    request_id: str | None = field(default=None, compare=False)
    seed: int | None = field(default=None, compare=False)
    limit: int | None = field(default=None, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Its fields; those that nobody told are left out."""
        return {name: value for name, value in vars(self).items() if value is not None}


REFUSALS = ("refused", "too long")
"""Kinds of failure that another attempt cannot mend."""


@dataclass(frozen=True)
class Failure:
    """A completion that could not be had, and why.

    Args:
        kind: "refused" (the server will not, or the chat template), "too long" (the prompt fills the
            context), "rate limited", "timeout", "connection", "server error", "bad answer".
        reason: what was said, in words.
        attempts: how often it was asked.
        server: who said so last; the model's name where it is loaded here.
        status: HTTP status, where there was one.
    """

    kind: str
    reason: str
    attempts: int
    server: str
    status: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def error(self) -> OpenR1Error:
        """The failure as an error, for those who go no further without this completion."""
        if self.kind == "too long":
            return RecipeError(
                f"the prompt leaves no room for a completion: {self.reason}",
                where=self.server,
                fix="a larger --max_model_length where the model allows it, or leave that row out",
            )
        if self.kind == "refused" and self.status is None:
            return RecipeError(
                self.reason,
                where=self.server,
                fix="leave that row out; where every row is refused, name another template with "
                "--chat_template FILE, or leave system_prompt out",
            )
        if self.kind in REFUSALS:
            status = f" (status {self.status})" if self.status else ""
            return RecipeError(
                f"the server refuses the request{status}: {self.reason}",
                where=self.server,
                fix="check --model against what it serves, and the options against what it knows",
            )
        return ComponentFailed(
            f"no server gave an answer in {self.attempts} attempts; the last said: {self.reason}",
            where=self.server,
            fix="look at the server; finished samples are kept, the same command continues",
        )


def completed(outcomes: Iterable[Completion | Failure]) -> list[Completion]:
    """Completions, for those who go no further without one.

    Raises:
        OpenR1Error: the first that could not be had.
    """
    found = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            raise outcome.error()
        found.append(outcome)
    return found


@dataclass(frozen=True)
class Unit:
    """What a backend draws at once: one request, or a static batch whose draws hang together.

    `number` is its place in the whole; with the seed it decides the random draws of a batch.
    """

    number: int
    requests: tuple[Request, ...]


def units_of(requests: Iterable[Request], size: int) -> Iterator[Unit]:
    """All requests in units of `size`, numbered; pulled as they are needed."""
    source = iter(requests)
    for number in itertools.count():
        some = tuple(itertools.islice(source, size))
        if not some:
            return
        yield Unit(number, some)


def ends_in_think(prompt: str) -> bool:
    """Whether a rendered prompt ends with an opened `<think>`."""
    return prompt.rstrip().endswith("<think>")


def with_prefill(prompt: str, prefill: str) -> str:
    """The prompt with the answer's first words, unless the chat template has written them already."""
    return prompt if not prefill or prompt.rstrip().endswith(prefill.strip()) else prompt + prefill
