"""What a row says about the machine, with a sensor and a clock that say what we want."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from openr1.hardware.guard import Reading
from openr1.training.telemetry import Telemetry

NOTHING: Any = None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(t=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: now.t)
    return now


def test_the_share_of_the_time_spent_waiting_for_data(clock: SimpleNamespace) -> None:
    """Three steps of 1 s with 0.5 s of fetching between them; 2 s of saving do not count as waiting."""
    seen = Telemetry(NOTHING, lambda: 7)
    for step in range(3):
        seen.on_step_begin(NOTHING, NOTHING, NOTHING)
        clock.t += 1.0
        seen.on_step_end(NOTHING, NOTHING, NOTHING)
        if step == 1:
            clock.t += 2.0
            seen.on_save(NOTHING, NOTHING, NOTHING)
        clock.t += 0.5 if step < 2 else 0.0
    assert seen.row() == {"data/wait": round(1.0 / 6.0, 4), "memory/peak_bytes": 7}
    clock.t += 1.0
    assert seen.row()["data/wait"] == 0.0


def test_heat_and_throttling_since_the_row_before(clock: SimpleNamespace) -> None:
    readings = iter(
        [Reading((70, 80), (None, "heat")), Reading((71, None), (None, None)), Reading((60,), (None,))]
    )
    seen = Telemetry(NOTHING, lambda: 7)
    read = seen.watched(lambda: next(readings))
    read()
    read()
    row = seen.row()
    assert (row["gpu/temperature"], row["gpu/throttled"]) == (71, 0.5)
    assert "gpu/temperature" not in seen.row()  # nothing was read since
    read()
    assert seen.row()["gpu/throttled"] == 0.0


def test_without_a_card_there_is_no_heat(clock: SimpleNamespace) -> None:
    seen = Telemetry(NOTHING, lambda: 7)
    seen.watched(lambda: Reading(disk_free_bytes=3))()
    assert set(seen.row()) == {"data/wait", "memory/peak_bytes"}
