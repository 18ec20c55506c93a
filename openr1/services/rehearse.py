"""`--rehearse`: the worst of a long run in a few minutes, with the real weights and the real processes.

Two launches in a folder of their own. The first makes three optimizer steps on the longest rows (GRPO: every
completion at full length, weight sync, rewards), saves a checkpoint and evaluates one batch; the second reads
it and makes a fourth step. What they needed is set against the plan. The run itself is not touched.

Of several nodes each gives the same command: their ranks measure together, one that serves vLLM serves both
parts, every node hears the same figures, and so comes to the same verdict.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.config.origins import Origin, Setting
from openr1.config.resolve import Resolved
from openr1.errors import OutOfMemory
from openr1.launch import command
from openr1.planning.disk import checkpoints_kept
from openr1.planning.run_time import RunTime, packs, run_time, steps_of
from openr1.runs import resolved_file
from openr1.runs.folder import RunFolder
from openr1.services.launching import launch, same_on_the_serving_node
from openr1.services.out_of_memory import advise
from openr1.services.request import Listener

if TYPE_CHECKING:
    from openr1.services.prepare import Prepared

STEPS = 3  # the first is left out of the step time; the difference of the others is its error
LEAST_ERROR = 0.1  # two steps that happen to take as long do not make the prediction exact
# The plan's phase that a measured one belongs to, where their names differ.
PLANNED_AS = {"optimizer": "update", "rewards": "rollout"}


@dataclass(frozen=True)
class Rehearsal:
    """What was measured, beside what was predicted. Bytes, seconds, °C; None = not known."""

    peak_bytes: int
    predicted_bytes: dict[str, int]
    """Per phase of the plan."""
    phases: dict[str, dict[str, Any]]
    """Per phase as measured: peak_bytes, seconds (of one time), predicted_bytes."""
    capacity_bytes: int | None
    step_seconds: float | None
    step_error: float | None
    """Of the step time, as a share of it."""
    predicted_step_seconds: float | None
    steps: int | None
    """Optimizer steps of the whole run."""
    saves: int
    """Checkpoints that the whole run writes."""
    checkpoint_bytes: int
    checkpoints_kept: int
    disk_free_bytes: int
    temperatures_c: tuple[int, ...]
    seconds: float

    @property
    def run_seconds(self) -> float | None:
        """The whole run with its checkpoints, if every row were as long as the longest: an upper bound."""
        if self.step_seconds is None or self.steps is None:
            return None
        return self.step_seconds * self.steps + self.saves * float(
            self.phases.get("save", {}).get("seconds") or 0.0
        )

    @property
    def run_error_seconds(self) -> float | None:
        """By how much the total may be wrong, as far as the steps differed."""
        return None if self.run_seconds is None else self.run_seconds * (self.step_error or LEAST_ERROR)

    @property
    def disk_bytes(self) -> int:
        """What the run's checkpoints and its model take."""
        return self.checkpoint_bytes * (self.checkpoints_kept + 1)

    @property
    def problem(self) -> str | None:
        """Why the long run would not hold, with the flag to change; None = go."""
        if self.disk_bytes > self.disk_free_bytes:
            kept = max(0, self.disk_free_bytes // max(1, self.checkpoint_bytes) - 2)
            return (
                "the checkpoints need more disk than is free: "
                + (f"--save_total_limit {kept}, or " if kept else "--save_only_model, or ")
                + "another disk with --output_dir"
            )
        if self.capacity_bytes is not None and self.peak_bytes > self.capacity_bytes:
            return "it held, but within the reserve: --per_device_train_batch_size of half as many rows"
        return None

    def as_dict(self) -> dict[str, Any]:
        derived = {
            "run_seconds": self.run_seconds,
            "run_error_seconds": self.run_error_seconds,
            "disk_bytes": self.disk_bytes,
            "problem": self.problem,
        }
        return asdict(self) | derived | {"go": self.problem is None}


def is_long(prepared: Prepared) -> bool:
    """Whether the plan predicts more than a quarter of an hour.

    Where the steps cannot be counted before the data is loaded, as many as `limit` allows are taken; with no
    limit either, the run is taken for long.
    """
    plan, values, stage = prepared.plan, prepared.resolved.values, prepared.resolved.stage
    found = plan.get("run_time")
    if found is not None:
        return RunTime(**found).is_long
    if (plan.get("step_seconds") or {}).get("value") is None:
        return False
    most = run_time(plan, steps_of(stage, {**values, "packing": False}, None, plan))
    if most is not None:
        return most.is_long
    return not str(values.get("dataset_name") or "").startswith("builtin:")


def rehearse(prepared: Prepared, listen: Listener) -> Rehearsal:
    """Rehearse a prepared training section.

    Raises:
        OutOfMemory: it does not hold; with the edits that would help.
        OpenR1Error: whatever else would have ended the run.
    """
    place = prepared.run.path.parent / f".rehearsal-{prepared.run.path.name}"
    node = prepared.nodes.rank
    own = place.with_name(f"{place.name}-node-{node}") if node else place
    shutil.rmtree(own, ignore_errors=True)  # of a rehearsal that was killed
    start = time.monotonic()
    try:
        first = _part(prepared, place, own, STEPS, listen)
        second = _part(prepared, place, own, STEPS + 1, listen)
    except OutOfMemory as error:
        raise advise(error, prepared) from error
    finally:
        shutil.rmtree(own, ignore_errors=True)
    found = same_on_the_serving_node(prepared, lambda: _measured(prepared, first, second), "rehearsed")
    return Rehearsal(
        **found, temperatures_c=_temperatures(), seconds=round(time.monotonic() - start, 1)
    )  # of this node


def _measured(prepared: Prepared, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Both parts' figures, beside the plan's: what is the same on every node."""
    plan, values = prepared.plan | first["planned"], prepared.resolved.values
    predicted = {name: sum(terms.values()) for name, terms in (plan.get("memory") or {}).items()}
    # how many packed rows there will be, the longest rows alone do not tell: then the plan's own estimate
    rows = None if packs(prepared.resolved.stage, values) else int(first["rows"])
    steps = steps_of(prepared.resolved.stage, values, rows, plan)
    steps = steps or (plan.get("run_time") or {}).get("steps")
    return {
        "peak_bytes": max(int(first["peak_bytes"]), int(second["peak_bytes"])),
        "predicted_bytes": predicted,
        "phases": _phases(first.get("phases") or {}, second.get("phases") or {}, predicted),
        "capacity_bytes": first["capacity_bytes"],
        "step_seconds": first.get("step_seconds"),
        "step_error": _error(first.get("steps_seconds") or []),
        "predicted_step_seconds": (plan.get("step_seconds") or {}).get("value"),
        "steps": steps,
        "saves": _saves(values, steps),
        "checkpoint_bytes": int(first["checkpoint_bytes"]),
        "checkpoints_kept": checkpoints_kept(values),
        "disk_free_bytes": int(first["disk_free_bytes"]),
    }


def _phases(
    first: dict[str, Any], second: dict[str, Any], predicted: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Both parts' phases: the higher peak, the first part's time (the second warms up for one step only)."""
    found = {}
    for name in dict.fromkeys([*first, *second]):
        parts = [part[name] for part in (first, second) if name in part]
        found[name] = {
            "peak_bytes": max(int(part["peak_bytes"]) for part in parts),
            "seconds": parts[0]["seconds"],
            "predicted_bytes": predicted.get(PLANNED_AS.get(name, name)),
        }
    return found


def _error(seconds: list[float]) -> float | None:
    """Half of what the steps differ by, as a share of their middle, and never less than LEAST_ERROR."""
    if not seconds:
        return None
    return max(LEAST_ERROR, (max(seconds) - min(seconds)) / (max(seconds) + min(seconds)))


def _saves(values: Mapping[str, Any], steps: int | None) -> int:
    every = values.get("save_steps")
    if steps is None or values.get("save_strategy") == "no" or not isinstance(every, (int, float)):
        return 0
    return int(1 / every) if 0 < every < 1 else int(steps // max(1, every))


def _part(prepared: Prepared, place: Path, own: Path, steps: int, listen: Listener) -> dict[str, Any]:
    """One launch, up to `steps`; a node's own folder holds its logs."""
    run, attempt = RunFolder(place), RunFolder(own).next_attempt()
    resolved = worst_case(prepared.resolved, steps)
    rows = 2 * int((prepared.plan.get("global_batch_size") or {}).get("value") or 8) * (STEPS + 1)
    plan = {**prepared.plan, "rehearsal": {"rows": rows, "eval_rows": _eval_rows(prepared)}}
    if prepared.nodes.rank == 0:  # the other nodes' ranks hear it from the first
        resolved_file.write(run.resolved, resolved, plan)
    child = command.local(resolved.stage, place, resolved.values.get("threads"))
    part = replace(prepared, resolved=resolved, run=run, plan=plan, command=child)
    first = steps == STEPS
    listen({"event": "phase", "name": "rehearsal, first part" if first else "rehearsal, second part"})
    return launch(part, attempt, listen)


def _eval_rows(prepared: Prepared) -> int:
    """Rows of one evaluation batch over all ranks. GRPO samples several completions for each."""
    values, ranks = prepared.resolved.values, int(prepared.plan.get("processes") or 1)
    rows = ranks * int(values.get("per_device_eval_batch_size") or 8)
    if prepared.resolved.stage == "grpo":
        rows //= int(values.get("num_generations_eval") or values["num_generations"])
    return max(1, rows)


def worst_case(resolved: Resolved, steps: int) -> Resolved:
    """The section with the values of a rehearsal put in, a person's own included."""
    values: dict[str, Any] = {
        "max_steps": steps,
        "save_strategy": "steps",
        "save_steps": STEPS,
        "save_total_limit": 1,
        "logging_steps": 1,
        "report_to": "none",
        "push_to_hub": False,
        # one evaluation batch, at the end
        "do_eval": _evaluates(resolved.values),
        "eval_strategy": "no",
        "load_best_model_at_end": False,
    }
    if resolved.stage == "grpo":
        longest = resolved["max_completion_length"]
        served = {"min_tokens": longest, "ignore_eos": True}
        full = served if resolved["use_vllm"] else {"min_new_tokens": longest}
        values["generation_kwargs"] = {**(resolved["generation_kwargs"] or {}), **full}
    origin = Origin("plan", "the rehearsal")
    known = {key: Setting(value, origin) for key, value in values.items() if key in resolved.settings}
    return replace(resolved, settings={**resolved.settings, **known})


def _evaluates(values: Mapping[str, Any]) -> bool:
    return str(values.get("eval_strategy") or "no") != "no" or bool(values.get("do_eval"))


def _temperatures() -> tuple[int, ...]:
    from openr1.hardware.nvml import detect_gpus

    found = (gpu.temperature_c.value for gpu in detect_gpus().gpus)
    return tuple(value for value in found if value is not None)
