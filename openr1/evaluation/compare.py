"""Two evaluations against each other: problem by problem, or not at all when they asked in different ways."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from openr1.errors import RecipeError, UsageError
from openr1.evaluation.protocol import differences
from openr1.evaluation.statistics import mcnemar, paired_bootstrap

LEVEL = 0.05
SHOWN = ("model", "protocol", "accuracy", "interval", "problems", "samples")
ENOUGH_PROBLEMS = 5  # below that no test can tell anything


@dataclass(frozen=True)
class TaskComparison:
    """Two scores of one task.

    Args:
        difference, interval: second minus first over the problems both have, as fractions; None when refused.
        p_value: of the paired test (sign flips over problems); exact_p: McNemar's, for one answer each.
        verdict: in words.
        reasons: why they may not be compared, [] when they may.
    """

    task: str
    first: dict[str, Any]
    second: dict[str, Any]
    problems: int
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    exact_p: float | None = None
    better: int = 0
    worse: int = 0
    verdict: str = ""
    reasons: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def results_of(run: Path) -> list[dict[str, Any]]:
    """The scores of a finished evaluation.

    Raises:
        UsageError: this run has none.
        RecipeError: its results cannot be read.
    """
    path = run / "results.json"
    try:
        scores: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["scores"]
    except FileNotFoundError:
        raise UsageError(
            "this run holds no scores", where=str(run), fix="name a finished evaluation, from openr1 eval"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"the results cannot be read: {error}", where=str(path)) from None
    return scores


def compare(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[TaskComparison]:
    """Every task both have, one model each (the last where a run has several, which is what was trained).

    Raises:
        UsageError: no task in common.
    """
    mine, theirs = ({score["task"]: score for score in scores} for scores in (first, second))
    common = [task for task in mine if task in theirs]
    if not common:
        raise UsageError(
            f"no task in common: {', '.join(mine) or 'none'} and {', '.join(theirs) or 'none'}",
            fix="evaluate both on the same task",
        )
    return [compare_scores(mine[task], theirs[task]) for task in common]


def compare_scores(first: dict[str, Any], second: dict[str, Any]) -> TaskComparison:
    """One task, two scores: matched by problem, refused with the reasons when the conditions differ."""
    matched = sorted(first["problem_scores"].keys() & second["problem_scores"].keys())
    one, two = ({key: score.get(key) for key in SHOWN} for score in (first, second))
    reasons = _reasons(first, second)
    if not reasons and len(matched) < ENOUGH_PROBLEMS:
        reasons = [f"only {len(matched)} problems are in both"]
    if reasons:
        verdict = f"not compared: {'; '.join(reasons)}"
        return TaskComparison(
            first["task"], one, two, problems=len(matched), verdict=verdict, reasons=reasons
        )
    ours, theirs = ([score["problem_scores"][name] for name in matched] for score in (first, second))
    paired = paired_bootstrap(ours, theirs)
    exact = None
    if first["samples"] == second["samples"] == 1:
        exact = mcnemar([s == 1 for s in ours], [s == 1 for s in theirs])
    p = paired.p_value if exact is None else exact
    return TaskComparison(
        first["task"],
        one,
        two,
        problems=len(matched),
        difference=paired.difference,
        interval=(paired.interval.low, paired.interval.high),
        p_value=paired.p_value,
        exact_p=exact,
        better=paired.better,
        worse=paired.worse,
        verdict=_words(paired.difference, p),
    )


def _reasons(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Why two scores may not be compared; another number of answers is no reason, their mean is the same."""
    if first["protocol"] == second["protocol"]:
        return []
    ours, theirs = dict(first.get("conditions") or {}), dict(second.get("conditions") or {})
    for conditions in (ours, theirs):
        conditions.pop("num_samples", None)
    found = differences(ours, theirs)
    if not found and ours and theirs:
        return []
    return found or [f"protocol {first['protocol']} and {second['protocol']}"]


def _words(difference: float, p: float) -> str:
    if p >= LEVEL:
        return f"not distinguishable (p = {p:.2g})"
    return f"the second is {'better' if difference > 0 else 'worse'} (p = {p:.2g})"
