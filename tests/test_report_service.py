"""The page that a run leaves behind: rarely while it goes, never at the run's cost."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openr1.runs.folder import RunFolder
from openr1.runs.report import page
from openr1.runs.report.story import tell
from openr1.services import report
from openr1.services.report import COST_SHARE, REFRESH_S, Refresh, leave
from tests.runs.report.test_bad_input import make

ROW = {"event": "progress", "metrics": {"loss": 1.0}}


class Times:
    """A clock that moves when told, and by `cost` for every page."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def refreshed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Refresh, Times, list[float]]:
    monkeypatch.delenv("OPENR1_REPORT", raising=False)
    clock, written = Times(), []

    def write(folder: Path, listen: Any) -> None:
        written.append(clock.now)
        clock.now += 2.0  # what a page costs

    monkeypatch.setattr(report, "leave", write)
    return Refresh(RunFolder(tmp_path), clock), clock, written


def test_pages_are_rare_and_take_a_hundredth_of_the_time(
    refreshed: tuple[Refresh, Times, list[float]],
) -> None:
    refresh, clock, written = refreshed
    for _ in range(36_000):
        clock.now += 0.1
        refresh.look(ROW)
    assert written[0] == pytest.approx(REFRESH_S / 2, abs=0.2)
    assert all(b - a >= 2.0 / COST_SHARE for a, b in itertools.pairwise(written))
    assert len(written) * 2.0 <= 1.2 * COST_SHARE * clock.now


def test_only_a_row_of_metrics_makes_a_page(refreshed: tuple[Refresh, Times, list[float]]) -> None:
    refresh, clock, written = refreshed
    clock.now = 1e6
    for event in ({"event": "tick"}, {"event": "progress", "done": 3}, {"event": "phase", "name": "x"}):
        refresh.look(event)
    assert written == []
    refresh.look(ROW)
    assert written == [1e6]


def test_the_page_of_a_running_run_reloads_itself_and_others_do_not(tmp_path: Path) -> None:
    made = make(tmp_path / "run", [{"step": 1, "loss": 1.0}])
    going_on = replace(made, state="running")
    assert '<meta http-equiv="refresh"' in page.render_run(going_on, [tell(going_on)], [])
    assert "refresh" not in page.render_run(made, [tell(made)], [])


def test_off_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENR1_REPORT", "off")
    made = make(tmp_path / "run", [{"step": 1, "loss": 1.0}])
    leave(made.path, lambda event: None)
    assert not (made.path / "report.html").exists()
    assert not Refresh(RunFolder(made.path)).on


def test_a_page_that_fails_is_said_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENR1_REPORT", raising=False)
    made = make(tmp_path / "run", [{"step": 1, "loss": 1.0}])

    def broken(*_: object) -> str:
        raise ZeroDivisionError("a fault of the page")

    monkeypatch.setattr(page, "render_run", broken)
    said: list[dict[str, Any]] = []
    leave(made.path, said.append)
    assert [event["event"] for event in said] == ["notice"]
    assert "a fault of the page" in said[0]["text"]
    assert f"openr1 report {made.path}" in said[0]["text"]


def test_a_page_is_written_and_the_parent_stays_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess
    import sys

    made = make(tmp_path / "run", [{"step": n, "loss": 1.0 / n} for n in range(1, 9)])
    code = (
        "import sys; from pathlib import Path; from openr1.services.report import leave\n"
        "leave(Path(sys.argv[1]), print)\n"
        "print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    )
    env = {"PATH": "", "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(made.path)], capture_output=True, text=True, env=env, check=True
    )
    assert (made.path / "report.html").is_file()
    loaded = set(done.stdout.split())
    assert "matplotlib" in loaded
    assert not loaded & {"torch", "transformers", "datasets", "pandas", "scipy", "tkinter"}
