"""The rehearsal: its figures, its verdict, and that the run itself stays as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from openr1.errors import OutOfMemory
from openr1.services.out_of_memory import lighter
from openr1.services.rehearse import Rehearsal, steps_of
from tests.conftest import Cli

START = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")
GIB = 2**30
FITS = Rehearsal(
    peak_bytes=8 * GIB, predicted_bytes={"update": 9 * GIB}, capacity_bytes=12 * GIB, step_seconds=2.0,
    predicted_step_seconds=1.5, steps=100, checkpoint_bytes=GIB, checkpoints_kept=3,
    disk_free_bytes=10 * GIB, temperatures_c=(), seconds=60.0,
)  # fmt: skip


def test_go_or_the_flag_to_change() -> None:
    assert FITS.problem is None
    assert FITS.run_seconds == 200
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
        ("sft", {"packing": True}, None),
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


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_rehearsal_leaves_the_run_alone(cli: Cli, tiny: str, stage: str) -> None:
    words = (stage, tiny, *START, "--rehearse", "--json")
    found = cli(*words).json
    assert found["go"] is True
    assert found["peak_bytes"] > 100 * 2**20
    assert found["checkpoint_bytes"] > 100_000
    assert found["steps"] == {"sft": 12, "grpo": 4}[stage]
    assert found["step_seconds"] > 0
    assert not list((cli.folder / "runs").iterdir())


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
