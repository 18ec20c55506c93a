"""The time model against published throughputs: right within a factor of 1.6, which is what it promises."""

from __future__ import annotations

import pytest

from openr1.hardware import simulate
from openr1.planning.batch import Split
from openr1.planning.memory import Setup
from openr1.planning.shape_table import TABLE
from openr1.planning.speed import rates, step_times

# machine, model, ranks, row length, LoRA, tokens per second over all ranks, source
ANCHORS = (
    ("H100", "Qwen/Qwen3-0.6B", 1, 8192, None, 26_000, "prime-rl"),
    ("H100", "Qwen/Qwen3-0.6B", 1, 16384, None, 25_500, "prime-rl"),
    ("8xH100", "Qwen/Qwen3-4B", 8, 16384, None, 49_700, "prime-rl"),
    ("A100", "meta-llama/Llama-3.2-3B", 1, 4096, None, 7_210, "torchtune"),
    ("A6000", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", 1, 2048, None, 2_579 / 1.6, "torchtune, 6N"),
)


@pytest.mark.parametrize("anchor", ANCHORS, ids=lambda a: f"{a[1].split('/')[1]} {a[3]}")
def test_tokens_per_second(anchor: tuple[str, str, int, int, int | None, float, str]) -> None:
    machine, model, ranks, length, lora, published, _ = anchor
    sharding = "zero2" if ranks > 1 else "none"
    setup = Setup(TABLE[model], 2 * length, weight_bytes=2, ranks=ranks, sharding=sharding, lora_rank=lora)
    split = Split(2, 4, ranks)
    seconds = step_times(rates(simulate(machine), ranks), setup, split, length, None).update
    predicted = split.global_batch * length / seconds
    assert 1 / 1.6 < predicted / published < 1.6, f"{predicted:.0f} tok/s, published {published:.0f}"
