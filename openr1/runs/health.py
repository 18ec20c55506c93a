"""Health in words: what a run's metrics say, by rules that are data (`health_rules.yaml`).

A rule holds when all its conditions hold on so many rows in a row. A condition compares a metric with a
number, or with that number times what the metric was: at the `start` (mean of its first rows), at its `peak`,
or of late (`median` of the rows before). The same code reads a finished file and a run that is going on.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from openr1.runs.series import number

RULES = Path(__file__).parent / "health_rules.yaml"
START_ROWS = 5  # the mean of these is a metric's start
MEDIAN_ROWS = 20  # of so many rows before, and at least START_ROWS of them


@dataclass(frozen=True)
class Condition:
    """One comparison. Exactly one of below, above, within, not_finite is set.

    Args:
        metric: TRL's name; in a rule's first condition it may hold `*`.
        of: None, "start", "peak" or "median": the number is a multiple of it.
        at_least: besides, the value must not be less than this.
        missing: what the condition counts as on a row without the metric, or before there is a reference.
    """

    metric: str
    below: float | None = None
    above: float | None = None
    within: float | None = None
    not_finite: bool = False
    of: str | None = None
    at_least: float | None = None
    missing: bool = False


@dataclass(frozen=True)
class Rule:
    """What to look for, and what to say.

    `seen` may use {value}, {percent} (the value as such), {was} (the reference) and {name}.
    """

    id: str
    title: str
    stages: tuple[str, ...]
    conditions: tuple[Condition, ...]
    seen: str
    expected: str
    advice: str
    source: str
    level: str = "warning"
    rows: int = 1
    first_rows: int | None = None
    before: float | None = None
    unless: tuple[str, ...] = ()
    excluding: tuple[str, ...] = ()


@dataclass
class Finding:
    """A rule that held. `step` is where it began, `last_step` where it last held."""

    rule: Rule
    metric: str
    step: float
    last_step: float
    value: float
    was: float | None
    going_on: bool = True
    who: str = ""
    """Of an evaluation: model and task. It has no steps."""

    @property
    def seen(self) -> str:
        """What was seen, in a sentence."""
        name = self.metric.removeprefix("rewards/").removesuffix("/mean")
        was = "" if self.was is None else _short(self.was)
        share = f"{100 * self.value:.0f} %"
        return self.rule.seen.format(value=_short(self.value), percent=share, was=was, name=name)

    @property
    def when(self) -> str:
        """`at step 3` or `from step 3 to 40`; of an evaluation the model and its task."""
        if self.who:
            return self.who
        if self.step == self.last_step:
            return f"at step {self.step:g}"
        return f"from step {self.step:g} to {self.last_step:g}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule.id,
            "level": self.rule.level,
            "title": self.rule.title,
            "metric": self.metric,
            **({"who": self.who} if self.who else {}),
            "step": self.step,
            "last_step": self.last_step,
            "seen": self.seen,
            "expected": self.rule.expected,
            "advice": self.rule.advice,
            "source": self.rule.source,
        }


def _short(value: float) -> str:
    return f"{value:.3g}"


@functools.cache
def rules() -> tuple[Rule, ...]:
    """All rules, in the order in which they are said.

    Raises:
        ValueError, TypeError, KeyError: the file is not what this module reads (a test loads it).
    """
    import yaml

    loaded = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return tuple(_rule(entry) for entry in loaded)


def _rule(entry: dict[str, Any]) -> Rule:
    conditions = tuple(Condition(**condition) for condition in entry.pop("when"))
    for condition in conditions:
        kinds = [condition.below, condition.above, condition.within]
        if sum(k is not None for k in kinds) + condition.not_finite != 1 or condition.of not in _REFERENCES:
            raise ValueError(f"rule {entry['id']}: {condition}")
    listed = [key for key in ("stages", "unless", "excluding") if key in entry]
    lists: dict[str, Any] = {key: tuple(entry.pop(key)) for key in listed}
    texts = {key: " ".join(entry.pop(key).split()) for key in ("seen", "expected", "advice", "source")}
    return Rule(conditions=conditions, **{**lists, **texts, **entry})


_REFERENCES = (None, "start", "peak", "median")


class _Memory:
    """What a metric was: its start, peak and late median."""

    def __init__(self) -> None:
        self.first: list[float] = []
        self.late: deque[float] = deque(maxlen=MEDIAN_ROWS)
        self.peak = 0.0

    def reference(self, of: str) -> float | None:
        if of == "peak":
            return self.peak or None
        if of == "start":
            return statistics.fmean(self.first) if len(self.first) == START_ROWS else None
        return statistics.median(self.late) if len(self.late) >= START_ROWS else None

    def add(self, value: float) -> None:
        if not math.isfinite(value):
            return
        self.peak = max(self.peak, abs(value))
        self.late.append(value)
        if len(self.first) < START_ROWS:
            self.first.append(value)


@dataclass
class _Streak:
    """Rows in a row on which a rule held."""

    rows: int = 0
    step: float = 0.0
    value: float = math.nan
    was: float | None = None
    finding: Finding | None = None


class Health:
    """Watches one run, row by row.

    Args:
        stage: sft or grpo.
        total_steps: where the run will end; None = not known, and rules that need it are silent.
    """

    def __init__(self, stage: str, total_steps: float | None = None) -> None:
        self.total_steps = total_steps
        self.rules = [rule for rule in rules() if stage in rule.stages]
        self.count = 0
        self.step = 0.0
        self._memory: dict[str, _Memory] = {}
        self._streaks: dict[tuple[str, str], _Streak] = {}
        self._found: list[Finding] = []

    @property
    def findings(self) -> list[Finding]:
        """What was found, first things first; what another finding explains is left out."""
        ids = {f.rule.id for f in self._found}
        order = {rule.id: n for n, rule in enumerate(self.rules)}
        kept = [f for f in self._found if not ids & set(f.rule.unless)]
        return sorted(kept, key=lambda f: (f.step, order[f.rule.id]))

    def observe(self, row: dict[str, Any]) -> list[Finding]:
        """Take one row of metrics; returns what it shows for the first time."""
        values = {k: v for k, v in ((k, number(raw)) for k, raw in row.items()) if v is not None}
        self.step = values.get("step", self.step + 1)
        new = [finding for rule in self.rules for finding in self._apply(rule, values)]
        self.count += 1
        watched = {c.metric for rule in self.rules for c in rule.conditions if c.of}
        for name in watched & values.keys():
            self._memory.setdefault(name, _Memory()).add(values[name])
        return new

    def _apply(self, rule: Rule, values: dict[str, float]) -> Iterator[Finding]:
        for metric in self._metrics(rule, values):
            streak = self._streaks.setdefault((rule.id, metric), _Streak())
            if not self._in_time(rule) or not self._holds(rule, metric, values):
                if streak.finding:
                    streak.finding.going_on = False
                streak.rows = 0
                continue
            if streak.rows == 0:
                streak.step, streak.value = self.step, values[metric]
                streak.was = self._was(rule.conditions[0])
            streak.rows += 1
            if streak.finding:
                streak.finding.last_step = self.step
            elif streak.rows >= rule.rows:
                found = Finding(rule, metric, streak.step, self.step, streak.value, streak.was)
                streak.finding = found
                hidden = {f.rule.id for f in self._found} & set(rule.unless)
                self._found.append(found)
                if not hidden:
                    yield found

    @staticmethod
    def _metrics(rule: Rule, values: dict[str, float]) -> Iterable[str]:
        """The metrics of this row that the rule's first condition is about."""
        wanted = rule.conditions[0].metric
        if "*" not in wanted:
            return (wanted,) if wanted in values else ()
        return [
            name
            for name in values
            if fnmatchcase(name, wanted) and not any(fnmatchcase(name, other) for other in rule.excluding)
        ]

    def _in_time(self, rule: Rule) -> bool:
        if rule.first_rows is not None and self.count >= rule.first_rows:
            return False
        if rule.before is None:
            return True
        return self.total_steps is not None and self.step <= rule.before * self.total_steps

    def _holds(self, rule: Rule, metric: str, values: dict[str, float]) -> bool:
        first, *others = rule.conditions
        return self._true(first, values.get(metric)) and all(
            self._true(c, values.get(c.metric)) for c in others
        )

    def _was(self, condition: Condition) -> float | None:
        memory = self._memory.get(condition.metric)
        return memory.reference(condition.of) if memory and condition.of else None

    def _true(self, condition: Condition, value: float | None) -> bool:
        if value is None:
            return condition.missing
        if condition.not_finite or not math.isfinite(value):
            return condition.not_finite and not math.isfinite(value)
        unit = 1.0
        if condition.of:
            was = self._was(condition)
            if was is None:
                return condition.missing
            unit = was
        if condition.at_least is not None and value < condition.at_least:
            return False
        if condition.below is not None:
            return value < condition.below * unit
        if condition.above is not None:
            return value > condition.above * unit
        assert condition.within is not None
        return abs(value) <= condition.within * unit


def of_result(stage: str, result: Mapping[str, Any]) -> list[Finding]:
    """What the result of an evaluation shows, score by score, or that of a generation; [] for other stages.

    A manifest that another version wrote may lack any of it.
    """
    found = []
    for who, row in _rows(stage, result):
        health = Health(stage)
        health.observe(row)
        for finding in health.findings:
            finding.who = who
            found.append(finding)
    return found


def _rows(stage: str, result: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    scores = result.get("scores")
    if stage == "eval" and isinstance(scores, list):
        for score in scores:
            if isinstance(score, dict):
                yield f"{score.get('model')}, {score.get('task')}", score
    if stage == "generate":
        verdicts = result.get("verdicts")
        judged = verdicts if isinstance(verdicts, dict) else {}
        counts = [number(count) or 0 for count in judged.values()]
        right = {"right": (number(judged.get("right", 0)) or 0) / sum(counts)} if sum(counts) else {}
        yield "all completions", {**result, **right}
