"""The table models x methods, against the reference's worked examples."""

from __future__ import annotations

import pytest

from openr1.hardware import simulate
from openr1.planning.abilities import METHODS, MODELS, STAGES, Ability, abilities
from openr1.planning.abilities import STEP_TOKENS as STEP

TABLES = {name: abilities(simulate(name)) for name in ("RTX 3060", "RTX 4090", "H100", "8xH100", "cpu")}


def cell(machine: str, model: str, method: str, stage: str = "sft") -> Ability:
    (found,) = [
        a for a in TABLES[machine] if a.model.endswith(model) and a.method == method and a.stage == stage
    ]
    return found


@pytest.mark.parametrize("machine", TABLES)
def test_the_table_is_complete_and_says_why_not(machine: str) -> None:
    table = TABLES[machine]
    assert len(table) == len(MODELS) * len(METHODS) * len(STAGES)
    assert all(a.fits or a.note for a in table)
    assert all(a.tokens % STEP == 0 for a in table if a.tokens)


@pytest.mark.parametrize(
    ("machine", "model", "method", "stage"),
    [
        ("RTX 3060", "2.5-0.5B", "full", "sft"),
        ("RTX 3060", "2.5-0.5B", "full, 8-bit Adam", "grpo"),
        ("RTX 3060", "2.5-1.5B", "LoRA", "grpo"),
        ("RTX 3060", "2.5-7B", "QLoRA", "sft"),
        ("RTX 4090", "2.5-1.5B", "full, 8-bit Adam", "sft"),
        ("RTX 4090", "2.5-3B", "LoRA", "grpo"),
        ("H100", "2.5-3B", "full, 8-bit Adam", "grpo"),
        ("H100", "2.5-7B", "LoRA", "grpo"),
        ("8xH100", "2.5-7B", "full", "grpo"),
        ("cpu", "2.5-0.5B", "full", "sft"),
    ],
)
def test_what_fits(machine: str, model: str, method: str, stage: str) -> None:
    assert cell(machine, model, method, stage).fits


@pytest.mark.parametrize(
    ("machine", "model", "method"),
    [
        ("RTX 3060", "2.5-1.5B", "full, 8-bit Adam"),
        ("RTX 3060", "2.5-7B", "LoRA"),
        ("RTX 4090", "2.5-3B", "full, 8-bit Adam"),
        ("H100", "2.5-7B", "full"),
        ("8xH100", "2.5-32B", "full, 8-bit Adam"),
        ("cpu", "2.5-0.5B", "QLoRA"),
    ],
)
def test_what_does_not(machine: str, model: str, method: str) -> None:
    assert not cell(machine, model, method).fits


def test_methods_that_need_less_hold_more() -> None:
    for machine in ("RTX 4090", "H100"):
        tokens = [cell(machine, "2.5-0.5B", m).tokens or 0 for m in METHODS]
        assert tokens == sorted(tokens)


def test_seven_billion_on_eight_h100_needs_sharding() -> None:
    assert cell("8xH100", "2.5-7B", "full").sharding == "zero2"
    assert cell("8xH100", "2.5-0.5B", "full").sharding == "ddp"


@pytest.mark.parametrize("spec", ["8xH100", "4xA100-40GB, 2 nodes", "2x RTX 4090", "RTX 3060"])
def test_grpo_never_holds_more_than_sft(spec: str) -> None:
    """A rollout engine takes room; what a cell says is the most that any sharding can hold."""
    held = {(c.model, c.method, c.stage): c.tokens or 0 for c in abilities(simulate(spec))}
    for (model, method, stage), tokens in held.items():
        if stage == "grpo":
            assert tokens <= held[model, method, "sft"], (model, method)
