"""When it does not fit: the edits that would help, cheapest first, each as the flag to add.

Cheap means how little the edit changes what is learned: first what only costs time, then numerics, then
lengths, then training adapters instead of the model (on a 4-bit base only where the 16-bit one does not fit),
then another model.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from openr1.errors import DoesNotFit, OpenR1Error
from openr1.hardware.facts import to_plain
from openr1.planning.context import (
    TRL_MAX_COMPLETION,
    Context,
    build,
    capacity_bytes,
    has_package,
    make_problem,
)
from openr1.planning.shape_table import TABLE, lookup
from openr1.planning.shapes import ModelShape
from openr1.planning.solver import Candidate, Problem, smallest, solve

GIB = 1024**3
BATCH_KEYS = ("per_device_train_batch_size", "gradient_accumulation_steps")
# What an edit costs, from nothing to everything.
TIME, NUMERICS, LENGTH, ADAPTERS, FOUR_BIT, MODEL = range(6)


@dataclass(frozen=True)
class Edit:
    """Changes to the settings (None = let the planner choose) and what they bring."""

    changes: dict[str, Any]
    words: str
    cost: int
    saves_bytes: int = 0
    suffices: bool = False

    @property
    def flags(self) -> str:
        """The edit as it is typed."""
        return " ".join(f"--{key} {_typed(value)}" for key, value in self.changes.items())


class PlanDoesNotFit(DoesNotFit):
    """The refusal with its data: bytes by cause of the leanest way, and the ranked edits."""

    def __init__(
        self, what: str, *, where: str, fix: str, memory: dict[str, dict[str, int]], capacity: int,
        edits: tuple[Edit, ...],
    ) -> None:  # fmt: skip
        super().__init__(what, where=where, fix=fix)
        self.memory = memory
        self.capacity_bytes = capacity
        self.edits = edits

    def as_dict(self) -> dict[str, object]:
        """The error's fields, under the kind that every room knows."""
        edits = [to_plain(e) | {"flags": e.flags} for e in self.edits]
        return super().as_dict() | {
            "kind": "DoesNotFit",
            "memory": self.memory,
            "capacity_bytes": self.capacity_bytes,
            "edits": edits,
        }


def apply(
    edit: Edit, settings: Mapping[str, Any], explicit: Container[str]
) -> tuple[dict[str, Any], Container[str]]:
    """The settings with the edit in them, and who set what."""
    dropped = {key for key, value in edit.changes.items() if value is None}
    kept = {key: value for key, value in settings.items() if key not in dropped}
    kept |= {key: value for key, value in edit.changes.items() if value is not None}
    own = {key for key in settings if key in explicit}
    return kept, (own | set(edit.changes)) - dropped


def ranked_edits(
    context: Context, problem: Problem, gpus: int | None, processes: int | None, model: ModelShape | None
) -> tuple[Edit, ...]:
    """Every edit that helps, the sufficient ones first, cheapest first; at the end one that combines."""
    before = smallest(problem).peak_bytes

    def tried(edit: Edit) -> Edit | None:
        outcome = _attempt(context, edit, gpus, processes, model)
        if outcome is None:
            return None
        least, found = outcome
        saves = before - least.peak_bytes
        if saves <= 0:
            return None
        changes = _spelled_out(edit.changes, found or least)
        return replace(edit, changes=changes, saves_bytes=saves, suffices=found is not None)

    singles = [done for edit in _ideas(context) if (done := tried(edit)) is not None]
    singles.sort(key=lambda e: (e.cost, -e.saves_bytes))
    kept = _best_of_each(singles)
    if not any(e.suffices and e.cost < MODEL for e in kept):
        together = _combine([e for e in kept if e.cost < MODEL and not e.suffices], tried)
        if together is not None:
            kept.append(together)
    return tuple(sorted(kept, key=lambda e: (not e.suffices, e.cost, -e.saves_bytes)))


def _attempt(
    context: Context, edit: Edit, gpus: int | None, processes: int | None, model: ModelShape | None
) -> tuple[Candidate, Candidate | None] | None:
    """The leanest and the chosen candidate after an edit; None when the edit is not legal here."""
    settings, explicit = apply(edit, context.asked.settings, context.asked.explicit)
    if "model_name_or_path" in edit.changes:
        model = lookup(str(edit.changes["model_name_or_path"]))
    try:
        changed = build(context.stage, settings, context.machine, explicit, gpus, processes, model)
        capacity = capacity_bytes(context.machine)
        if changed.shape.value is None or capacity is None:
            return None
        problem = make_problem(changed, changed.shape.value, *capacity)
        return smallest(problem), solve(problem)
    except OpenR1Error:
        return None


def _ideas(context: Context) -> Iterator[Edit]:
    """Everything one could try for this recipe on this machine."""
    asked = context.asked
    yield from _release(context)
    if context.stage == "grpo" and context.world.vllm == "colocate":
        yield Edit({"use_vllm": False}, "rollouts with transformers' generate: 3-8 times slower", TIME)
    if context.stage == "grpo" and float(asked.get("beta", 0.0)) and not asked.get("use_peft", False):
        yield Edit({"beta": 0.0}, "no reference model; the KL term goes", NUMERICS)
    key = "max_completion_length" if context.stage == "grpo" else "max_length"
    length = int(asked.get(key, TRL_MAX_COMPLETION if context.stage == "grpo" else context.row_tokens))
    for part in (0.75, 0.5, 0.25):
        shorter = int(length * part) // 64 * 64
        if 64 <= shorter < length:
            yield Edit({key: shorter}, f"{key} {length} → {shorter}", LENGTH)
    yield from _adapters(context)
    yield from _smaller_models(context)


def _adapters(context: Context) -> Iterator[Edit]:
    asked = context.asked
    four_bit = context.cuda and has_package(context.machine, "bitsandbytes")
    if asked.get("use_peft", False):
        if four_bit and not asked.get("load_in_4bit", False):
            yield Edit({"load_in_4bit": True}, "QLoRA: the base in 4 bit", NUMERICS)
    elif has_package(context.machine, "peft"):
        lora = {"use_peft": True, "lora_target_modules": "all-linear"}
        free = {k: None for k in ("dtype", "optim") if asked.set_by_person(k)}
        yield Edit(
            lora | free,
            f"LoRA: train adapters of rank {asked.get('lora_r', 16)} instead of all weights",
            ADAPTERS,
        )
        if four_bit:
            yield Edit(lora | {"load_in_4bit": True} | free, "QLoRA: adapters on a 4-bit base", FOUR_BIT)


def _release(context: Context) -> Iterator[Edit]:
    """A person's own values that stand in the way, given back to the planner."""
    asked = context.asked
    words = {
        "gradient_checkpointing": ("recompute activations in the backward", TIME),
        "vllm_gpu_memory_utilization": ("another share for vLLM", TIME),
        "vllm_enable_sleep_mode": ("vLLM gives its memory back while training", TIME),
        "sharding": ("share the states among ranks", TIME),
        "optim": ("8-bit Adam states", NUMERICS),
        "dtype": ("another type of weights", NUMERICS),
    }
    for key, (reason, cost) in words.items():
        if asked.set_by_person(key):
            yield Edit({key: None}, reason, cost)
    batches = [k for k in BATCH_KEYS if asked.set_by_person(k)]
    if batches:
        # Without a global batch of its own the recipe's micro-batch defines it: say it, then split it.
        total = (
            {} if asked.get("global_batch_size") is not None else {"global_batch_size": context.total.value}
        )
        yield Edit(dict.fromkeys(batches) | total, "a smaller micro-batch, accumulated more often", TIME)


def _spelled_out(changes: dict[str, Any], found: Candidate) -> dict[str, Any]:
    """What was given back to the planner, as the value it chooses: a flag can be typed, a hole cannot."""
    choices: dict[str, Any] = {
        "per_device_train_batch_size": found.split.per_device,
        "gradient_accumulation_steps": found.split.accumulation,
        "gradient_checkpointing": found.checkpointing,
        "optim": found.method.optim,
        "dtype": found.method.dtype,
        "sharding": found.method.sharding,
    }
    if found.rollout is not None and found.rollout.mode == "colocate":
        choices["vllm_gpu_memory_utilization"] = found.rollout.share
        choices["vllm_enable_sleep_mode"] = found.rollout.sleep
    return {key: choices.get(key) if value is None else value for key, value in changes.items()}


def _smaller_models(context: Context) -> Iterator[Edit]:
    """Smaller models of the table from the same maker and series, the largest first."""
    shape = context.shape.value
    if shape is None:
        return
    series = shape.name.rsplit("-", 1)[0] if shape.name.count("-") else shape.name
    suffix = "-Instruct" if shape.name.lower().endswith("-instruct") else ""
    series = series.removesuffix(suffix).rsplit("-", 1)[0] if suffix else series
    others = [
        s for s in TABLE.values()
        if s.params < shape.params and s.name.split("/")[0] == shape.name.split("/")[0]
        and (s.name.startswith(series) or s.family == shape.family)
    ]  # fmt: skip
    for other in sorted(others, key=lambda s: (not s.name.startswith(series), -s.params))[:4]:
        yield Edit({"model_name_or_path": other.name + suffix}, f"a smaller model: {other.name}", MODEL)


def _best_of_each(edits: list[Edit]) -> list[Edit]:
    """Of edits to the same keys: the mildest that suffices, else the strongest of all."""
    groups: dict[tuple[str, ...], list[Edit]] = {}
    for edit in edits:
        groups.setdefault(tuple(sorted(edit.changes)), []).append(edit)
    kept = []
    for group in groups.values():
        enough = [e for e in group if e.suffices]
        if enough:
            kept.append(min(enough, key=lambda e: e.saves_bytes))
        else:
            kept.append(max(group, key=lambda e: e.saves_bytes))
    return kept


def _combine(edits: list[Edit], tried: Any) -> Edit | None:
    """Edits added one by one, cheapest first, until it fits; then the needless ones are taken out."""
    chosen: list[Edit] = []
    for edit in sorted(edits, key=lambda e: e.cost):
        if any(e.changes.keys() & edit.changes.keys() for e in chosen):
            chosen = [e for e in chosen if not e.changes.keys() & edit.changes.keys()]
        chosen.append(edit)
        done = tried(_join(chosen))
        if done is not None and done.suffices:
            break
    else:
        return None
    for edit in list(chosen):
        fewer = [e for e in chosen if e is not edit]
        again = tried(_join(fewer)) if fewer else None
        if again is not None and again.suffices:
            chosen, done = fewer, again
    return done


def _join(edits: list[Edit]) -> Edit:
    changes: dict[str, Any] = {}
    for edit in edits:
        changes |= edit.changes
    return Edit(changes, "; ".join(e.words for e in edits), max(e.cost for e in edits))


def refusal(context: Context, problem: Problem, ranked: tuple[Edit, ...]) -> PlanDoesNotFit:
    """The error, with the bytes of the worst phase of the leanest way of training."""
    least = smallest(problem)
    phase = max(least.memory, key=lambda name: sum(least.memory[name].values()))
    terms = sorted(least.memory[phase].items(), key=lambda item: -item[1])
    parts = ", ".join(f"{cause} {size / GIB:.1f}" for cause, size in terms)
    enough = [e for e in ranked if e.suffices]
    if enough:
        fix = f"{enough[0].flags}  ({enough[0].words}; saves {enough[0].saves_bytes / GIB:.1f} GiB)"
    else:
        fix = "no single change makes it fit; a smaller model, more GPUs or a larger card would"
    return PlanDoesNotFit(
        f"{problem.shape.name} does not fit: {phase} needs {least.peak_bytes / GIB:.1f} GiB at least and "
        f"{problem.capacity_bytes / GIB:.1f} GiB may be used ({parts})",
        where=f"{context.stage} on {_machine(context)}",
        fix=fix,
        memory=least.memory,
        capacity=problem.capacity_bytes,
        edits=ranked,
    )


def _machine(context: Context) -> str:
    return context.machine.profile.reason if context.cuda else "a machine without a GPU that can be used"


def _typed(value: Any) -> str:
    if value is None:
        return "auto"
    return str(value).lower() if isinstance(value, bool) else str(value)
