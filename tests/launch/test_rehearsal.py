"""The rehearsal: its figures, its verdict, and that the run itself stays as it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openr1.errors import OutOfMemory
from openr1.launch.command import free_port
from openr1.planning.run_time import run_time, steps_of
from openr1.services import rehearse
from openr1.services.out_of_memory import lighter
from openr1.services.rehearse import Rehearsal
from openr1.services.stage import _pace
from tests.conftest import Cli, rows_of

START = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")
GIB = 2**30
FITS = Rehearsal(
    peak_bytes=8 * GIB, predicted_bytes={"update": 9 * GIB},
    phases={"save": {"peak_bytes": 8 * GIB, "seconds": 5.0, "predicted_bytes": None}},
    capacity_bytes=12 * GIB, step_seconds=2.0, step_error=0.1, predicted_step_seconds=1.5, steps=100, saves=4,
    checkpoint_bytes=GIB, checkpoints_kept=3,
    disk_free_bytes=10 * GIB, temperatures_c=(), seconds=60.0,
)  # fmt: skip


def test_go_or_the_flag_to_change() -> None:
    assert FITS.problem is None
    assert FITS.run_seconds == 220
    assert FITS.run_error_seconds == pytest.approx(22)
    assert FITS.disk_bytes == 4 * GIB
    assert "--save_total_limit 1" in str(replace(FITS, disk_free_bytes=int(3.5 * GIB)).problem)
    assert "--save_only_model" in str(replace(FITS, disk_free_bytes=GIB).problem)
    assert "per_device_train_batch_size" in str(replace(FITS, peak_bytes=13 * GIB).problem)
    assert replace(FITS, capacity_bytes=None, step_seconds=None).run_seconds is None


@pytest.mark.parametrize(
    ("stage", "values", "steps"),
    [
        ("sft", {"max_steps": 7}, 7),
        ("sft", {"max_steps": -1, "num_train_epochs": 3.0}, 38),  # 100 rows / 8, three times
        ("sft", {"packing": True, "limit": 80}, 13),  # rows that are packed already
        ("sft", {"num_train_epochs": 1, "limit": 80}, 13),  # rows that are counted, not the limit
        ("grpo", {"num_generations": 4, "num_train_epochs": 1}, 50),
        ("grpo", {"num_generations": 4, "num_iterations": 2}, 100),
    ],
)
def test_the_steps_of_the_whole_run(stage: str, values: dict[str, Any], steps: int | None) -> None:
    assert steps_of(stage, values, 100, {"global_batch_size": {"value": 8}}) == steps


def test_what_makes_it_lighter_keeps_the_global_batch() -> None:
    first, second, third = lighter(
        {
            "per_device_train_batch_size": 6,
            "gradient_accumulation_steps": 2,
            "gradient_checkpointing": False,
            "use_vllm": True,
            "vllm_mode": "colocate",
            "vllm_gpu_memory_utilization": 0.5,
        }
    )
    assert first.flags == "--per_device_train_batch_size 3 --gradient_accumulation_steps 4"
    assert second.flags == "--gradient_checkpointing true"
    assert third.flags == "--vllm_gpu_memory_utilization 0.4"
    assert lighter({"per_device_train_batch_size": 1, "gradient_checkpointing": True}) == []


def test_the_time_of_a_run_before_it_starts() -> None:
    plan = {"step_seconds": {"value": 2.0}, "time_doubt": 1.6, "global_batch_size": {"value": 8}}
    found = run_time(plan, 600)
    assert found is not None
    assert (found.seconds, found.low, found.high, found.is_long) == (1200, 750, 1920, True)
    assert run_time(plan, None) is None
    assert run_time({"step_seconds": {"value": None}}, 600) is None
    assert steps_of("sft", {"limit": 80, "num_train_epochs": 1}, None, plan) == 10
    assert steps_of("sft", {"num_train_epochs": 1}, None, plan) is None
    assert steps_of("sft", {"limit": 80, "packing": True}, None, plan) is None  # unpacked rows


@pytest.mark.parametrize(
    ("values", "step", "is_long"),
    [
        ({"dataset_name": "owner/uncounted"}, 2.0, True),
        ({"dataset_name": "owner/uncounted"}, None, False),  # a step time that nobody knows predicts nothing
        ({"dataset_name": "owner/uncounted", "packing": True, "limit": 80}, 2.0, False),  # 10 steps at most
        ({"dataset_name": "owner/uncounted", "packing": True, "limit": 8000}, 2.0, True),
        ({"dataset_name": "builtin:chain-sum?steps=2"}, 2.0, False),
        ({"datasets": [{"path": "owner/uncounted"}]}, 2.0, True),
    ],
)
def test_what_cannot_be_counted_is_taken_for_long(
    values: dict[str, Any], step: float | None, is_long: bool
) -> None:
    plan = {"step_seconds": {"value": step}, "global_batch_size": {"value": 8}, "run_time": None}
    prepared: Any = SimpleNamespace(plan=plan, resolved=SimpleNamespace(stage="sft", values=values))
    assert rehearse.is_long(prepared) is is_long


def test_a_runs_first_estimate_is_measured_or_none(tmp_path: Path) -> None:
    """A rehearsal's, else a prediction that earlier runs here have corrected; never a bare formula's."""

    def first(corrections: tuple[float, float]) -> float | None:
        plan = {"corrections": corrections, "step_seconds": {"value": 3.0}}
        return _pace(SimpleNamespace(run=SimpleNamespace(path=tmp_path), plan=plan))  # type: ignore[arg-type]

    assert first((1.0, 1.0)) is None
    assert first((1.0, 1.4)) == 3.0
    (tmp_path / "rehearsal.json").write_text(json.dumps(FITS.as_dict()))
    assert first((1.0, 1.0)) == first((1.0, 1.4)) == FITS.step_seconds


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_dry_run_says_how_long_it_takes(cli: Cli, tiny: str, stage: str) -> None:
    words = (stage, tiny, "--model_name_or_path", "Qwen/Qwen2.5-0.5B", "--simulate", "H100", "--dry-run")
    done = cli(*words)
    assert f"for {12 if stage == 'sft' else 4} steps" in done.out
    said = cli(*words, "--json").json["plan"]
    time = said["run_time"]
    assert time["steps"] == {"sft": 12, "grpo": 4}[stage]
    assert time["seconds"] == pytest.approx(time["steps"] * said["step_seconds"]["value"])
    assert (time["low"], time["high"]) == pytest.approx((time["seconds"] / 1.6, time["seconds"] * 1.6))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_rehearsal_leaves_the_run_alone(cli: Cli, tiny: str, stage: str) -> None:
    evaluates = ("--eval_strategy", "steps", "--eval_steps", 4, "--eval_limit", 16)
    words = (stage, tiny, *START, *evaluates)
    cli(*words, "--run_name", "once")
    before = contents(cli.folder / "runs")
    found = cli(*words, "--rehearse", "--json").json
    assert contents(cli.folder / "runs") == before, "a rehearsal wrote into the runs"
    names = {"load", "update", "optimizer", "save", "evaluation"}
    names |= {"rollout", "rewards"} if stage == "grpo" else set()
    assert names <= set(found["phases"])
    for one in found["phases"].values():
        assert 50 * 2**20 < one["peak_bytes"] <= found["peak_bytes"]
        assert one["seconds"] >= 0
    assert 0.1 <= found["step_error"] < 1
    assert found["run_seconds"] > found["run_error_seconds"] > 0
    assert found["go"] is True
    assert found["peak_bytes"] > 100 * 2**20
    assert found["checkpoint_bytes"] > 100_000
    assert found["steps"] == {"sft": 12, "grpo": 4}[stage]
    assert found["step_seconds"] > 0
    # The trajectory is the one of a run that nobody rehearsed.
    cli(*words, "--run_name", "after")
    assert losses(cli, "after") == losses(cli, "once")


def contents(folder: Path) -> dict[str, str]:
    """Every file below and its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def losses(cli: Cli, name: str) -> list[float]:
    rows = rows_of(cli.folder / "runs" / name / "metrics.jsonl")
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.slow
def test_a_long_run_begins_with_its_rehearsal(cli: Cli, tiny: str) -> None:
    """Predicted over a quarter of an hour: rehearsed first, its figures kept; stopped once it trains."""
    cli("sft", tiny, *START, "--max_steps", 1, "--run_name", "base")  # a model whose shape can be read
    words = ("sft", tiny, "--model_name_or_path", "runs/base/model", "--max_steps", 2_000_000)
    words = (*words, "--lr_scheduler_type", "constant", "--save_steps", 100_000, "--save_total_limit", 1)
    plan = cli(*words, "--dry-run", "--json").json["plan"]
    assert plan["run_time"]["seconds"] > 15 * 60
    for name, more in (("long", ()), ("plain", ("--no-rehearse",))):
        process = cli.start(*words, "--run_name", name, *more)
        cli.when(process, f"runs/{name}/metrics.jsonl", '"step": 5,', lambda p: p.terminate())
        _, err = process.communicate(timeout=300)
        assert process.returncode == 130, err
        assert ("rehearsing it first" in err and "the rehearsal held" in err) is (name == "long"), err
    run = cli.folder / "runs" / "long"
    kept = json.loads((run / "rehearsal.json").read_text())
    assert kept["go"] is True
    assert kept["steps"] == 2_000_000
    assert kept["phases"]["update"]["predicted_bytes"] == kept["predicted_bytes"]["update"]
    # The run begins at its own first step, and goes where it goes without a rehearsal.
    assert [row["step"] for row in rows_of(run / "metrics.jsonl")][:5] == [1, 2, 3, 4, 5]
    assert losses(cli, "plain")[:5] == losses(cli, "long")[:5]
    assert not list((cli.folder / "runs").glob(".rehearsal-*"))
    cli("report", "runs/long")
    page = (run / "report.html").read_text()
    assert "Rehearsal" in page
    assert "evaluation" not in kept["phases"], "the recipe does not evaluate while it trains"


@pytest.mark.slow
def test_out_of_memory_names_the_rank_and_the_edits(cli: Cli, tiny: str) -> None:
    cli.write(
        "full.py",
        "import os\n\ndef reward(completions, prompts=None, trainer_state=None, **kwargs):\n"
        "    if os.environ.get('RANK') == '1' and trainer_state is not None:\n"
        "        raise MemoryError('no more')\n    return [0.0] * len(completions)\n",
    )
    words = ("grpo", tiny, *START, "--reward_funcs", "full.py:reward", "--processes", 2)
    done = cli(*words, code=OutOfMemory.code)
    assert "rank 1: out of memory: no more" in done.err
    assert "rank-1.log" in done.err
    assert "--per_device_train_batch_size 2 --gradient_accumulation_steps 2" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["ddp", "zero3"])
def test_two_nodes_rehearse_together(cli: Cli, tiny: str, sharding: str) -> None:
    words = ("sft", tiny, *START, "--sharding", sharding, "--nodes", 2)
    words = (*words, "--master", f"localhost:{free_port()}", "--rehearse", "--json")
    other = cli.start(*words, "--node-rank", 1)
    found = cli(*words).json
    out, err = other.communicate(timeout=300)
    assert other.returncode == 0, err
    theirs = json.loads(out)
    assert found["go"] is True and found["phases"]["save"]["peak_bytes"] > 50 * 2**20
    for own in ("seconds", "temperatures_c"):  # of this node's clock and cards
        found.pop(own), theirs.pop(own)
    assert theirs == found
    assert found["checkpoint_bytes"] > 100_000
    assert contents(cli.folder / "runs") == {}


@pytest.mark.slow
def test_a_node_that_does_not_rehearse_with_the_first(cli: Cli, tiny: str) -> None:
    words = ("sft", tiny, *START, "--nodes", 2, "--master", f"localhost:{free_port()}")
    other = cli.start(*words, "--node-rank", 1)
    done = cli(*words, "--rehearse", code=5)
    _, err = other.communicate(timeout=300)
    assert other.returncode == 5
    for said in (done.err, err):
        assert "--rehearse or --no-rehearse" in " ".join(said.split()), said
