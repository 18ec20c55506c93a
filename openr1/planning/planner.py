"""From a recipe and a machine to one Plan: what fits, how it is split, and why."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any

from openr1.hardware.facts import Machine
from openr1.planning import batch, edits
from openr1.planning.batch import Split
from openr1.planning.calibration import Calibration, Correction
from openr1.planning.context import Context, build, capacity_bytes, make_problem, open_methods, useful_splits
from openr1.planning.memory import Setup
from openr1.planning.phases import Rollout
from openr1.planning.plan import Plan, Planned, keep
from openr1.planning.rules import warnings_for
from openr1.planning.shapes import NAMELESS, ModelShape
from openr1.planning.solver import Candidate, smallest, solve
from openr1.planning.speed import rates, step_times
from openr1.planning.values import cpu_values, gpu_values

# Below this a model is so small that starting threads costs more than they bring [M: 34x on busy cores].
TINY_PARAMS = 20_000_000


def plan(
    stage: str,
    settings: Mapping[str, Any],
    machine: Machine,
    *,
    explicit: Container[str],
    gpus: int | None = None,
    processes: int | None = None,
    model: ModelShape | None = None,
    force: bool = False,
    fit: bool = False,
    calibration: Calibration | None = None,
) -> Plan:
    """The plan of a stage on a machine.

    Args:
        stage: "sft" or "grpo".
        settings: the recipe's effective values, by TRL's and transformers' names, and `global_batch_size`.
        explicit: the keys a person set; they are never changed.
        gpus: training ranks per node; None = the planner's choice.
        processes: ranks on a machine without GPUs (tests of distributed code).
        model: the model's shape; None = look it up by `model_name_or_path`, without any download.
        force: plan although it does not fit.
        fit: apply the cheapest edit that makes it fit, and say so in `Plan.applied`.
        calibration: what earlier runs on this machine measured.

    Raises:
        RecipeError: a person's own values cannot work together (exit 3).
        DoesNotFit: no way of training fits (exit 4), with ranked edits.
        EnvironmentProblem: more GPUs asked for than there are (exit 5).
        UsageError: an unknown stage.
    """
    context = build(stage, settings, machine, explicit, gpus, processes, model)
    capacity = capacity_bytes(machine)
    shape = context.shape.value
    if shape is None or capacity is None:
        why = context.shape.reason if shape is None else "the driver does not say how much memory there is"
        return _without_verdict(context, why, None if capacity is None else capacity[0])
    correction = calibration.correction(machine, stage, shape.name) if calibration else Correction()
    problem = replace(make_problem(context, shape, *capacity), correction=correction.memory)
    found = solve(problem)
    if found is not None:
        return _finish(context, found, capacity[0], correction)
    if force:
        return _finish(context, smallest(problem), capacity[0], correction)
    ranked = edits.ranked_edits(context, problem, gpus, processes, model)
    enough = next((e for e in ranked if e.suffices), None)
    if not fit or enough is None:
        raise edits.refusal(context, problem, ranked)
    return _with_edit(enough, stage, settings, machine, explicit, gpus, processes, model, calibration)


def _with_edit(
    edit: edits.Edit,
    stage: str,
    settings: Mapping[str, Any],
    machine: Machine,
    explicit: Container[str],
    gpus: int | None,
    processes: int | None,
    model: ModelShape | None,
    calibration: Calibration | None,
) -> Plan:
    """The plan after `--fit` applied an edit; the edited keys are among its values."""
    changed = edits.apply(edit, settings, explicit)
    done = plan(
        stage, *changed[:1], machine, explicit=changed[1], gpus=gpus, processes=processes,
        model=None if "model_name_or_path" in edit.changes else model, calibration=calibration,
    )  # fmt: skip
    values = dict(done.values)
    for key, value in edit.changes.items():
        if value is not None:
            values[key] = Planned(value, f"--fit: {edit.words}")
    return replace(done, values=values, applied=(edit.flags,))


def _finish(context: Context, found: Candidate, capacity: int, correction: Correction) -> Plan:
    shape = found.setup.shape
    step = _step_seconds(context, found, correction.time)
    why = f"{shape.name}: {context.shape.reason}; {context.row_reason}"
    memory = correction.apply(found.memory)
    made = _assemble(context, found, memory, why + correction.words, capacity, step)
    return replace(made, corrections=(correction.memory, correction.time), time_doubt=correction.time_doubt)


def _step_seconds(context: Context, found: Candidate, correction: float) -> Planned:
    rate = rates(context.machine, context.world.ranks)
    if not rate.known:
        return Planned(None, f"not estimated: {rate.words}")
    times = step_times(rate, found.setup, found.split, context.row_tokens, found.rollout)
    parts = f"update {times.update:.3g} s" + (f" + rollout {times.rollout:.3g} s" if times.rollout else "")
    return Planned(times.total * correction, f"{parts}, if every row is full-length; {rate.words}")


def _without_verdict(context: Context, why: str, capacity: int | None) -> Plan:
    """The rules that need no sizes; no verdict on memory."""
    split = _modest_split(context)
    own = context.asked.person("gradient_checkpointing")
    rollout = None
    if context.stage == "grpo":
        rollout = Rollout(context.world.vllm, split.per_device * split.accumulation, context.row_tokens)
    method = open_methods(context)[0]
    setup = Setup(NAMELESS, split.per_device * context.row_tokens, weight_bytes=method.weight_bytes)
    checkpointing = bool(own) if own is not None else context.cuda
    found = Candidate(method, split, checkpointing, setup, rollout, {})
    builtin = str(context.asked.get("model_name_or_path")).startswith("builtin:")
    unknown = "a built-in model is too small for the formulas" if builtin else "the model's size is unknown"
    step = Planned(None, f"not estimated: {unknown}")
    return _assemble(context, found, None, f"{why}: memory not estimated", capacity, step)


def _modest_split(context: Context) -> Split:
    """Without sizes: everything at once on a CPU, TRL's default of 8 rows or less on a GPU."""
    useful = useful_splits(context)
    if not context.cuda:
        return useful[0]
    return next((s for s in useful if s.per_device <= batch.TRL_PER_DEVICE), useful[-1])


def _assemble(
    context: Context,
    found: Candidate,
    memory: dict[str, dict[str, int]] | None,
    memory_reason: str,
    capacity: int | None,
    step: Planned,
) -> Plan:
    values = gpu_values(context, found) if context.cuda else cpu_values(context, found)
    world = context.world
    return Plan(
        stage=context.stage,
        values=values,
        processes=world.ranks,
        processes_reason=world.reason,
        nodes=world.nodes,
        sharding=found.method.sharding,
        sharding_reason=_sharding_reason(context, found),
        train_gpus=world.train_gpus,
        vllm_gpus=world.vllm_gpus,
        vllm_nodes=world.vllm_nodes,
        threads=_threads(context),
        global_batch_size=context.total,
        warnings=tuple(warnings_for(context, found)),
        memory=memory,
        memory_reason=memory_reason,
        capacity_bytes=capacity,
        requires=_requires(context, found),
        step_seconds=step,
    )


def _sharding_reason(context: Context, found: Candidate) -> str:
    name = found.method.sharding
    if name != "none" and str(context.asked.get("sharding", "auto")) == name:
        return f"set by you (sharding: {name}), kept"
    return {
        "none": "one rank: nothing to share",
        "ddp": "DDP: every rank holds everything, which is the fastest where it fits",
        "zero2": "ZeRO-2: ranks share gradients and optimizer states, because DDP does not fit",
        "zero3": "ZeRO-3: ranks share the weights too, because ZeRO-2 does not fit",
    }.get(name, name)


def _threads(context: Context) -> Planned:
    own = context.asked.person("threads")
    if own is not None:
        return keep("threads", own)
    if context.cuda:
        return Planned(None, "the GPU does the work")
    shape, ranks = context.shape.value, context.world.ranks
    if ranks == 1 and (shape is None or shape.params < TINY_PARAMS):
        return Planned("probe", "tiny models often run faster on one thread: a second of trial decides")
    cores = int(context.machine.cpu_cores.value or 1)
    of = f"{cores} usable core{'s' if cores > 1 else ''}"
    return Planned(max(1, cores // ranks), f"{of}, {ranks} process{'es' if ranks > 1 else ''}")


def _requires(context: Context, found: Candidate) -> tuple[str, ...]:
    """What must be importable, by import name; the launcher looks before it starts anything."""
    needed = list(found.method.requires)
    if context.world.vllm in ("colocate", "server") and not context.asked.person("vllm_server_base_url"):
        needed.append("vllm")
    if "flash_attention" in str(context.attention.value):
        needed.append("flash_attn")
    if context.world.ranks > 1:
        needed.append("accelerate")
    return tuple(dict.fromkeys(needed))
