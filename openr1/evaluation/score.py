"""From graded samples to one score with its error bars."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from openr1.evaluation.statistics import (
    Interval,
    bootstrap,
    few_events,
    majority_at_k,
    pass_at_k,
    score_errors,
    wilson,
    wilson_of_means,
)

UNJUDGED = ("timeout", "error", "gold_unparsable")
"""Verdicts about the grading or the data, not about the model; they count as not right, and are shown."""


def score_rows(
    rows: Sequence[dict[str, Any]],
    samples: int,
    seed: int,
    clusters: Mapping[tuple[int, int], str | None] | None = None,
) -> dict[str, Any]:
    """Accuracy over problems, its errors, and what the completions were like.

    Args:
        rows: graded samples; `row` names the problem, `verdict` the grade, `tokens` the length.
        samples: completions per problem.
        seed: seed of the bootstrap.
        clusters: (row, index) -> group of equal answers, for the majority vote; None leaves it out.

    Returns:
        accuracy, interval ([low, high], 95 %, another draw of problems), interval_method, problems, samples,
        other_problems and other_run (standard errors; None where one answer or problem cannot tell),
        within (variance within problems), majority (maj@n) and pass_at ({k: pass@k}) for several samples,
        verdicts, truncated, no_answer, timeout, unjudged (shares), mean_tokens, problem_scores (by problem
        id, to match them with another evaluation's).
    """
    by_problem: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_problem[row["row"]].append(row)
    scores = {
        problem: [float(a["verdict"] == "right") for a in found] for problem, found in by_problem.items()
    }
    means = [sum(s) / len(s) for s in scores.values()]
    verdicts = Counter(row["verdict"] for row in rows)
    interval, method = _interval(means, samples, seed)
    errors = score_errors(list(scores.values())) if scores else None
    shares = {name: verdicts[name] / len(rows) if rows else 0.0 for name in ("no_answer", "timeout")}
    ids = {row["row"]: row.get("problem_id", str(row["row"])) for row in rows}
    return {
        "accuracy": sum(means) / len(means) if means else 0.0,
        "interval": [interval.low, interval.high],
        "interval_method": method,
        "problems": len(means),
        "samples": samples,
        "other_problems": errors.other_problems if errors else None,
        "other_run": errors.other_run if errors and samples > 1 else None,
        "within": errors.within if errors and samples > 1 else None,
        "majority": _majority(by_problem, clusters) if clusters is not None and samples > 1 else None,
        "pass_at": _pass_at(list(scores.values()), samples),
        "verdicts": dict(verdicts.most_common()),
        "mean_tokens": sum(row["tokens"] for row in rows) / len(rows) if rows else 0.0,
        "truncated": sum(row["finish_reason"] == "length" for row in rows) / len(rows) if rows else 0.0,
        **shares,
        "unjudged": sum(verdicts[name] for name in UNJUDGED) / len(rows) if rows else 0.0,
        "problem_scores": {ids[problem]: sum(s) / len(s) for problem, s in sorted(scores.items())},
    }


def _interval(means: Sequence[float], samples: int, seed: int) -> tuple[Interval, str]:
    """The 95 % interval and how it was found."""
    if not means:
        return Interval(0.0, 1.0), "Wilson"
    if samples == 1:
        return wilson(sum(means), len(means)), "Wilson"
    # Resampling means that are all alike would say that nothing can vary.
    if few_events(means) or len(set(means)) == 1:
        return wilson_of_means(means, samples), "Wilson"
    return bootstrap(means, seed=seed, small_sample=True), "bootstrap over problems"


def _majority(
    by_problem: Mapping[int, Sequence[dict[str, Any]]], clusters: Mapping[tuple[int, int], str | None]
) -> float:
    points = [
        majority_at_k(
            [clusters[a["row"], a["index"]] for a in found], [a["verdict"] == "right" for a in found]
        )
        for found in by_problem.values()
    ]
    return sum(points) / len(points) if points else 0.0


def _pass_at(scores: Sequence[Sequence[float]], samples: int) -> dict[str, float]:
    """pass@k for k = 1, 2, 4, … up to the number of answers that every problem has."""
    least = min((len(s) for s in scores), default=0)
    ks = sorted(
        {1 << i for i in range(11) if 1 << i <= min(samples, least)} | ({least} if least > 1 else set())
    )
    return {
        str(k): sum(pass_at_k(len(s), round(sum(s)), k) for s in scores) / len(scores)
        for k in ks
        if samples > 1
    }
