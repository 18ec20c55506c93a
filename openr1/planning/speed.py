"""How long an optimizer step takes: a rough estimate, with its assumptions said.

Update: FLOPs / (eta x peak). Rollout: bytes read per decoding step / bandwidth (a GPU decodes at the speed
of its memory), FLOPs on a CPU. Full-length rows are assumed, so real steps are usually faster.
"""

from __future__ import annotations

from openr1.hardware.facts import Gpu, Machine
from openr1.planning.context import LAUNCH_S_PER_LAYER
from openr1.planning.memory import Setup
from openr1.planning.phases import Rollout
from openr1.planning.plan import Planned
from openr1.planning.solver import Candidate

# fp32 GFLOP/s of one core in a training step: 50-100 measured in large matmuls, a third of it in a step.
CPU_CORE_FLOPS = 25e9
DECODE_LAUNCH_S_PER_LAYER = 1e-3  # transformers' generate, per token and layer [E: 30 ms for 24 layers]
DECODE_BANDWIDTH = 0.6  # of the card's, what decoding reaches [E]


def flops_per_token(setup: Setup, length: float, forwards: int = 0) -> float:
    """FLOPs of one token in a step: c N + a L q s, c = 8 full with checkpointing, 6 without, LoRA 2 less.

    `length` is the document's, s; `forwards` counts extra no-grad passes of 2N.
    """
    shape = setup.shape
    c = (8 if setup.checkpointing else 6) - (2 if setup.lora_rank else 0)
    a = 8 if setup.checkpointing else 6
    return (c + 2 * forwards) * shape.active_params + a * shape.layers * shape.q_dim * length


def estimate_step(
    machine: Machine, found: Candidate, tokens: int, row_tokens: int, correction: float = 1.0
) -> Planned:
    """Seconds per optimizer step over `tokens` padded tokens in all."""
    setup, rollout = found.setup, found.rollout
    flops = tokens * flops_per_token(setup, row_tokens, 0 if rollout is None else 1)
    if not machine.gpus:
        cores = machine.cpu_cores.value or 1.0
        decode = 0.0 if rollout is None else tokens * 2 * setup.shape.active_params
        seconds = (flops + decode) / (cores * CPU_CORE_FLOPS) * correction
        return Planned(
            seconds, f"{cores:g} cores at about {CPU_CORE_FLOPS / 1e9:.0f} GFLOP/s, full-length rows"
        )
    gpu = machine.gpus[0]
    tflops = gpu.bf16_tflops.value
    if tflops is None:
        return Planned(None, f"not estimated: {gpu.bf16_tflops.reason}")
    eta = 0.25 if setup.shape.params < 1e9 else 0.35 if setup.shape.params < 5e9 else 0.45
    update = flops / (tflops * 1e12 * eta * setup.ranks)
    update = max(update, found.split.accumulation * setup.shape.layers * LAUNCH_S_PER_LAYER)
    decode = 0.0 if rollout is None else decode_seconds(gpu, setup, rollout, found.split.accumulation)
    parts = f"update {update:.3g} s at {eta:.0%} of {tflops:g} TFLOP/s"
    parts += f", rollout {decode:.3g} s" if rollout is not None else ""
    return Planned((update + decode) * correction, f"{parts}; full-length rows")


def decode_seconds(gpu: Gpu, setup: Setup, rollout: Rollout, accumulation: int) -> float:
    """Seconds to decode the completions of one optimizer step on one rank."""
    shape = setup.shape
    bandwidth = (gpu.bandwidth_gb_s.value or 300.0) * 1e9 * DECODE_BANDWIDTH
    waves = 1.0
    together = rollout.completions
    if rollout.mode == "colocate" and rollout.in_flight:
        together = min(rollout.in_flight, rollout.completions)
        waves = rollout.completions / together
    elif rollout.mode == "generate" and rollout.steps:
        waves = accumulation / rollout.steps
    width = setup.weight_bytes if rollout.mode == "generate" else 2
    # on average half of a completion's KV cache exists while it is decoded
    read = width * shape.active_params + together * rollout.tokens_each * shape.kv_bytes_per_token / 2
    each = read / rollout.tensor_parallel / bandwidth
    if rollout.mode == "generate":
        each = max(each, shape.layers * DECODE_LAUNCH_S_PER_LAYER)
    return waves * rollout.tokens_each * each
