"""How long an optimizer step takes: a rough estimate that ranks the ways of training which fit.

Update: FLOPs / (eta x peak), no faster than the kernels can be launched. Rollout: bytes read per decoding
step / bandwidth (a GPU decodes at the speed of its memory), FLOPs on a CPU. Full-length rows are assumed, so
real steps are usually shorter. Anchors: `tests/planning/test_speed.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from openr1.hardware.facts import Machine
from openr1.planning.batch import Split
from openr1.planning.memory import Setup
from openr1.planning.phases import Rollout

# fp32 GFLOP/s of one core in a training step: 50-100 measured in large matmuls, a third of it in a step.
CPU_CORE_FLOPS = 25e9
# Launching the kernels of one layer, forward and backward, seconds: small micro-batches cannot be faster [E].
LAUNCH_S_PER_LAYER = 1.5e-3
DECODE_LAUNCH_S_PER_LAYER = 1e-3  # transformers' generate, per token and layer [E: 30 ms for 24 layers]
DECODE_BANDWIDTH = 0.6  # of the card's, what decoding reaches [E]
LINK_BYTES_S = {"nvlink": 200e9, "pcie": 12e9}  # what collective operations reach per GPU [E]
# A card that is in no catalogue: only to rank, never shown.
USUAL_FLOPS, USUAL_BANDWIDTH = 100e12, 600e9


@dataclass(frozen=True)
class Rates:
    """What a machine does per second. `known` False: the card is in no catalogue."""

    cuda: bool
    flops: float  # of one rank, before eta
    bandwidth: float  # bytes of GPU memory per second
    link: float  # bytes between GPUs per second
    known: bool
    words: str


@dataclass(frozen=True)
class Times:
    """Seconds of one optimizer step."""

    update: float
    rollout: float

    @property
    def total(self) -> float:
        """Both, one after the other."""
        return self.update + self.rollout


def rates(machine: Machine, ranks: int) -> Rates:
    """The machine's rates, from the catalogue or its cores."""
    if not machine.gpus:
        cores = (machine.cpu_cores.value or 1.0) / ranks
        words = f"{cores * ranks:g} cores at about {CPU_CORE_FLOPS / 1e9:.0f} GFLOP/s each"
        return Rates(False, cores * CPU_CORE_FLOPS, 10e9, 10e9, True, words)
    gpu = machine.gpus[0]
    tflops, bandwidth = gpu.bf16_tflops.value, gpu.bandwidth_gb_s.value
    link = LINK_BYTES_S.get(gpu.interconnect.value or "pcie", LINK_BYTES_S["pcie"])
    if tflops is None or bandwidth is None:
        why = gpu.bf16_tflops.reason if tflops is None else gpu.bandwidth_gb_s.reason
        return Rates(True, USUAL_FLOPS, USUAL_BANDWIDTH, link, False, why)
    return Rates(True, tflops * 1e12, bandwidth * 1e9, link, True, f"{tflops:g} TFLOP/s")


FAST_FLOPS = 500e12  # from here on eager kernels outside the matmuls hold a card back


def efficiency(params: int, flops: float) -> float:
    """eta: the share of a card's peak that a training step reaches [P: MFU of the runs in the anchors]."""
    eta = 0.25 if params < 1e9 else 0.35 if params < 5e9 else 0.45
    return eta if flops >= FAST_FLOPS else eta + 0.1


def flops_per_token(setup: Setup, length: float, forwards: int = 0) -> float:
    """FLOPs of one token in a step: c N + a L q s, c = 8 full with checkpointing, 6 without, LoRA 2 less.

    `length` is the document's, s; `forwards` counts extra no-grad passes of 2N.
    """
    shape = setup.shape
    c = (8 if setup.checkpointing else 6) - (2 if setup.lora_rank else 0)
    a = 8 if setup.checkpointing else 6
    return (c + 2 * forwards) * shape.active_params + a * shape.layers * shape.q_dim * length


def step_times(rate: Rates, setup: Setup, split: Split, row_tokens: int, rollout: Rollout | None) -> Times:
    """Seconds per optimizer step of one rank; all ranks work alike."""
    tokens = split.per_device * split.accumulation * row_tokens
    flops = tokens * flops_per_token(setup, row_tokens, 0 if rollout is None else 1)
    if not rate.cuda:
        decode = 0.0 if rollout is None else tokens * 2 * setup.shape.active_params / rate.flops
        return Times(flops / rate.flops, decode)
    compute = flops / (rate.flops * efficiency(setup.shape.params, rate.flops))
    launch = split.accumulation * setup.shape.layers * LAUNCH_S_PER_LAYER
    update = max(compute, launch) + _exchange_seconds(rate, setup, split)
    return Times(update, 0.0 if rollout is None else _decode_seconds(rate, setup, split, rollout))


def _exchange_seconds(rate: Rates, setup: Setup, split: Split) -> float:
    """Between ranks: DDP once a step, ZeRO-2 gradients after each micro-batch, ZeRO-3 weights as well."""
    if setup.ranks == 1 or setup.lora_rank is not None:
        return 0.0
    each = {"zero1": 2, "zero2": 2, "zero3": 6}.get(setup.sharding)
    times = 1 if each is None else split.accumulation
    return times * (each or 2 * setup.weight_bytes) * setup.shape.params / rate.link


def _decode_seconds(rate: Rates, setup: Setup, split: Split, rollout: Rollout) -> float:
    """Decoding the completions of one optimizer step on one rank."""
    shape = setup.shape
    waves, together = 1.0, rollout.completions
    if rollout.mode == "colocate" and rollout.in_flight:
        together = min(rollout.in_flight, rollout.completions)
        waves = rollout.completions / together
    elif rollout.mode == "generate" and rollout.steps:
        waves = split.accumulation / rollout.steps
    width = setup.weight_bytes if rollout.mode == "generate" else 2
    # on average half of a completion's KV cache exists while it is decoded
    read = width * shape.active_params + together * rollout.tokens_each * shape.kv_bytes_per_token / 2
    each = read / rollout.tensor_parallel / (rate.bandwidth * DECODE_BANDWIDTH)
    if rollout.mode == "generate":
        each = max(each, shape.layers * DECODE_LAUNCH_S_PER_LAYER)
    return waves * rollout.tokens_each * each
