"""`--rehearse`: the worst of a long run in a few minutes, with the real weights and the real processes.

Two launches in a folder of their own. The first makes two optimizer steps on the longest rows (GRPO: every
completion at full length, weight sync, rewards) and saves a checkpoint; the second reads it and makes a
third. What they needed is set against the plan. The run itself is not touched.
"""

from __future__ import annotations

import math
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
from openr1.runs import resolved_file
from openr1.runs.folder import RunFolder
from openr1.services.launching import launch
from openr1.services.out_of_memory import advise
from openr1.services.request import Listener

if TYPE_CHECKING:
    from openr1.services.prepare import Prepared

STEPS = 2
LONG_SECONDS = 15 * 60  # a run predicted to take longer is rehearsed before it starts


@dataclass(frozen=True)
class Rehearsal:
    """What was measured, beside what was predicted. Bytes, seconds, °C; None = not known."""

    peak_bytes: int
    predicted_bytes: dict[str, int]
    """Per phase of the plan; the measured peak is that of the fullest."""
    capacity_bytes: int | None
    step_seconds: float | None
    predicted_step_seconds: float | None
    steps: int | None
    """Optimizer steps of the whole run."""
    checkpoint_bytes: int
    checkpoints_kept: int
    disk_free_bytes: int
    temperatures_c: tuple[int, ...]
    seconds: float

    @property
    def run_seconds(self) -> float | None:
        """The whole run, if every row were as long as the longest: an upper bound."""
        return None if self.step_seconds is None or self.steps is None else self.step_seconds * self.steps

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
        derived = {"run_seconds": self.run_seconds, "disk_bytes": self.disk_bytes, "problem": self.problem}
        return asdict(self) | derived | {"go": self.problem is None}


def is_long(prepared: Prepared) -> bool:
    """Whether the plan predicts more than a quarter of an hour."""
    steps = prepared.resolved.values.get("max_steps")
    seconds = (prepared.plan.get("step_seconds") or {}).get("value")
    if not isinstance(steps, int) or steps < 1 or seconds is None:
        return False
    return bool(steps * seconds > LONG_SECONDS)


def rehearse(prepared: Prepared, listen: Listener) -> Rehearsal:
    """Rehearse a prepared training section.

    Raises:
        OutOfMemory: it does not hold; with the edits that would help.
        OpenR1Error: whatever else would have ended the run.
    """
    place = prepared.run.path.parent / f".rehearsal-{prepared.run.path.name}"
    shutil.rmtree(place, ignore_errors=True)  # of a rehearsal that was killed
    start = time.monotonic()
    try:
        first = _part(prepared, place, STEPS, listen)
        size = _size(place / "checkpoints" / f"checkpoint-{STEPS}")
        second = _part(prepared, place, STEPS + 1, listen)
    except OutOfMemory as error:
        raise advise(error, prepared) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
    plan, values = prepared.plan, prepared.resolved.values
    return Rehearsal(
        peak_bytes=max(int(first["peak_bytes"]), int(second["peak_bytes"])),
        predicted_bytes={name: sum(terms.values()) for name, terms in (plan.get("memory") or {}).items()},
        capacity_bytes=plan.get("capacity_bytes"),
        step_seconds=first.get("step_seconds"),
        predicted_step_seconds=(plan.get("step_seconds") or {}).get("value"),
        steps=steps_of(prepared.resolved.stage, values, int(first["rows"]), plan),
        checkpoint_bytes=size,
        checkpoints_kept=checkpoints_kept(values),
        disk_free_bytes=shutil.disk_usage(_there(prepared.run.path)).free,
        temperatures_c=_temperatures(),
        seconds=round(time.monotonic() - start, 1),
    )


def _part(prepared: Prepared, place: Path, steps: int, listen: Listener) -> dict[str, Any]:
    """One launch, up to `steps`."""
    run = RunFolder(place)
    attempt = run.next_attempt()
    resolved = worst_case(prepared.resolved, steps)
    rows = 2 * int((prepared.plan.get("global_batch_size") or {}).get("value") or 8) * (STEPS + 1)
    plan = {**prepared.plan, "rehearsal": {"rows": rows}}
    resolved_file.write(run.resolved, resolved, plan)
    child = command.local(resolved.stage, place, resolved.values.get("threads"))
    part = replace(prepared, resolved=resolved, run=run, plan=plan, command=child)
    listen({"event": "phase", "name": f"rehearsal, {'first' if steps == STEPS else 'second'} part"})
    return launch(part, attempt, listen)


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
    }
    if resolved.stage == "grpo":
        longest = resolved["max_completion_length"]
        served = {"min_tokens": longest, "ignore_eos": True}
        full = served if resolved["use_vllm"] else {"min_new_tokens": longest}
        values["generation_kwargs"] = {**(resolved["generation_kwargs"] or {}), **full}
    origin = Origin("plan", "the rehearsal")
    known = {key: Setting(value, origin) for key, value in values.items() if key in resolved.settings}
    return replace(resolved, settings={**resolved.settings, **known})


def steps_of(stage: str, values: Mapping[str, Any], rows: int, plan: Mapping[str, Any]) -> int | None:
    """Optimizer steps of the whole run; None with packing, where the rows' lengths decide."""
    if int(values.get("max_steps") or -1) > 0:
        return int(values["max_steps"])
    total = (plan.get("global_batch_size") or {}).get("value")
    if not total or (stage == "sft" and values.get("packing")):
        return None
    each = int(values["num_generations"]) * int(values.get("num_iterations") or 1) if stage == "grpo" else 1
    return math.ceil(rows * each / int(total) * float(values.get("num_train_epochs") or 1))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _there(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.resolve().parents) if folder.exists())


def _temperatures() -> tuple[int, ...]:
    from openr1.hardware.nvml import detect_gpus

    found = (gpu.temperature_c.value for gpu in detect_gpus().gpus)
    return tuple(value for value in found if value is not None)
