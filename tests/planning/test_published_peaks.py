"""One formula, one set of constants, sixteen peaks that others measured on real GPUs.

Sources: prime-rl's benchmark tables (FSDP2, fp32 masters, torch.compile, gradient accumulation) and
torchtune's README, "Optimization flags": Llama-3.2-3B on one A100, packed 2 x 4096, compiled, without
accumulation. There the LoRA and QLoRA rows keep activation offloading (see its command to reproduce them)
and train rank 64 on q, v, o and the MLP in bf16 (`llama3_2/3B_lora_single_device.yaml`).
What differs between rows is what was run, never a fudge factor.
"""

from __future__ import annotations

import pytest

from openr1.planning import memory
from openr1.planning.memory import GIB, Setup
from openr1.planning.shape_table import TABLE

SMALL, MIDDLE, LLAMA = TABLE["Qwen/Qwen3-0.6B"], TABLE["Qwen/Qwen3-4B"], TABLE["meta-llama/Llama-3.2-3B"]
TORCHTUNE_LORA = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def prime(shape: object, tokens: int, ranks: int = 1, **more: object) -> Setup:
    """prime-rl: fp32 parameters sharded by FSDP2, bf16 compute, gradients kept over micro-batches."""
    return Setup(shape, tokens, sharding="fsdp", ranks=ranks, accumulation=2, **more)  # type: ignore[arg-type]


def torchtune(**more: object) -> Setup:
    """torchtune: pure bf16, no accumulation, 8192 tokens."""
    return Setup(LLAMA, 8192, weight_bytes=2, adapter_bytes=2, accumulation=1, **more)  # type: ignore[arg-type]


PEAKS = {
    "0.6B RL 16k": (prime(SMALL, 16384), 12.5),
    "0.6B RL 65k": (prime(SMALL, 65536), 19.6),
    "0.6B SFT full logits 8k": (prime(SMALL, 8192, head="plain_ce"), 31.7),
    "0.6B SFT full logits 16k": (prime(SMALL, 16384, head="plain_ce"), 52.8),
    "0.6B LoRA 16k": (prime(SMALL, 16384, lora_rank=16), 5.1),
    "0.6B LoRA 65k": (prime(SMALL, 65536, lora_rank=16), 11.5),
    "4B SFT full logits 8 GPUs 16k": (prime(MIDDLE, 16384, 8, head="plain_ce"), 54.6),
    "4B RL 8 GPUs 16k": (prime(MIDDLE, 16384, 8), 17.1),
    "4B RL 8 GPUs 65k": (prime(MIDDLE, 65536, 8), 36.1),
    "4B LoRA 16k": (prime(MIDDLE, 16384, lora_rank=16), 23.3),
    "4B LoRA 65k": (prime(MIDDLE, 65536, lora_rank=16), 42.0),
    "4B LoRA 8 GPUs 16k": (prime(MIDDLE, 16384, 8, lora_rank=16), 10.3),
    "4B LoRA 8 GPUs 65k": (prime(MIDDLE, 65536, 8, lora_rank=16), 28.8),
    "3B full bf16": (torchtune(), 24.9),
    "3B LoRA": (torchtune(lora_rank=64, lora_targets=TORCHTUNE_LORA, offload_activations=True), 8.5),
    "3B QLoRA": (
        torchtune(lora_rank=64, lora_targets=TORCHTUNE_LORA, offload_activations=True, quantised=True),
        4.6,
    ),
}


def error(name: str) -> float:
    """Predicted over published, less one."""
    setup, published_gib = PEAKS[name]
    return memory.total(memory.update(setup)) / GIB / published_gib - 1


@pytest.mark.parametrize("name", PEAKS)
def test_every_peak_within_8_percent(name: str) -> None:
    assert abs(error(name)) <= 0.08, f"{name}: {error(name):+.1%}"


def test_sixteen_cases_and_no_bias() -> None:
    errors = [error(name) for name in PEAKS]
    assert len(errors) == 16
    assert abs(sum(errors) / len(errors)) < 0.03
