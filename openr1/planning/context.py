"""What a plan is made from: the recipe's values, the machine, the model's shape, the open choices."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from openr1.errors import RecipeError, UsageError
from openr1.hardware.facts import Finding, Machine
from openr1.hardware.packages import importable
from openr1.planning import batch
from openr1.planning.batch import Split
from openr1.planning.find_shape import find_shape
from openr1.planning.memory import Setup
from openr1.planning.methods import Method, methods
from openr1.planning.phases import Rollout
from openr1.planning.plan import Asked, Planned, keep
from openr1.planning.shapes import ModelShape
from openr1.planning.solver import Problem
from openr1.planning.speed import LAUNCH_S_PER_LAYER, efficiency, rates
from openr1.planning.world import World, choose_world

STAGES = ("sft", "grpo")
SHARDINGS = ("auto", "none", "ddp", "zero1", "zero2", "zero3", "fsdp")
PROMPT_TOKENS = 512  # assumed where a recipe does not bound its prompts
TRL_MAX_LENGTH = 1024
TRL_MAX_COMPLETION = 512
TRL_NUM_GENERATIONS = 8
# A CPU run leaves a part of the free memory to the rest of the machine.
RAM_SHARE = 0.9
# What the model of memory may be wrong by without an out-of-memory: 3 % of the card stays free.
CARD_SHARE = 0.97


@dataclass(frozen=True)
class Context:
    """The question, with everything that follows from it before any choice."""

    stage: str
    asked: Asked
    machine: Machine
    world: World
    shape: Finding[ModelShape]
    total: Planned  # the global batch
    splits: list[Split]
    row_tokens: int
    row_reason: str

    @property
    def cuda(self) -> bool:
        """Whether the plan trains on GPUs."""
        return bool(self.machine.gpus)

    @property
    def generations(self) -> int | None:
        """Completions per prompt, in GRPO."""
        return num_generations(self.asked) if self.stage == "grpo" else None

    @property
    def half(self) -> str:
        """The 16-bit type this machine computes in; fp32 on a CPU."""
        if not self.cuda:
            return "float32"
        return "float16" if self.machine.gpus[0].bf16 is False else "bfloat16"

    @property
    def flat_rows(self) -> bool:
        """Packed rows that become one long row without a variable-length kernel: its cost is quadratic."""
        packed = self.stage == "sft" and bool(self.asked.get("packing", False))
        flat = packed and str(self.asked.get("packing_strategy", "bfd")) != "wrapped"
        return flat and "flash" not in str(self.attention.value)

    @property
    def attention(self) -> Planned:
        """The attention kernel. FlashAttention only where it is installed and the card can run it."""
        own = self.asked.person("attn_implementation")
        if own is not None:
            return keep("attn_implementation", own)
        if not self.cuda:
            return Planned("sdpa", "torch's own attention is the fastest on a CPU")
        can = self.machine.gpus[0].flash_attention.value in ("fa2", "fa3")
        if can and self.machine.simulated is None and importable("flash_attn"):
            return Planned("flash_attention_2", "flash_attn is installed and this card runs it")
        return Planned("sdpa", "torch's own attention: exact also for packed rows, and nothing to install")


def build(
    stage: str,
    settings: Mapping[str, Any],
    machine: Machine,
    explicit: Container[str],
    gpus: int | None,
    processes: int | None,
    model: ModelShape | None,
) -> Context:
    """The context of a plan; a person's own contradictions are refused here."""
    if stage not in STAGES:
        raise UsageError(f"no plan for stage {stage!r}", fix=f"one of {', '.join(STAGES)}")
    asked = Asked(settings, explicit)
    shape = Finding(model, "given") if model is not None else find_shape(asked.get("model_name_or_path"))
    world = choose_world(stage, asked, machine, gpus, processes, has_package(machine, "vllm"), shape.value)
    total = batch.global_batch(asked, world.ranks)
    splits = batch.splits(asked, world.ranks, total.value)
    if stage == "grpo":
        splits = batch.whole_groups(asked, splits, num_generations(asked))
    row_tokens, row_reason = _row_tokens(stage, asked, shape.value)
    return Context(stage, asked, machine, world, shape, total, splits, row_tokens, row_reason)


def num_generations(asked: Asked) -> int:
    """Completions per prompt."""
    return int(asked.get("num_generations", TRL_NUM_GENERATIONS))


def has_package(machine: Machine, name: str) -> bool:
    """Whether a package can be used: on a simulated machine the declared extras are assumed."""
    return machine.simulated is not None or importable(name)


def _row_tokens(stage: str, asked: Asked, shape: ModelShape | None) -> tuple[int, str]:
    """The longest row of a micro-batch, tokens."""
    if stage == "grpo":
        prompt = int(asked.get("max_prompt_length", PROMPT_TOKENS))
        completion = int(asked.get("max_completion_length", TRL_MAX_COMPLETION))
        assumed = "" if asked.get("max_prompt_length") else " (assumed)"
        return prompt + completion, f"prompts to {prompt}{assumed} + completions to {completion} tokens"
    length = asked.settings.get("max_length", TRL_MAX_LENGTH)
    if length is None:
        context = shape.context if shape else 4096
        return context, f"no max_length: rows to the model's context of {context}"
    return int(length), f"rows to max_length {length}"


def capacity_bytes(machine: Machine) -> tuple[int, int] | None:
    """What one rank may use, and the card's total; None where the driver does not say.

    On a CPU it is a share of the free RAM.
    """
    if not machine.gpus:
        free_ram = machine.ram_available_bytes.value or machine.ram_bytes.value
        return None if free_ram is None else (int(free_ram * RAM_SHARE), free_ram)
    free = [g.usable_bytes for g in machine.gpus]
    total = [g.total_bytes.value for g in machine.gpus]
    known_free, known_total = [b for b in free if b is not None], [b for b in total if b is not None]
    if len(known_free) < len(free) or len(known_total) < len(total):
        return None
    # The reserve is of the whole card, but a card that somebody half uses has no less of a margin.
    return min(known_free) - int((1 - CARD_SHARE) * min(known_total)), min(known_total)


def open_methods(context: Context) -> list[Method]:
    """The ways of training that person and machine leave open, best first."""
    asked, machine = context.asked, context.machine
    own = str(asked.get("sharding", "auto"))
    if own not in SHARDINGS:
        raise RecipeError(f"no sharding called {own!r}", where="sharding", fix="auto, ddp, zero2 or zero3")
    if context.world.ranks == 1:
        shardings: tuple[str, ...] = ("none",)
    elif own not in ("auto", "none"):
        shardings = (own,)
    elif context.cuda and has_package(machine, "deepspeed"):
        shardings = ("ddp", "zero2", "zero3")
    else:
        shardings = ("ddp",)
    eight_bit = context.cuda and has_package(machine, "bitsandbytes")
    return methods(asked, shardings, context.half, eight_bit, has_package(machine, "peft"))


def useful_splits(context: Context, chosen: bool = True) -> list[Split]:
    """Packed rows without a variable-length kernel become one row: only a few of them go together."""
    if not context.flat_rows or (chosen and context.asked.set_by_person("per_device_train_batch_size")):
        return context.splits
    limit = _flat_tokens(context)
    few = [s for s in context.splits if s.per_device * context.row_tokens <= limit]
    return few or context.splits[-1:]


def _flat_tokens(context: Context) -> int:
    """Tokens of one flattened row whose needless attention costs at most 15 % of the step.

    Per token a step costs 8N FLOPs plus 8 L q per token of the row (forward, backward, recomputation).
    """
    shape = context.shape.value
    if shape is None:
        return 512
    return context.row_tokens + int(0.15 * shape.active_params / (shape.layers * shape.q_dim))


def make_problem(context: Context, shape: ModelShape, capacity: int, total: int) -> Problem:
    """The search over everything the person left open."""
    asked = context.asked
    own = asked.person("gradient_checkpointing")
    open_checkpointing = (False, True) if context.cuda else (False,)
    return Problem(
        shape=shape,
        methods=open_methods(context),
        splits=useful_splits(context),
        row_tokens=context.row_tokens,
        checkpointing=(bool(own),) if own is not None else open_checkpointing,
        capacity_bytes=capacity,
        total_bytes=total,
        cuda=context.cuda,
        base=Setup(
            shape=shape,
            micro_tokens=0,
            compute_bytes=2 if context.cuda else 4,
            head=_head(context),
            lora_rank=int(asked.get("lora_r", 16)),
            lora_targets=_targets(asked),
            reference=context.stage == "grpo" and float(asked.get("beta", 0.0)) != 0.0,
        ),
        rollout=_rollout(context, shape, total),
        rates=rates(context.machine, context.world.ranks),
        sleep=_sleep(context),
        share=asked.person("vllm_gpu_memory_utilization"),
        busy_tokens=_busy_tokens(context, shape) if context.cuda else None,
        free_generation=not (
            asked.set_by_person("steps_per_generation") or asked.set_by_person("generation_batch_size")
        ),
        generations=context.generations or 1,
    )


def _busy_tokens(context: Context, shape: ModelShape) -> int:
    """Tokens in a micro-batch that keep a card busy: its work takes twice as long as launching it [E].

    Several ranks also exchange gradients after each micro-batch, so they want four times as many.
    """
    rate = rates(context.machine, context.world.ranks)
    launch_s = shape.layers * LAUNCH_S_PER_LAYER
    tokens = 2 * launch_s * efficiency(shape.params, rate.flops) * rate.flops / (6 * shape.active_params)
    return int(min(8192, max(512, tokens * (4 if context.world.ranks > 1 else 1))))


def _head(context: Context) -> str:
    """TRL's fused head, unless an option makes it score every word at once [S]."""
    asked = context.asked
    if context.stage == "sft" and (asked.get("label_smoothing_factor", 0) or asked.get("loss_type") == "dft"):
        return "hf_logits"
    return "fused"


def _targets(asked: Asked) -> tuple[str, ...] | None:
    """LoRA's modules; None = all linear ones, what the planner chooses and what is best at one rank.

    A recipe with use_peft and no modules gets peft's default for these families: q_proj and v_proj [S].
    """
    value = asked.get("lora_target_modules")
    if value is None:
        return ("q_proj", "v_proj") if asked.get("use_peft", False) else None
    if isinstance(value, str):
        return None if value == "all-linear" else (value,)
    return None if list(value) == ["all-linear"] else tuple(str(v) for v in value)


def _rollout(context: Context, shape: ModelShape, total: int) -> Rollout | None:
    if context.stage != "grpo":
        return None
    _, size = batch.generation_steps(context.asked, context.splits[0])
    completions = max(1, size // context.world.ranks)
    if context.world.vllm != "colocate" or not context.cuda:
        mode = "server" if context.world.vllm == "server" else "generate"
        return Rollout(mode, completions, context.row_tokens)
    parallel = context.asked.person("vllm_tensor_parallel_size")
    if parallel is None:
        parallel = 1
        # weights may take at most about a third of a card that also trains
        while 2 * shape.params // parallel > 0.35 * total and parallel * 2 <= context.world.ranks:
            parallel *= 2
    return Rollout("colocate", completions, context.row_tokens, tensor_parallel=parallel)


def _sleep(context: Context) -> tuple[bool, ...]:
    if context.world.vllm != "colocate" or not context.cuda:
        return (False,)
    own = context.asked.person("vllm_enable_sleep_mode")
    return (bool(own),) if own is not None else (False, True)
