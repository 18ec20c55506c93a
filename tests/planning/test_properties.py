"""Whatever the recipe and the machine: the global batch is kept, or a clear error says why not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from openr1.errors import OpenR1Error
from openr1.hardware import simulate

from .recipes import batch_of, made

MACHINES = [
    simulate(s) for s in ("cpu", "RTX 3060", "2x RTX 4090", "3xA100-40GB", "8xH100", "T4", "4xL4, 2 nodes")
]
MODELS = ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen3-4B", "Qwen/Qwen2.5-7B", "builtin:tiny")


def recipe(dice: random.Random) -> dict[str, Any]:
    """A recipe that somebody might write, contradictions included."""
    values: dict[str, Any] = {"model_name_or_path": dice.choice(MODELS)}
    choices: dict[str, tuple[Any, ...]] = {
        "global_batch_size": (1, 7, 16, 64, 112, 128, 1000),
        "per_device_train_batch_size": (1, 2, 3, 8),
        "gradient_accumulation_steps": (1, 4, 5),
        "num_generations": (2, 7, 8, 16),
        "max_completion_length": (64, 512, 4096),
        "max_length": (256, 2048, None),
        "packing": (True, False),
        "gradient_checkpointing": (True, False),
        "dtype": ("float32", "bfloat16"),
        "optim": ("adamw_torch", "adamw_bnb_8bit", "lion_32bit"),
        "use_vllm": (True, False),
        "use_peft": (True, False),
        "beta": (0.0, 0.04),
        "allow_lora": (True,),
    }
    for key, options in choices.items():
        if dice.random() < 0.35:
            values[key] = dice.choice(options)
    return values


@pytest.mark.parametrize("seed", range(150))
def test_a_plan_keeps_the_promise(seed: int) -> None:
    dice = random.Random(seed)
    values, machine, stage = recipe(dice), dice.choice(MACHINES), dice.choice(("sft", "grpo"))
    try:
        found = made(stage, values, machine)
    except OpenR1Error as error:
        assert error.code in (3, 4, 5) and error.what and error.fix
        return
    assert batch_of(found) == found.global_batch_size.value
    if "global_batch_size" in values:
        assert batch_of(found) == values["global_batch_size"]
    for key in ("per_device_train_batch_size", "gradient_accumulation_steps", "dtype", "optim"):
        if key in values:
            assert found.values[key].value == values[key]
    if stage == "grpo":
        per_step = found.values["per_device_train_batch_size"].value * found.processes
        generation = per_step * found.values["steps_per_generation"].value
        assert generation % values.get("num_generations", 8) == 0
    assert found.fits is not False
