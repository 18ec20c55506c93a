"""What a machine can train: models x methods, with the largest micro-batch or why not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from openr1.hardware.facts import Machine
from openr1.planning.context import capacity_bytes, has_package
from openr1.planning.memory import Setup
from openr1.planning.phases import Rollout, phases
from openr1.planning.shape_table import TABLE
from openr1.planning.shapes import ModelShape
from openr1.planning.solver import ACTIVATION_DOUBT, VLLM_OVERHEAD_BYTES

MODELS = (
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen2.5-1.5B",
    "Qwen/Qwen2.5-3B",
    "Qwen/Qwen3-4B",
    "Qwen/Qwen2.5-7B",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
    "Qwen/Qwen2.5-14B",
    "Qwen/Qwen2.5-32B",
)
METHODS = ("full", "full, 8-bit Adam", "LoRA", "QLoRA")
STAGES = ("sft", "grpo")
STEP_TOKENS = 256  # the table's resolution
MOST_TOKENS = 1 << 20
# A GRPO cell asks for at least this: 8 completions of 512 + 1024 tokens in flight, rows of that length.
GRPO_ROW_TOKENS, GRPO_IN_FLIGHT = 1536, 8


@dataclass(frozen=True)
class Ability:
    """One cell: the largest tokens per micro-batch (None = does not fit), how, and in words why not."""

    model: str
    method: str
    stage: str
    tokens: int | None
    sharding: str
    note: str

    @property
    def fits(self) -> bool:
        """Whether this can be trained here."""
        return self.tokens is not None


def abilities(machine: Machine, models: tuple[str, ...] = MODELS) -> tuple[Ability, ...]:
    """The table of a machine. Empty where the memory is unknown."""
    capacity = capacity_bytes(machine)
    if capacity is None:
        return ()
    return tuple(
        _cell(machine, TABLE[name], method, stage, *capacity)
        for name in models
        for method in METHODS
        for stage in STAGES
    )


def _cell(machine: Machine, shape: ModelShape, method: str, stage: str, free: int, total: int) -> Ability:
    cuda = bool(machine.gpus)
    if not cuda and method in ("full, 8-bit Adam", "QLoRA"):
        return Ability(shape.name, method, stage, None, "none", "bitsandbytes needs a GPU")
    missing = {"full, 8-bit Adam": "bitsandbytes", "LoRA": "peft", "QLoRA": "bitsandbytes"}.get(method)
    if missing is not None and not has_package(machine, missing):
        return Ability(shape.name, method, stage, None, "none", f"needs {missing}: pip install {missing}")
    ranks = max(1, len(machine.gpus)) * ((machine.nodes.value or 1) if cuda else 1)
    shardings = ("none",) if ranks == 1 else ("ddp", "zero2", "zero3")
    best: Ability | None = None
    least = None
    for sharding in shardings:
        if sharding != "ddp" and sharding != "none" and method in ("full, 8-bit Adam", "QLoRA"):
            continue
        setup = _setup(shape, method, sharding, ranks, cuda)
        floor = GRPO_ROW_TOKENS if stage == "grpo" else STEP_TOKENS
        rollout = _rollout(setup, stage, cuda, total)
        need = _need(setup.with_tokens(floor), rollout, cuda)
        least = need if least is None else min(least, need)
        if need > free:
            continue
        tokens = _largest(setup, rollout, cuda, free, floor)
        if best is None:  # the least sharding that fits is the fastest
            best = Ability(shape.name, method, stage, tokens, sharding, _note(rollout, sharding))
        elif tokens > (best.tokens or 0):  # but the cell says how much can be held at most
            best = replace(best, tokens=tokens)
    if best is not None:
        return best
    gib = 1024**3
    words = f"needs {(least or 0) / gib:.1f} GiB, {free / gib:.1f} may be used"
    return Ability(shape.name, method, stage, None, shardings[-1], words)


def _setup(shape: ModelShape, method: str, sharding: str, ranks: int, cuda: bool) -> Setup:
    adapters = method in ("LoRA", "QLoRA")
    narrow = cuda and (adapters or sharding in ("zero2", "zero3"))
    return Setup(
        shape=shape,
        micro_tokens=0,
        weight_bytes=2 if narrow else 4,
        compute_bytes=2 if cuda else 4,
        optimizer="adamw_8bit" if method == "full, 8-bit Adam" else "adamw",
        sharding=sharding,
        ranks=ranks,
        checkpointing=cuda,
        lora_rank=16 if adapters else None,
        quantised=method == "QLoRA",
    )


def _rollout(setup: Setup, stage: str, cuda: bool, total: int) -> Rollout | None:
    if stage == "sft":
        return None
    if not cuda:
        return Rollout("generate", GRPO_IN_FLIGHT, GRPO_ROW_TOKENS)
    parallel = 1
    while 2 * setup.shape.params // parallel > 0.35 * total and parallel * 2 <= setup.ranks:
        parallel *= 2
    kv = GRPO_IN_FLIGHT * GRPO_ROW_TOKENS * setup.shape.kv_bytes_per_token // parallel
    size = 2 * setup.shape.params // parallel + VLLM_OVERHEAD_BYTES + kv
    share = size / total
    return Rollout("colocate", GRPO_IN_FLIGHT, GRPO_ROW_TOKENS, GRPO_IN_FLIGHT, share, size,
                   tensor_parallel=parallel)  # fmt: skip


def _need(setup: Setup, rollout: Rollout | None, cuda: bool) -> int:
    """Bytes of the worst phase; vLLM sleeps while training if that is what it takes."""
    found = _peak(setup, rollout, cuda)
    if rollout is not None and rollout.mode == "colocate":
        found = min(found, _peak(setup, replace(rollout, sleep=True), cuda))
    return found


def _peak(setup: Setup, rollout: Rollout | None, cuda: bool) -> int:
    found = phases(setup, cuda, rollout)
    doubt = int(ACTIVATION_DOUBT * found["update"].get("activations", 0)) if cuda else 0
    return max(sum(terms.values()) for terms in found.values()) + doubt


def _largest(setup: Setup, rollout: Rollout | None, cuda: bool, free: int, floor: int) -> int:
    """The most tokens per micro-batch that fit, by bisection: memory only grows with tokens."""
    low, high = floor // STEP_TOKENS, MOST_TOKENS // STEP_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        if _need(setup.with_tokens(middle * STEP_TOKENS), rollout, cuda) <= free:
            low = middle
        else:
            high = middle - 1
    return low * STEP_TOKENS


def _note(rollout: Rollout | None, sharding: str) -> str:
    shared = {"none": "", "ddp": "DDP", "zero2": "ZeRO-2", "zero3": "ZeRO-3"}[sharding]
    if rollout is None:
        return shared
    engine = "vLLM beside training" if rollout.mode == "colocate" else "transformers' generate"
    return f"{shared}, {engine}".lstrip(", ")
