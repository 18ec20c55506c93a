"""`openr1 report`: one run as a page, or two compared; and the page that every run leaves behind."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openr1.errors import EnvironmentProblem, UsageError
from openr1.evaluation.compare import reasons_against
from openr1.evaluation.statistics import mcnemar, paired_bootstrap
from openr1.runs.folder import RunFolder
from openr1.runs.listing import Entry, entry, find
from openr1.runs.report import draw, page
from openr1.runs.report.samples import graded_file, problem_scores
from openr1.runs.report.scores import Pair
from openr1.runs.report.story import Story, tell
from openr1.services.request import Listener, silent

FEW = 30  # problems in common, below half of what was asked: too few to say anything
VARIABLE = "OPENR1_REPORT"
REFRESH_S = 60.0  # least time between two pages of a run that is going on
COST_SHARE = 0.01  # and at most this share of the time is spent on them


@dataclass(frozen=True)
class Report:
    """A page that was written, and what is on it.

    Args:
        sides: one or two runs: name, entry, stories.
        notices: what the page lacks, and why.
    """

    path: Path
    sides: list[tuple[str, Entry, list[Story]]]
    pairs: list[Pair]
    notices: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "report": str(self.path),
            "runs": [
                {
                    "run": str(found.path),
                    "state": found.state,
                    "scores": found.scores,
                    "sections": [
                        {
                            "section": story.name,
                            "stage": story.stage,
                            "rows": story.series.rows,
                            "health": [f.as_dict() for f in story.findings],
                            "problems": story.problems,
                        }
                        for story in stories
                    ],
                }
                for _, found, stories in self.sides
            ],
            "differences": [
                {"section": a.name, "values": page.differences(a, b)}
                for a, b in (page.match(self.sides[0][2], self.sides[1][2]) if len(self.sides) == 2 else [])
            ],
            "paired": [vars(pair) for pair in self.pairs],
            "notices": self.notices,
        }


def report(name: str, out: Path | None = None) -> Report:
    """Write a run's page, `report.html` in its folder or `out`.

    Raises:
        UsageError: no such run.
        EnvironmentProblem: it was written by a newer openr1, or the page cannot be written.
    """
    found = _readable(name)
    stories = [tell(run) for run in found.runs]
    pairs = pairs_within(found)
    if out is None:
        path = page.write_run(found, stories, pairs)
    else:
        path = out
        page.write_whole(path, page.render_run(found, stories, pairs))
    return Report(path, [(found.path.resolve().name, found, stories)], pairs, _missing())


def compare(first: str, second: str, out: Path | None = None) -> Report:
    """Write the page that puts two runs side by side, `compare-SECOND.html` in the first's folder or `out`.

    Raises:
        UsageError: no such run, or twice the same.
        EnvironmentProblem: as in `report`.
    """
    entries = [_readable(first), _readable(second)]
    if entries[0].path.resolve() == entries[1].path.resolve():
        raise UsageError(
            "both names mean the same run", where=str(entries[0].path), fix="name two different runs"
        )
    names = _names(entries)
    sides = [
        (n, e, [tell(run, samples=False) for run in e.runs]) for n, e in zip(names, entries, strict=True)
    ]
    pairs = pairs_between(entries[0], entries[1])
    path = out or entries[0].path / f"compare-{entries[1].path.resolve().name}.html"
    page.write_two(path, sides, pairs)
    return Report(path, sides, pairs, _missing())


def _readable(name: str) -> Entry:
    found = find(name)
    if found.state == "unreadable" and not found.sections and "newer openr1" in (found.problem or ""):
        raise EnvironmentProblem(
            "this run was written by a newer openr1",
            where=str(found.path),
            fix="pip install --upgrade openr1",
        )
    return found


def _missing() -> list[str]:
    return [] if draw.can_draw() else [f"without curves: matplotlib is not installed; {draw.INSTALL}"]


def _names(entries: Sequence[Entry]) -> list[str]:
    """The folders' names; with what holds them where they are alike (`sft` of two pipelines)."""
    names = [e.path.resolve().name for e in entries]
    if names[0] == names[1]:
        names = ["/".join(e.path.resolve().parts[-2:]) for e in entries]
    return names if names[0] != names[1] else [f"{names[0]} (first)", f"{names[1]} (second)"]


Scored = tuple[Entry, dict[str, Any]]


def _scored(found: Entry) -> list[Scored]:
    """Every score with the run that holds its samples."""
    return [(run, score) for run in found.runs for score in run.scores]


def pairs_within(found: Entry) -> list[Pair]:
    """Every model of an evaluation against the one before it."""
    pairs = []
    scored = _scored(found)
    for (run, before), (other, after) in itertools.pairwise(scored):
        if run is other and before.get("task") == after.get("task"):
            where = f"{after.get('task')} ({after['section']})"
            names = (str(before.get("model")), str(after.get("model")))
            pairs.append(_pair(where, names, (run, before), (other, after)))
    return pairs


def pairs_between(a: Entry, b: Entry) -> list[Pair]:
    """The same model's name and task in two runs; where each run has one model for a task, those two."""
    pairs = []
    for run, score in _scored(a):
        others = [o for o in _scored(b) if o[1].get("task") == score.get("task")]
        if a.sections and b.sections:
            others = [o for o in others if o[1]["section"] == score["section"]]
        mine = [s for s in _scored(a) if s[1].get("task") == score.get("task")]
        same = [o for o in others if o[1].get("model") == score.get("model")]
        chosen = same or (others if len(mine) == len(others) == 1 else [])
        for other in chosen[:1]:
            where = f"{score.get('task')} ({score['section']})"
            labels = (f"{score.get('model')}, first", f"{other[1].get('model')}, second")
            pairs.append(_pair(where, labels, (run, score), other))
    return pairs


def _pair(where: str, names: tuple[str, str], first: Scored, second: Scored) -> Pair:
    """Compare two graded files problem by problem; unlike protocols are not compared."""
    reasons = reasons_against(first[1], second[1])
    if reasons:
        return Pair(where, *names, why_not=f"not asked alike: {'; '.join(reasons)}")
    try:
        scores = [problem_scores(graded_file(run.path, score)) for run, score in (first, second)]
    except OSError as error:
        return Pair(where, *names, why_not=f"the samples cannot be read: {error.strerror}")
    if not all(scores):
        return Pair(where, *names, why_not="the graded samples are not there")
    common = sorted(scores[0].keys() & scores[1].keys())
    if not common:
        return Pair(where, *names, why_not="no problem in common (another seed holds out other problems)")
    asked = len(scores[0])
    if len(common) < min(FEW, asked / 2):
        few = f"only {len(common)} of {asked:,} problems in common (another seed holds out other problems)"
        return Pair(where, *names, why_not=few)
    left, right = ([side[key] for key in common] for side in scores)
    compared = paired_bootstrap(left, right)
    single = all(value in (0.0, 1.0) for value in (*left, *right))
    p_value = mcnemar([v == 1 for v in left], [v == 1 for v in right]) if single else compared.p_value
    return Pair(
        where,
        *names,
        compared.difference,
        compared.interval.low,
        compared.interval.high,
        p_value,
        compared.better,
        compared.worse,
        compared.problems,
        asked,
    )


def wanted() -> bool:
    """Whether runs leave a page behind: unless OPENR1_REPORT says off."""
    return os.environ.get(VARIABLE, "").lower() not in ("off", "0", "false", "no")


def leave(folder: Path, listen: Listener) -> None:
    """Write the page of a run or a pipeline. A page that cannot be written is said and never ends a run."""
    if not wanted():
        return
    try:
        found = entry(folder)
        if found is not None:
            page.write_run(found, [tell(run) for run in found.runs], pairs_within(found))
    except Exception as error:  # whatever it is, the run itself is well
        why = f"{type(error).__name__}: {error}"
        text = f"no report was written ({why}); openr1 report {folder} tries again"
        listen({"event": "notice", "text": text})


class Refresh:
    """Rewrites a run's page while the run goes on: rarely, and the rarer the more a page costs."""

    def __init__(self, run: RunFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self.run, self.clock = run, clock
        self.on = wanted()
        self.next = clock() + REFRESH_S / 2

    def look(self, event: dict[str, Any]) -> None:
        """Called with every event; writes after a row of metrics when it is time."""
        if not self.on or not event.get("metrics") or self.clock() < self.next:
            return
        start = self.clock()
        leave(self.run.path, silent)
        cost = self.clock() - start
        self.next = self.clock() + max(REFRESH_S, cost / COST_SHARE)
