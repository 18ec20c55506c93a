"""metrics.jsonl of any length and state: bounded memory, no spike lost, nothing raised."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openr1.runs import series
from openr1.runs.series import POINTS, Curve, Series, number, rows, stride


def write(path: Path, count: int, width: int = 6) -> None:
    """A metrics file of `count` rows with `width` metrics, written in blocks."""
    names = [f"metric_{n}" for n in range(width)]
    with path.open("w") as file:
        for start in range(0, count, 10_000):
            block = range(start, min(start + 10_000, count))
            file.writelines(json.dumps({"step": s, **dict.fromkeys(names, s % 97)}) + "\n" for s in block)


def peak_of(path: Path) -> tuple[Series, int]:
    found = Series()
    tracemalloc.start()
    for row in rows(path, stride(path)):
        found.add(row)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found, peak


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    short, long = tmp_path / "short.jsonl", tmp_path / "long.jsonl"
    write(short, 2_000)
    write(long, 100_000)
    few, peak_few = peak_of(short)
    many, peak_many = peak_of(long)
    assert (few.rows, many.rows) == (2_000, 100_000)
    assert long.stat().st_size > 6_000_000
    assert peak_many < 1.5 * peak_few + 200_000
    assert all(len(curve.points) <= POINTS for curve in many.curves.values())


def test_of_a_very_long_file_every_nth_row_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten million rows are too many to parse; here the limit is a thousand, and the last row still counts."""
    path = tmp_path / "metrics.jsonl"
    write(path, 30_000, width=1)
    monkeypatch.setattr(series, "PARSED_ROWS", 1_000)
    parsed = 0
    plain = series.parse

    def counting(line: bytes) -> object:
        nonlocal parsed
        parsed += 1
        return plain(line)

    monkeypatch.setattr(series, "parse", counting)
    every = stride(path)
    assert 25 <= every <= 35
    steps = [row["step"] for row in rows(path, every)]
    assert parsed == len(steps) <= 1_300
    assert steps[0] == 0
    assert steps[-1] == 29_999


def test_no_spike_is_lost_when_points_are_merged() -> None:
    curve = Curve()
    for step in range(50_000):
        curve.add(step, 1.0 if step != 31_234 else 1_000.0)
    assert POINTS / 2 <= len(curve.points) <= POINTS
    assert curve.per_point >= 128
    assert curve.high == 1_000.0
    assert curve.low == 1.0
    (spike,) = [p for p in curve.points if p.high == 1_000.0]
    assert spike.step <= 31_234 < spike.step + curve.per_point


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=3_000))
def test_a_curve_keeps_count_mean_and_ends_of_any_values(values: list[float]) -> None:
    curve = Curve()
    for step, value in enumerate(values):
        curve.add(step, value)
    finite = [v for v in values if math.isfinite(v)]
    assert curve.count == len(values)
    assert curve.not_finite == len(values) - len(finite)
    assert sum(p.values for p in curve.points) == len(finite)
    assert [p.step for p in curve.points] == sorted(p.step for p in curve.points)
    if finite:
        assert (curve.low, curve.high) == (min(finite), max(finite))
        assert (curve.first, curve.last) == (finite[0], finite[-1])
        total = math.fsum(p.total for p in curve.points)
        assert total == pytest.approx(math.fsum(finite), rel=1e-6, abs=1e-6 * max(map(abs, finite)))


def test_what_is_no_row_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setattr(series, "LINE_BYTES", 1_000)
    lines = [
        b'{"step": 1, "loss": 1.0}\n',
        b"\n",
        b"[1, 2]\n",
        b"\xff\xfe\x00\n",
        b"[" * 900 + b"\n",
        b'{"step": 2, "note": "' + b"x" * 5_000 + b'"}\n',  # longer than a line may be
        b'{"step": 3, "loss": NaN, "reward": null, "kl": "inf", "big": 1' + b"0" * 400 + b"}\n",
        b'{"step": 4, "loss": 0.5}\n',
        b'{"step": 5, "lo',  # cut off
    ]
    path.write_bytes(b"".join(lines))
    found = Series()
    for row in rows(path):
        found.add(row)
    assert found.rows == 3
    assert [p.step for p in found.curves["loss"].points] == [1, 3, 4]
    assert found.curves["loss"].not_finite == 1
    assert found.curves["kl"].not_finite == found.curves["big"].not_finite == 1
    assert math.isnan(found.curves["reward"].first)
    assert list(rows(tmp_path / "none.jsonl")) == []


def test_numbers_as_json_has_them() -> None:
    assert number(2) == 2.0
    assert math.isnan(number(None) or 0)
    assert number("-inf") == -math.inf
    assert [number(x) for x in ("text", True, [1], {})] == [None] * 4


def test_more_names_than_there_is_room_for_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "NAMES", 5)
    found = Series()
    for step in range(100):
        found.add({"step": step, f"name-{step}": 1.0})
    assert len(found.curves) == 5
    assert len(found.left_out) == 5
