"""A rehearsal of several nodes comes to one verdict, though no two nodes have as much memory free."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openr1.training import phases


@pytest.mark.parametrize(("capacities", "least"), [((8, 5, 0), 5), ((0, 0, 0), None)])
def test_the_worst_of_all_ranks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capacities: tuple[int, ...], least: int | None
) -> None:
    found = [
        {"update": {"peak_bytes": 3 + rank, "seconds": 9.0 - rank}, **({"save": SAVE} if rank == 1 else {})}
        for rank in range(3)
    ]
    asked: list[Any] = []

    def everyone(child: Any, own: Any) -> list[Any]:
        asked.append(own)
        return [(3 + rank, capacities[rank] or None, found[rank]) for rank in range(3)]

    monkeypatch.setattr(phases, "from_all", everyone)
    monkeypatch.setattr(phases, "from_first", lambda child, make: make())
    monkeypatch.setenv("OPENR1_CAPACITY_BYTES", str(capacities[0]))
    run = SimpleNamespace(path=tmp_path, checkpoints=tmp_path / "checkpoints")
    run.checkpoints.mkdir()
    plan = {"memory": {"update": {"weights": 2}}, "step_seconds": None, "capacity_bytes": 1}
    meter = SimpleNamespace(highest=7, result=lambda: found[0])
    reporter = SimpleNamespace(peak=lambda: 6, measured=lambda: {"rows": 4}, step_seconds=[1.0, 2.0])
    done = phases.measured_by_all(SimpleNamespace(run=run, config={"plan": plan}), meter, reporter)  # type: ignore[arg-type]
    assert asked == [(7, capacities[0] or None, found[0])]
    assert done["peak_bytes"] == 5
    assert done["capacity_bytes"] == least
    assert done["phases"] == {"update": {"peak_bytes": 5, "seconds": 9.0}, "save": SAVE}
    assert done["planned"] == {"memory": plan["memory"], "step_seconds": None}
    assert (done["rows"], done["steps_seconds"], done["checkpoint_bytes"]) == (4, [1.0, 2.0], 0)
    assert done["disk_free_bytes"] > 0


SAVE = {"peak_bytes": 2, "seconds": 1.0}
