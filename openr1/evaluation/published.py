"""Published scores as data, and how one score stands to another."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.evaluation.protocol import Conditions, conditions_of, differences
from openr1.evaluation.statistics import run_error_assumed, z_score
from openr1.evaluation.tasks import TASKS

TABLE = Path(__file__).with_name("published.csv")
DEEPSEEK, OPEN_R1 = "DeepSeek-R1 README", "open-r1 README"
SEED, LATEST = "2025-02-06", "2025-07-01"
QUOTED = "open-r1 README quoting DeepSeek"
# Problems of each benchmark; LiveCodeBench's v4_v5 window has about 268.
SIZES = {"math_500": 500, "aime24": 30, "gpqa:diamond": 198, "livecodebench": 268}
NOISE = 2.0  # |z| up to which a difference is sampling noise


@dataclass(frozen=True)
class Published:
    """One number as somebody printed it: percent right, mean over `samples` answers per problem."""

    source: str
    date: str
    model: str
    benchmark: str
    samples: int
    score: float
    note: str = ""

    def conditions(self) -> Conditions | None:
        """How it was taken, as far as that is known; None for benchmarks that are not run here."""
        if self.benchmark not in TASKS:
            return None
        name = (
            "r1-paper" if self.source == DEEPSEEK else "open-r1-2025-02" if self.date == SEED else "open-r1"
        )
        task = TASKS[self.benchmark]
        return conditions_of(task, {"protocol": name, "num_samples": self.samples})


@dataclass(frozen=True)
class Standing:
    """One score beside the published one.

    Args:
        difference: in points.
        z_problems: against the error of another draw of problems; says little on few problems.
        z_run: against the error of another run on these problems, of both sides: the one that a reproduction
            is judged by.
        verdict: in words.
        causes: what the two protocols do not share.
    """

    difference: float
    z_problems: float
    z_run: float
    verdict: str
    causes: list[str]


def published() -> list[Published]:
    """Every published number in the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [
            Published(
                r["source"],
                r["date"],
                r["model"],
                r["benchmark"],
                int(r["samples"]),
                float(r["score"]),
                r["note"],
            )
            for r in csv.DictReader(file)
        ]


def pick(
    rows: Sequence[Published], model: str, benchmark: str, source: str, date: str = ""
) -> Published | None:
    """The number of one model and benchmark from one source."""
    for row in rows:
        if (row.model, row.benchmark, row.source) == (model, benchmark, source) and row.date.startswith(date):
            return row
    return None


def published_standing(ours: Published, theirs: Published) -> Standing:
    """A published score against another. The spread within problems is assumed: half of p(1 − p)."""
    size = SIZES[ours.benchmark]
    p = theirs.score / 100
    error = run_error_assumed(p, size, ours.samples)
    over_problems = math.sqrt(p * (1 - p) / size)
    mine, other = ours.conditions(), theirs.conditions()
    causes = _causes(mine.as_dict(mine.max_new_tokens), other) if mine and other else []
    return _standing(ours.score / 100, theirs, error, over_problems, size, None, causes)


def run_standing(score: dict[str, Any], theirs: Published) -> Standing:
    """A score of ours (`results.json`) against a published one.

    Their spread within problems is taken to be ours, where several answers show it. An error of 0, which
    scores of 0 or 100 have, is no certainty: the assumed one takes its place. On a part of the problems the
    error of having drawn these and not others comes to that of another run.
    """
    size, p = score["problems"], theirs.score / 100
    within = score.get("within") or None
    error = score["other_run"]
    if error is None:
        error = run_error_assumed(score["accuracy"], size, score["samples"])
    over_problems = score.get("other_problems") or math.sqrt(p * (1 - p) / max(1, size))
    other = theirs.conditions()
    causes = _causes(score["conditions"], other) if other else []
    whole = SIZES[theirs.benchmark]
    if size != whole:
        drawn = max(0.0, over_problems**2 - error**2) * max(0.0, 1 - size / whole)
        error = math.sqrt(error**2 + drawn)
        causes.insert(0, f"{size:,} of {whole:,} problems")
    elif _another_copy(score["data"]):
        causes.insert(0, "another copy of the problems")
    return _standing(score["accuracy"], theirs, error, over_problems, whole, within, causes)


def _another_copy(data: dict[str, Any]) -> bool:
    """Whether what is known of the published problems is not what was asked."""
    checks = (("known_fingerprint", "fingerprint"), ("known_answers", "answers_fingerprint"))
    return any(data.get(known) not in (None, data.get(here)) for known, here in checks)


def _standing(
    accuracy: float,
    theirs: Published,
    error: float,
    over_problems: float,
    size: int,
    within: float | None,
    causes: list[str],
) -> Standing:
    p = theirs.score / 100
    share = 0.5 if within is None or p in (0, 1) else min(1.0, within / (p * (1 - p)))
    their_error = run_error_assumed(p, size, theirs.samples, share)
    z_run = z_score(accuracy, p, error, their_error)
    z_problems = z_score(accuracy, p, over_problems)
    return Standing(100 * (accuracy - p), z_problems, z_run, _verdict(z_run, causes), causes)


def _causes(ours: dict[str, Any], theirs: Conditions) -> list[str]:
    """What may explain a difference; the number of answers changes the error and not the mean."""
    found = differences(ours, theirs.as_dict(theirs.max_new_tokens))
    return [cause for cause in found if not cause.startswith("num_samples")]


def _verdict(z: float, causes: list[str]) -> str:
    if abs(z) <= NOISE:
        return (
            "reproduced"
            if not causes
            else f"no difference seen, though asked differently ({'; '.join(causes)})"
        )
    likely = "; ".join(causes) or "the protocol is the same, so the engine, the template or the grading"
    return f"differs by more than sampling noise; likely cause: {likely}"
