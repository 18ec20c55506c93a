"""The words of the grading room: what can be said about an answer, and what is handed back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """What is known about one completion. Only `right` and `wrong` are statements about mathematics."""

    right = "right"
    wrong = "wrong"
    no_answer = "no_answer"
    """The completion is finished and holds no answer."""
    truncated = "truncated"
    """The completion ends inside its reasoning, or was cut before it gave an answer."""
    gold_unparsable = "gold_unparsable"
    """The reference cannot be understood: a fault of the data, never of the model."""
    timeout = "timeout"
    """The comparison did not end within the limit, or cannot be afforded."""
    error = "error"
    """The grading itself failed."""

    def __str__(self) -> str:
        return self.value

    @property
    def judged(self) -> bool:
        """True when the verdict is about the completion, False when grading could not be done."""
        return self in _JUDGED


_JUDGED = frozenset({Verdict.right, Verdict.wrong, Verdict.no_answer, Verdict.truncated})


@dataclass(frozen=True)
class Item:
    """One thing to grade.

    Args:
        gold: the reference answer or a solution that ends in one; text or a number.
        completion: everything the model wrote.
        finish_reason: `"length"` when the completion was cut at the token limit, else anything or None.
        think_prefilled: True when the prompt already ended in `<think>`.
    """

    gold: object
    completion: object
    finish_reason: str | None = None
    think_prefilled: bool = False


@dataclass(frozen=True)
class Graded:
    """The verdict on one item, with what it rests on.

    Args:
        verdict: one of the seven.
        extracted: the answer found in the completion, or None.
        gold: the reference as it was understood, or None.
        seconds: time spent on comparing this item (0.0 from the cache).
        reason: why, in a few words.
    """

    verdict: Verdict
    extracted: str | None
    gold: str | None
    seconds: float
    reason: str

    @property
    def right(self) -> bool:
        return self.verdict is Verdict.right
