"""What the answers of an evaluation say about how it was asked: one line of advice, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CUT_OFF = 0.1  # shares of the answers from which on something is said
NO_ANSWER = 0.1
NOT_JUDGED = 0.01
BAD_GOLD = 0.01
LONG = 32_768  # tokens; what DeepSeek gave its models, see r1-paper


def advice(score: Mapping[str, Any]) -> str | None:
    """The one thing to mend first: the data, then the grading, then the length, then the form of answers.

    Args:
        score: an entry of results.json; what an older run does not say counts as nothing wrong.
    """
    verdicts: Mapping[str, int] = score.get("verdicts") or {}
    answers = sum(verdicts.values()) or 1
    bad_gold, late = verdicts.get("gold_unparsable", 0), verdicts.get("timeout", 0) + verdicts.get("error", 0)
    if bad_gold >= BAD_GOLD * answers and bad_gold:
        return (
            f"{_share(bad_gold / answers)} of the answers met a gold answer that cannot be read, so they "
            "cannot be right: look at the dataset's answers, or name another column with --answer_column"
        )
    if late >= NOT_JUDGED * answers and late:
        return (
            f"{_share(late / answers)} of the answers could not be graded in time and count as not right: "
            "openr1 eval --rescore RUN grades them again, best while nothing else runs"
        )
    truncated = score.get("truncated") or 0.0
    if truncated >= CUT_OFF:
        return f"{_share(truncated)} of the answers were cut off, so the score is too low: {_longer(score)}"
    missing = score.get("no_answer") or 0.0
    if missing >= NO_ANSWER:
        return (
            f"{_share(missing)} of the answers ended without one that the grader finds: read some with "
            "openr1 samples RUN --wrong; often the chat template is another, or the prompt is not followed"
        )
    return None


def _longer(score: Mapping[str, Any]) -> str:
    """How answers get more room: the limit, or the context when that is what ended them."""
    limit = (score.get("conditions") or {}).get("max_new_tokens")
    if limit is None:
        return "raise --max_new_tokens"
    if limit < (score.get("asked_tokens") or limit):
        return f"the model's context leaves {limit:,} tokens; --max_model_length or another model gives more"
    if limit >= LONG:
        return (
            f"at {limit:,} tokens answers often repeat themselves; read some with openr1 samples RUN --wrong"
        )
    return f"--max_new_tokens {2 * limit} gives them room, under another protocol id"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.1f} %"
