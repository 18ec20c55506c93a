"""Trackers: off by default, and where a recipe names one, it gets the metrics."""

from __future__ import annotations

import importlib.util

import pytest

from tests.conftest import Cli, only_run, rows_of


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_gets_the_run_s_metrics(cli: Cli, tiny: str) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cli("sft", tiny, "--max_steps", "4", "--report_to", "tensorboard", "--quiet")
    run = only_run(cli, "tiny-sft-*")
    (file,) = run.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file.parent)).Reload()
    losses = [row["loss"] for row in rows_of(run / "metrics.jsonl") if "loss" in row]
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(losses, rel=1e-4)


def test_nothing_is_reported_unless_asked(cli: Cli, tiny: str) -> None:
    """Nor is a tracker that happens to be installed found by itself, as `report_to: all` would."""
    # TRL imports a wandb that it finds; using it is another matter.
    cli.write("wandb.py", "run = None\ndef init(*_, **__):\n    raise SystemExit('a run was reported')\n")
    path = f"{cli.folder}:{cli.env.get('PYTHONPATH', '')}"
    cli("sft", tiny, "--max_steps", "2", "--quiet", PYTHONPATH=path)
    run = only_run(cli, "tiny-sft-*")
    assert not list(run.rglob("events.out.tfevents.*"))


@pytest.mark.skipif(importlib.util.find_spec("trackio") is not None, reason="trackio is installed")
def test_a_tracker_that_is_not_installed_is_said_before_anything_starts(cli: Cli, tiny: str) -> None:
    done = cli("sft", tiny, "--report_to", "trackio", code=5)
    assert "trackio" in done.err and "pip install trackio" in done.err and "Traceback" not in done.err
    assert not list((cli.folder / "runs").rglob("model"))
