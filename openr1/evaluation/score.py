"""From graded samples to one score with its error bars."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from openr1.evaluation.statistics import Interval, bootstrap, score_errors, wilson


def score_rows(rows: Sequence[dict[str, Any]], samples: int, seed: int) -> dict[str, Any]:
    """Accuracy over problems, its 95 % interval, and what the completions were like.

    Args:
        rows: graded samples; `row` names the problem, `verdict` the grade, `tokens` the length.
        samples: completions per problem.
        seed: seed of the bootstrap.

    Returns:
        accuracy, interval ([low, high], another draw of problems), interval_method, problems, samples,
        other_run (standard error of another run on the same problems; None with one sample), verdicts,
        mean_tokens, truncated (share).
    """
    by_problem: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        by_problem[row["row"]].append(float(row["verdict"] == "right"))
    scores = list(by_problem.values())
    means = [sum(s) / len(s) for s in scores]
    verdicts = Counter(row["verdict"] for row in rows)
    interval = _interval(means, samples, seed)
    return {
        "accuracy": sum(means) / len(means) if means else 0.0,
        "interval": [interval.low, interval.high],
        "interval_method": "Wilson" if samples == 1 else "bootstrap over problems",
        "problems": len(means),
        "samples": samples,
        "other_run": score_errors(scores).other_run if samples > 1 else None,
        "verdicts": dict(verdicts.most_common()),
        "mean_tokens": sum(row["tokens"] for row in rows) / len(rows) if rows else 0.0,
        "truncated": sum(row["finish_reason"] == "length" for row in rows) / len(rows) if rows else 0.0,
    }


def _interval(means: Sequence[float], samples: int, seed: int) -> Interval:
    if samples == 1:
        return wilson(sum(means), len(means))
    return bootstrap(means, seed=seed)
