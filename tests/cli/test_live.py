"""What a run says while it goes where there is no terminal, and how the rest is estimated."""

from __future__ import annotations

import io
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openr1.cli import live as module
from openr1.cli.live import Clock, Live
from openr1.cli.printer import Printer
from openr1.cli.rows_view import one_line
from tests.conftest import rows_of


def listen(events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, every: float) -> list[str]:
    from rich.console import Console

    out = io.StringIO()
    printer = Printer()
    monkeypatch.setattr(
        printer, "console", lambda *, err=False: Console(file=out, width=200, highlight=False)
    )
    monkeypatch.setattr(module, "PLAIN_EVERY", every)
    with Live(printer, "grpo") as live:
        for event in events:
            live.listen(event)
    return out.getvalue().splitlines()


def steps(count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"event": "start", "total": count, "done": 0, "unit": "step"}]
    for step in range(1, count + 1):
        metrics = {
            "loss": 1.0 / step,
            "reward": 0.5,
            "completions/mean_length": 31.25,
            "tokens_per_second": 12_345.6,
        }
        found += [
            {"event": "progress", "done": step},
            {"event": "progress", "done": step, "metrics": metrics},
        ]
    return [*found, {"event": "result"}]


def test_the_last_state_is_always_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = listen(steps(50), monkeypatch, every=1e9)
    assert lines[-1] == "grpo: step 50/50  loss 0.02  reward 0.5  length 31.2  tok/s 12,346"
    assert len(lines) == 1


def test_plain_lines_have_step_metrics_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 100_000, 10))  # ten seconds between any two looks at the clock
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    lines = listen(steps(8), monkeypatch, every=0)
    assert lines[0].startswith("grpo: step 1/8")
    assert any(line.endswith("left") for line in lines[4:10])
    assert not lines[-1].endswith("left")


def test_notices_and_a_stop_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = listen(
        [{"event": "phase", "name": "loading"}, {"event": "notice", "text": "look"}, {"event": "stopping"}],
        monkeypatch,
        every=0,
    )
    assert lines[0] == "grpo: loading"
    assert lines[1] == "• look"
    assert "Ctrl-C again" in lines[2]


def test_health_is_said_once_and_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded run whose completions all were cut off (tests/runs/recordings)."""
    rows = rows_of(Path(__file__).parent.parent / "runs" / "recordings" / "length-limit.jsonl")
    prepared = SimpleNamespace(
        resolved=SimpleNamespace(name="grpo", stage="grpo"), run=SimpleNamespace(path="r"), notices=()
    )
    events: list[dict[str, Any]] = [
        {"event": "section", "prepared": prepared, "state": None},
        {"event": "start", "total": 24, "done": 0, "unit": "step"},
        *({"event": "progress", "done": row["step"], "metrics": row} for row in rows),
    ]
    lines = listen(events, monkeypatch, every=1e9)
    said = " ".join(lines)
    assert said.count("Completions are cut off") == 1
    assert "step 5: Completions are cut off. 100 % of the completions" in said
    assert "Raise max_completion_length" in said


def test_nothing_is_said_to_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live(Printer(json=True))
    live.listen({"event": "start", "total": 1, "done": 0, "unit": "step"})  # no console, no bar
    assert live.progress is None


def test_the_first_estimate_is_the_rehearsals(monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(t=0.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.t)
    events = [
        {"event": "pace", "step_seconds": 60.0},
        {"event": "start", "total": 11, "done": 0, "unit": "step"},
        {"event": "progress", "done": 1},
    ]
    assert listen(events, monkeypatch, every=-1)[-1].endswith("10 min 00 s left")
    assert not listen(events[1:], monkeypatch, every=-1)[-1].endswith("left")
    clock = Clock(0, pace=60.0)
    for done in (1, 2, 3):  # its own steps take a second: from then on its own pace counts
        now.t += 1.0
        clock.tick(done)
    assert clock.left(3, 11) == pytest.approx(8.0)


def test_the_estimate_leaves_the_first_steps_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(t=0.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.t)
    clock = Clock(done=10)  # a run that continues after step 10
    now.t = 100.0  # a slow first step
    clock.tick(11)
    assert clock.left(11, 20) is None
    now.t = 102.0
    clock.tick(12)
    now.t = 106.0
    clock.tick(14)
    assert clock.left(14, 20) == pytest.approx(12.0)  # two seconds a step, six to go
    assert clock.left(20, 20) is None


def test_rows_before_the_first_step_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    masked = {"text": f"<|user|>{'x' * 500}", "learnt": False}
    answer = {"text": "<think>\nadd\x1b[2J</think>", "learnt": True}
    sft = {"event": "rows", "stage": "sft", "samples": [{"row": 1_234, "pieces": [masked, answer]}]}
    lines = listen([sft], monkeypatch, every=1e9)
    assert lines[0] == (
        "• some rows as the model will see them; ⟦…⟧ is read and not learnt (whole: --show-samples N)"
    )
    assert lines[1].startswith("  row 1,234  ⟦<|user|>xxx") and "x…x" in lines[1]
    assert lines[1].endswith("xxx⟧<think>↵add·[2J</think>")  # what is short stays whole, escapes do nothing
    assert len(lines) == 2 and len(lines[1]) <= 200
    grpo = {"row": 1, "text": "<|user|>1+1", "gold": "2"}
    lines = listen([{"event": "rows", "stage": "grpo", "samples": [grpo]}], monkeypatch, every=1e9)
    assert lines[1] == "  row 1      <|user|>1+1▌ 2"


def test_a_row_of_many_turns_and_wide_letters_fits_on_a_line() -> None:
    from rich.cells import cell_len

    pieces = [{"text": "思考" * 90, "learnt": turn % 2 == 1} for turn in range(12)]
    line = one_line({"row": 1, "pieces": pieces}, 80)
    assert 60 < cell_len(line.plain) <= 80 and "\n" not in line.plain


def test_programs_are_not_shown_rows(capsys: pytest.CaptureFixture[str]) -> None:
    event = {"event": "rows", "stage": "grpo", "samples": [{"row": 1, "text": "x", "gold": "2"}]}
    for printer in (Printer(json=True), Printer(quiet=True)):
        with Live(printer, "grpo") as live:
            live.listen(event)
    assert capsys.readouterr() == ("", "")
