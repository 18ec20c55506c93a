"""The trainer's keys that a plan sets, each with its reason. A person's own values are kept."""

from __future__ import annotations

from typing import Any

from openr1.planning import batch
from openr1.planning.context import Context
from openr1.planning.plan import Planned, keep
from openr1.planning.solver import Candidate


class _Chooser:
    """Collects planned values; a person's own value always wins."""

    def __init__(self, context: Context) -> None:
        self._asked = context.asked
        self.values: dict[str, Planned] = {}

    def __call__(self, key: str, value: Any, reason: str) -> None:
        own = self._asked.person(key)
        self.values[key] = Planned(value, reason) if own is None else keep(key, own)


def cpu_values(context: Context, found: Candidate) -> dict[str, Planned]:
    """What a CPU run needs: fp32, no checkpointing, transformers' generate."""
    choose = _Chooser(context)
    choose("use_cpu", True, "no GPU: without this TRL's default bf16 refuses to start")
    choose("bf16", False, "fp32: below about 500 tokens a step it is faster than bf16 on a CPU, and exact")
    choose("fp16", False, "fp16 on a CPU is many times slower than fp32")
    choose("dtype", "float32", "fp32 weights: updates are not rounded away")
    choose("gradient_checkpointing", found.checkpointing, "off: recomputing costs a third of a CPU's time")
    choose("optim", found.method.optim, "AdamW in one fused pass")
    if found.method.lora:
        _lora(choose, context, found)
    _batches(choose, context, found)
    if context.stage == "grpo":
        mode = context.world.vllm
        choose("use_vllm", mode in ("colocate", "server"), context.world.vllm_reason)
        if mode in ("colocate", "server"):
            why = "one process does both" if mode == "colocate" else context.world.vllm_reason
            choose("vllm_mode", mode, why)
            choose("vllm_max_model_length", *_vllm_length(context))
    return choose.values


def gpu_values(context: Context, found: Candidate) -> dict[str, Planned]:
    """What a GPU run needs: precision, checkpointing, batches, vLLM."""
    choose = _Chooser(context)
    bf16 = context.machine.gpus[0].bf16
    card = context.machine.gpus[0].name.value or "this card"
    if bf16 is False:
        choose("fp16", True, f"{card} has no bf16 (compute capability below 8.0)")
        choose("bf16", False, f"{card} has no bf16 (compute capability below 8.0)")
    else:
        sure = "" if bf16 else "; the card's compute capability is unknown, so this is TRL's default"
        choose("bf16", True, f"16-bit computing with fp32's range{sure}")
        choose("fp16", False, "bf16 is used")
    choose("dtype", found.method.dtype, found.method.why_dtype)
    choose("optim", found.method.optim, found.method.why_optim)
    recompute = "on: activations are made again in the backward: a quarter more time, a tenth of the memory"
    keep_all = "off: the activations fit, and nothing is computed twice"
    choose("gradient_checkpointing", found.checkpointing, recompute if found.checkpointing else keep_all)
    if found.method.lora:
        _lora(choose, context, found)
    _batches(choose, context, found)
    if context.stage == "grpo":
        _vllm(choose, context, found)
    return choose.values


def _lora(choose: _Chooser, context: Context, found: Candidate) -> None:
    if context.asked.get("use_peft", False):
        return  # the recipe's own LoRA stays as it is
    choose("use_peft", True, found.method.why_dtype)
    choose("lora_r", found.setup.lora_rank, "rank 16 trains 0.5-2 % of the weights")
    choose("lora_target_modules", ["all-linear"], "adapters on every linear layer learn best at one rank")


def _batches(choose: _Chooser, context: Context, found: Candidate) -> None:
    split, asked = found.split, context.asked
    if split.accumulation == 1:
        why = "a rank's whole share of the global batch at once: it fits"
    elif context.flat_rows:
        why = "few packed rows at once: together they are one long row, at the square of the cost"
    else:
        why = "the largest useful micro-batch that fits"
    choose("per_device_train_batch_size", split.per_device, why)
    choose("gradient_accumulation_steps", split.accumulation, f"keeps the global batch: {split.equation()}")
    evaluates = str(asked.get("eval_strategy", "no")) != "no" or bool(asked.get("do_eval", False))
    generations = context.generations
    if generations is not None:
        generations = int(asked.get("num_generations_eval") or generations)
    planned = batch.eval_batch(split, generations, evaluates)
    choose("per_device_eval_batch_size", planned.value, planned.reason)
    if context.stage == "grpo" and not asked.set_by_person("generation_batch_size"):
        _generation(choose, context, found)
    if context.stage == "sft" and not asked.set_by_person("packing"):
        why = "as the recipe has it: it changes how many examples a step sees, so only a recipe turns it on"
        choose.values["packing"] = Planned(bool(asked.get("packing", False)), why)
    if context.stage == "sft" and asked.get("packing", False):
        split_rows = "rows longer than max_length go on in another sequence: no trace loses its end"
        choose("packing_strategy", "bfd_split", split_rows)
    choose.values["attn_implementation"] = context.attention
    choose("dataloader_num_workers", 0, "batches are cheap to make; workers would only take memory")


def _generation(choose: _Chooser, context: Context, found: Candidate) -> None:
    split = found.split
    steps, size = batch.generation_steps(context.asked, split)
    if found.rollout is not None and found.rollout.steps is not None and found.rollout.steps < steps:
        parts = steps // found.rollout.steps
        why = f"completions are made in {parts} parts before each optimizer step: all at once do not fit"
        choose("steps_per_generation", found.rollout.steps, why)
        return
    updates = max(1, steps // split.accumulation)
    step = "one optimizer step" if updates == 1 else f"{updates} optimizer steps"
    choose("steps_per_generation", steps, f"one generation of {size} completions feeds {step}")


def _vllm_length(context: Context) -> tuple[int, str]:
    """The longest sequence vLLM must hold; it refuses to start with more than the model's context."""
    shape = context.shape.value
    if shape is not None and shape.context and shape.context < context.row_tokens:
        return shape.context, f"the model's context; {context.row_reason}"
    return (
        context.row_tokens,
        f"{context.row_reason}: the model's full context would reserve more than needed",
    )


def _vllm(choose: _Chooser, context: Context, found: Candidate) -> None:
    rollout, mode = found.rollout, context.world.vllm
    choose("use_vllm", mode in ("colocate", "server"), context.world.vllm_reason)
    if mode not in ("colocate", "server") or rollout is None:
        return
    choose("vllm_mode", mode, context.world.vllm_reason)
    choose("vllm_max_model_length", *_vllm_length(context))
    if mode == "server":
        if context.world.vllm_gpus:
            why = "GPUs that hold one copy of the served model"
            choose("vllm_tensor_parallel_size", context.world.vllm_parallel, why)
        return
    if rollout.share:
        room = min(rollout.in_flight, rollout.completions)
        why = f"room for {room} of {rollout.completions} full-length completions at once; the rest trains"
        choose("vllm_gpu_memory_utilization", rollout.share, why)
    choose("vllm_tensor_parallel_size", rollout.tensor_parallel, "ranks that share one vLLM")
    side_by_side = "off: vLLM and training fit side by side"
    why = "vLLM gives its memory back while training" if rollout.sleep else side_by_side
    choose("vllm_enable_sleep_mode", rollout.sleep, why)
