"""Recipes and machines that the planner's tests share."""

from __future__ import annotations

from typing import Any

from openr1.planning import Plan, plan
from openr1.planning.memory import GIB

LIGHT_SFT: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct",
    "max_length": 512,
    "packing": True,
    "global_batch_size": 16,
    "learning_rate": 2.0e-5,
}
LIGHT_GRPO: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct",
    "max_completion_length": 512,
    "num_generations": 8,
    "global_batch_size": 64,
    "learning_rate": 1.0e-6,
    "save_steps": 50,
}
SIMPLE_RL: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen2.5-Math-7B",
    "max_completion_length": 1024,
    "num_generations": 7,
    "global_batch_size": 896,
    "learning_rate": 3.0e-6,
}
INSTRUCT_GRPO: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct",
    "max_completion_length": 1024,
    "num_generations": 8,
    "global_batch_size": 112,
    "learning_rate": 2.0e-5,
}


def made(stage: str, settings: dict[str, Any], machine: Any, **more: Any) -> Plan:
    """The plan of a recipe in which every key is a person's."""
    explicit = more.pop("explicit", set(settings))
    return plan(stage, settings, machine, explicit=explicit, **more)


def batch_of(found: Plan) -> int:
    """Per-device x accumulation x ranks: what the plan really does per optimizer step."""
    values = found.values
    per_device = values["per_device_train_batch_size"].value
    return int(per_device * values["gradient_accumulation_steps"].value * found.processes)


def gib(found: Plan, phase: str) -> float:
    """A phase's bytes in GiB."""
    assert found.memory is not None
    return sum(found.memory[phase].values()) / GIB
