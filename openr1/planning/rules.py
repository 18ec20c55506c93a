"""What is risky in a plan, said once. (What cannot work is refused elsewhere.)"""

from __future__ import annotations

from collections.abc import Iterator

from openr1.planning.context import Context, has_package, useful_splits
from openr1.planning.methods import BF16_LEARNING_RATE, OPTIMIZERS, ZERO
from openr1.planning.phases import Rollout
from openr1.planning.solver import BUSY_COMPLETIONS, Candidate

GIB = 1024**3


def warnings_for(context: Context, found: Candidate) -> Iterator[str]:
    """Every warning of a plan, in the order a person should read them."""
    yield from _machine(context)
    yield from context.world.warnings
    yield from _precision(context, found)
    if context.cuda:
        yield from _gpu(context, found)
    else:
        yield from _cpu(context)


def _machine(context: Context) -> Iterator[str]:
    machine = context.machine
    if machine.gpus_problem:
        yield f"{machine.gpus_problem}; `openr1 hw-profile --check` tells how to mend it"
    for gpu in machine.gpus:
        total, free = gpu.total_bytes.value, gpu.free_bytes.value
        if total and free is not None and free < 0.85 * total:
            who = ", ".join(gpu.used_by.value or ()) or "something else (a display, another user)"
            yield (
                f"GPU {gpu.index}: {(total - free) / GIB:.1f} of {total / GIB:.1f} GiB are in use by {who}; "
                f"the plan uses the {free / GIB:.1f} GiB that are free"
            )


def _precision(context: Context, found: Candidate) -> Iterator[str]:
    asked, method = context.asked, found.method
    masters = method.dtype == "float32" or method.lora or method.sharding in ZERO
    rate = asked.get("learning_rate")
    if not masters and (rate is None or float(rate) < BF16_LEARNING_RATE):
        at = f" at learning rate {float(rate):g}" if rate is not None else ""
        yield (
            f"dtype {method.dtype} without fp32 masters{at}: most updates round to nothing (measured at "
            "1e-6: after 50 steps 1.9 % of the weights had moved, 1.2 % of fp32's way; at 2e-5: 29 %). "
            "--dtype float32 keeps them"
        )
    if method.optim not in OPTIMIZERS:
        yield f"optim {method.optim}: its memory is not modelled; counted as AdamW"
    if bool(asked.get("use_transformers_continuous_batching", False)):
        what = "casts fp32 weights to bf16 in place" if context.cuda else "is 20 times slower on a CPU"
        yield f"use_transformers_continuous_batching {what}: leave it off"


def _gpu(context: Context, found: Candidate) -> Iterator[str]:
    asked, rollout = context.asked, found.rollout
    if context.flat_rows and found.split not in useful_splits(context, chosen=False):
        yield (
            "packed rows without FlashAttention: a micro-batch is one long row and costs the square of its "
            "length; a smaller --per_device_train_batch_size is faster"
        )
    if rollout is not None and rollout.mode == "colocate" and 0 < rollout.in_flight < _wanted(rollout):
        yield (
            f"vLLM holds {rollout.in_flight} full-length completions at once of {rollout.completions}: "
            "rollouts will be slower than the card could make them"
        )
    if asked.get("global_batch_size") is None and context.world.ranks > 1:
        yield (
            f"no global_batch_size is set, so the number of ranks decides it ({context.total.value} here); "
            "set it to learn the same on any machine"
        )
    yield from _missing_eight_bit(context)
    length, shape = context.row_tokens, context.shape.value
    if shape is not None and length > shape.context:
        yield f"rows of {length} tokens are longer than the model's context of {shape.context}"


def _wanted(rollout: Rollout) -> int:
    return min(BUSY_COMPLETIONS, rollout.completions)


def _missing_eight_bit(context: Context) -> Iterator[str]:
    if not has_package(context.machine, "bitsandbytes"):
        yield "bitsandbytes is not installed, so 8-bit Adam was not considered; pip install bitsandbytes"


def _cpu(context: Context) -> Iterator[str]:
    asked = context.asked
    if asked.person("fp16"):
        yield "fp16 on a CPU is many times slower than fp32; --fp16 false"
    if asked.person("cache_implementation") == "static":
        yield "a static cache is 1.5 to 5 times slower on a CPU"
