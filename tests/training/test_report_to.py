"""Trackers: off by default, and where a recipe names one, it gets the metrics."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.conftest import Cli, only_run, rows_of


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_gets_the_run_s_metrics(cli: Cli, tiny: str) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cli("sft", tiny, "--max_steps", "4", "--report_to", "tensorboard", "--quiet")
    run = only_run(cli, "tiny-sft-*")
    (file,) = (run / "tensorboard").rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file.parent)).Reload()
    losses = [row["loss"] for row in rows_of(run / "metrics.jsonl") if "loss" in row]
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(losses, rel=1e-4)


SECRET = "aaaabbbbccccddddeeeeffff0000111122223333"


def holders_of(secret: str, *folders: Path) -> list[Path]:
    """The files that hold it."""
    files = (file for folder in folders for file in folder.rglob("*") if file.is_file())
    return [file for file in files if secret.encode() in file.read_bytes()]


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_writes_into_the_run_folder_and_no_key_lands_there(cli: Cli, tiny: str) -> None:
    keys = {"WANDB_API_KEY": SECRET, "HF_TOKEN": f"hf_{SECRET}"}
    cli("sft", tiny, "--max_steps", "4", "--report_to", "wandb", WANDB_MODE="offline", **keys)
    run = only_run(cli, "tiny-sft-*")
    (file,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    written = file.read_bytes()
    assert b"train/loss" in written and run.name.encode() in written
    assert not holders_of(SECRET, cli.folder)


@pytest.mark.skipif(importlib.util.find_spec("trackio") is None, reason="trackio is not installed")
def test_trackio_keeps_the_metrics_on_this_machine(cli: Cli, tiny: str) -> None:
    import sqlite3

    store = cli.folder / "store"
    words = ("--max_steps", "4", "--report_to", "trackio", "--project", "mine")
    cli("sft", tiny, *words, TRACKIO_DIR=str(store), HF_TOKEN=f"hf_{SECRET}")
    with sqlite3.connect(store / "mine.db") as base:
        rows = base.execute("select run_name, metrics from metrics").fetchall()
    assert any("train/loss" in str(metrics) for _, metrics in rows)
    assert {name for name, _ in rows} == {only_run(cli, "tiny-sft-*").name}
    assert not holders_of(SECRET, cli.folder)


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
