"""Completions worth looking at: of the first and the last step by reward, of one problem before and after."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openr1.runs.series import number, rows

SHOWN_CHARS = 4_000  # of one completion; what is left out is counted
ROWS_PER_STEP = 256  # looked at, of one step
PROBLEMS = 400  # looked at, of one evaluation
SHOWN_PROBLEMS = 6


@dataclass(frozen=True)
class Answer:
    """One completion, its reasoning and its answer told apart.

    Args:
        verdict: right, wrong, truncated, …; None when nobody graded it.
        reasoning, answer: either may be empty.
        tokens: its length; None where that was not written down.
    """

    reasoning: str
    answer: str
    verdict: str | None = None
    tokens: int | None = None
    rewards: dict[str, float] = field(default_factory=dict)
    advantage: float | None = None
    extracted: str | None = None
    reason: str | None = None

    @property
    def total(self) -> float:
        """The sum of its rewards, without their weights."""
        return math.fsum(v for v in self.rewards.values() if math.isfinite(v))


@dataclass(frozen=True)
class Exchange:
    """A prompt and what came back: one answer, or one by each model, by name."""

    prompt: str
    answers: tuple[tuple[str, Answer], ...]
    gold: str | None = None


@dataclass(frozen=True)
class ByReward:
    """Completions of one training step, best first."""

    step: float
    exchanges: tuple[Exchange, ...]


def told_apart(text: str, prefilled: bool = False) -> tuple[str, str]:
    """Reasoning and answer. Without a closing tag all is reasoning when it was opened, else all is answer."""
    before, closed, after = text.partition("</think>")
    opened = prefilled or before.lstrip().startswith("<think>")
    if not closed and not opened:
        return "", _clip(text)
    return _clip(before.replace("<think>", "", 1).strip("\n")), _clip(after.strip("\n"))


def _clip(text: str) -> str:
    if len(text) <= SHOWN_CHARS:
        return text
    return f"{text[:SHOWN_CHARS]}\n… {len(text) - SHOWN_CHARS:,} more characters"


def said(messages: Any) -> str:
    """The text of a prompt or completion, which is text or a list of messages."""
    if isinstance(messages, str):
        return messages
    if isinstance(messages, dict):
        return str(messages.get("content") or "")
    if isinstance(messages, Sequence):
        return "\n\n".join(filter(None, map(said, messages)))
    return ""


def by_reward(path: Path) -> list[ByReward]:
    """The first and the last logged step's completions: best, middle and worst by reward."""
    first: list[dict[str, Any]] = []
    last: list[dict[str, Any]] = []
    for row in rows(path):
        if not first or row.get("step") == first[0].get("step"):
            _keep(first, row)
        if last and row.get("step") != last[0].get("step"):
            last = []
        _keep(last, row)
    groups = [first] if not last or first[0].get("step") == last[0].get("step") else [first, last]
    return [_picked(group) for group in groups if group]


def _keep(group: list[dict[str, Any]], row: dict[str, Any]) -> None:
    if len(group) < ROWS_PER_STEP:
        group.append(row)


def _picked(group: list[dict[str, Any]]) -> ByReward:
    exchanges = []
    for row in group:
        prompt, text = said(row.get("prompt")), said(row.get("completion"))
        exchanges.append((prompt, text, Exchange(_clip(prompt), (("", _rewarded(row, text)),))))
    ordered = sorted(exchanges, key=lambda e: e[2].answers[0][1].total, reverse=True)
    # The middle of all completions, not of the different ones: it shows what most of them are like.
    chosen = [ordered[n] for n in (0, len(ordered) // 2, len(ordered) - 1)]
    step = number(group[0].get("step"))
    shown = {(prompt, text): exchange for prompt, text, exchange in chosen}
    return ByReward(step if step is not None else math.nan, tuple(shown.values()))


def _rewarded(row: dict[str, Any], text: str) -> Answer:
    raw = row.get("rewards")
    rewards = {
        str(name): value
        for name, v in (raw.items() if isinstance(raw, dict) else ())
        if (value := number(v)) is not None
    }
    reasoning, answer = told_apart(text)
    return Answer(
        reasoning, answer, verdict_of(rewards), rewards=rewards, advantage=number(row.get("advantage"))
    )


def verdict_of(rewards: Mapping[str, Any]) -> str | None:
    """Right or wrong by GRPO's accuracy reward; None where there is none that judged."""
    accuracy = number(rewards.get("accuracy"))
    if accuracy is None or not math.isfinite(accuracy):
        return None
    return "right" if accuracy > 0 else "wrong"


def graded_file(run: Path, score: Mapping[str, Any]) -> Path:
    """Where an evaluation keeps the graded samples of a score: as it says, or as earlier versions named it.

    A name that leads out of the run's samples is not followed.
    """
    named = score.get("samples_file")
    if isinstance(named, str) and re.fullmatch(r"samples/[^/]+\.jsonl", named):
        return run / named
    name = f"{score.get('model')}-{score.get('task')}"
    return run / "samples" / f"{re.sub('[/:?]', '_', name)}.jsonl"


def problem_scores(path: Path) -> dict[str, float]:
    """The mean score of every problem in a file of graded samples, by a hash of problem and gold answer."""
    sums: dict[str, tuple[float, int]] = {}
    for row in rows(path):
        if "verdict" not in row:
            continue
        text = f"{row.get('problem')}\0{row.get('gold')}"
        key = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
        right, count = sums.get(key, (0.0, 0))
        sums[key] = (right + (row["verdict"] == "right"), count + 1)
    return {key: right / count for key, (right, count) in sums.items()}


def side_by_side(run: Path, scores: Sequence[Mapping[str, Any]]) -> list[Exchange]:
    """Some problems of one task with every model's answer: those that became right first, then the others."""
    answers: dict[Any, dict[str, Answer]] = {}
    problems: dict[Any, tuple[str, str | None]] = {}
    labels = [str(score.get("model")) for score in scores]
    for label, score in zip(labels, scores, strict=True):
        for row in _first_answers(graded_file(run, score)):
            key = str(row.get("problem"))
            problems.setdefault(key, (_clip(key), _text(row.get("gold"))))
            answers.setdefault(key, {})[label] = _graded(row)
    whole = [key for key, found in answers.items() if len(found) == len(labels)]
    return [
        Exchange(problems[key][0], tuple((label, answers[key][label]) for label in labels), problems[key][1])
        for key in _varied(whole, answers, labels)
    ]


def _first_answers(path: Path) -> Iterator[dict[str, Any]]:
    """The first answer to each of the first problems."""
    seen: set[str] = set()
    for row in rows(path):
        key = str(row.get("problem"))
        if "verdict" in row and key not in seen:
            seen.add(key)
            yield row
            if len(seen) == PROBLEMS:
                return


def _varied(keys: Iterable[str], answers: dict[Any, dict[str, Answer]], labels: Sequence[str]) -> list[str]:
    """Two of every kind of change from the first model to the last, as far as there is room."""
    kinds: dict[tuple[bool, bool], list[str]] = {}
    for key in keys:
        ends = (answers[key][labels[0]].verdict == "right", answers[key][labels[-1]].verdict == "right")
        kinds.setdefault(ends, []).append(key)
    order = [(False, True), (True, False), (False, False), (True, True)]
    return [key for ends in order for key in kinds.get(ends, [])[:2]][:SHOWN_PROBLEMS]


def _graded(row: dict[str, Any]) -> Answer:
    reasoning, answer = told_apart(str(row.get("text") or ""), bool(row.get("think_prefilled")))
    tokens = row.get("tokens")
    return Answer(
        reasoning,
        answer,
        str(row["verdict"]),
        tokens if isinstance(tokens, int) else None,
        extracted=_text(row.get("extracted")),
        reason=_text(row.get("reason")),
    )


def _text(value: Any) -> str | None:
    return None if value is None else _clip(str(value))
