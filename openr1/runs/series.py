"""metrics.jsonl as curves: read line by line, kept at a bounded number of points, however long it is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LINE_BYTES = 1 << 22  # a longer line is no row of metrics
PARSED_ROWS = 1_000_000  # of a longer file every n-th row is read; parsing is what takes the time
POINTS = 400  # a curve keeps between half of this and this
NAMES = 300  # different metrics; the rest is left out, and said
WHO = ("step", "time", "epoch")  # columns that say where a row belongs and are no metric


def number(value: Any) -> float | None:
    """A metric's value as it was before JSON: null stands for NaN, text for infinities. None = no number."""
    if value is None:
        return math.nan
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return {"inf": math.inf, "-inf": -math.inf}.get(value) if isinstance(value, str) else None


@dataclass
class Point:
    """Consecutive values of a metric taken together: mean, least and greatest of the finite ones."""

    step: float
    values: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, value: float) -> None:
        if math.isfinite(value):
            self.values += 1
            self.total += value
            self.low, self.high = min(self.low, value), max(self.high, value)

    def merge(self, other: Point) -> None:
        self.values += other.values
        self.total += other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def mean(self) -> float:
        """NaN where none of the values was finite."""
        return self.total / self.values if self.values else math.nan


@dataclass
class Curve:
    """One metric over the steps. When it is full, neighbours are merged and later points hold twice as many
    values, so that its size is bounded and no spike is lost: `low` and `high` keep it."""

    points: list[Point] = field(default_factory=list)
    per_point: int = 1
    count: int = 0
    first: float = math.nan
    last: float = math.nan
    not_finite: int = 0
    first_bad_step: float | None = None
    _in_last: int = 0

    def add(self, step: float, value: float) -> None:
        self.count += 1
        if not math.isfinite(value):
            self.not_finite += 1
            self.first_bad_step = step if self.first_bad_step is None else self.first_bad_step
        else:
            self.first = value if math.isnan(self.first) else self.first
            self.last = value
        if not self.points or self._in_last == self.per_point:
            if len(self.points) == POINTS:
                self._halve()
            self.points.append(Point(step))
            self._in_last = 0
        self.points[-1].add(value)
        self._in_last += 1

    def _halve(self) -> None:
        pairs = zip(self.points[::2], self.points[1::2], strict=True)
        merged = []
        for left, right in pairs:
            left.merge(right)
            merged.append(left)
        self.points, self.per_point = merged, self.per_point * 2

    @property
    def low(self) -> float:
        return min((p.low for p in self.points), default=math.nan)

    @property
    def high(self) -> float:
        return max((p.high for p in self.points), default=math.nan)


@dataclass
class Series:
    """All metrics of a run, by TRL's names."""

    curves: dict[str, Curve] = field(default_factory=dict)
    rows: int = 0
    last_step: float = 0.0
    left_out: set[str] = field(default_factory=set)

    def add(self, row: dict[str, Any]) -> None:
        """Take one row. Its step is the x of every curve; a row without one stands one after the last."""
        step = number(row.get("step"))
        if step is None or not math.isfinite(step):
            step = self.last_step + 1
        self.rows, self.last_step = self.rows + 1, step
        for name, raw in row.items():
            value = None if name in WHO else number(raw)
            if value is None:
                continue
            if name not in self.curves:
                if len(self.curves) == NAMES:
                    if len(self.left_out) < NAMES:
                        self.left_out.add(name)
                    continue
                self.curves[name] = Curve()
            self.curves[name].add(step, value)


def stride(path: Path, parsed: int | None = None) -> int:
    """Read every n-th row: 1, or more where the file has more than `parsed` (PARSED_ROWS) rows, which is
    estimated from its first lines."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1 << 16)
    lines = head.count(b"\n")
    if not lines:
        return 1
    rows = size / (len(head) / lines)
    return max(1, math.ceil(rows / (PARSED_ROWS if parsed is None else parsed)))


def rows(path: Path, every: int = 1) -> Iterator[dict[str, Any]]:
    """Rows of a JSON lines file, one in memory at a time: every n-th, and always the last.

    What is no row (cut off, too long, not JSON, not an object) is passed over.
    """
    if not path.is_file():
        return
    last, last_given = b"", True
    with path.open("rb") as file:
        for index, line in enumerate(lines_of(file)):
            last, last_given = line, index % every == 0
            if last_given:
                row = parse(line)
                if row is not None:
                    yield row
    if not last_given:
        row = parse(last)
        if row is not None:
            yield row


def lines_of(file: Any) -> Iterator[bytes]:
    """Whole lines of at most LINE_BYTES; of a longer one nothing is kept."""
    while line := file.readline(LINE_BYTES):
        if line.endswith(b"\n"):
            yield line
            continue
        while (rest := file.readline(LINE_BYTES)) and not rest.endswith(b"\n"):
            pass


def parse(line: bytes) -> dict[str, Any] | None:
    """One row, or None for what is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
