"""What runs on this machine really needed, against what was predicted: the next plan uses the difference."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openr1.hardware.facts import Machine

# A correction beyond this says that something else is wrong; it is not believed in full.
LEAST, MOST = 0.7, 1.5
# The step time of a machine that has not trained yet is right within this factor
# (tests/planning/test_speed.py); a measured one is never believed to be more exact than LEAST_DOUBT.
TIME_DOUBT, LEAST_DOUBT = 1.6, 1.1
KEPT = 200  # observations in the store; older ones go


@dataclass(frozen=True)
class Observation:
    """One finished run: predicted and measured peak (bytes) and step time (seconds)."""

    machine: str
    stage: str
    model: str
    predicted_bytes: int
    measured_bytes: int
    predicted_seconds: float | None = None
    measured_seconds: float | None = None


def observe(
    plan: Mapping[str, Any],
    machine: Machine,
    model: str,
    measured_bytes: int,
    measured_seconds: float | None = None,
) -> Observation | None:
    """What a run adds to the store; None when its plan predicted nothing.

    Args:
        plan: `Plan.as_dict()`.
        measured_bytes: the peak on the fullest card, everything on it counted (`max_memory_reserved` and
            what lies outside torch); on a CPU the process's peak resident size.
        measured_seconds: the median optimizer step.
    """
    if not plan.get("memory"):
        return None
    memory, time = plan.get("corrections") or (1.0, 1.0)
    peak = max(sum(terms.values()) for terms in plan["memory"].values())
    seconds = (plan.get("step_seconds") or {}).get("value")
    return Observation(
        machine=fingerprint(machine),
        stage=str(plan["stage"]),
        model=model,
        predicted_bytes=int(peak / memory),
        measured_bytes=measured_bytes,
        predicted_seconds=None if seconds is None else seconds / time,
        measured_seconds=measured_seconds,
    )


@dataclass(frozen=True)
class Correction:
    """Factors on the predictions, and the words that say where they come from."""

    memory: float = 1.0
    time: float = 1.0
    time_doubt: float = TIME_DOUBT
    words: str = ""

    def apply(self, memory: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        """The phases with the measured difference as a cause of its own."""
        if self.memory == 1.0:
            return memory
        return {
            phase: terms | {"measured difference": int((self.memory - 1.0) * sum(terms.values()))}
            for phase, terms in memory.items()
        }


@dataclass(frozen=True)
class Calibration:
    """All observations, newest last."""

    observations: tuple[Observation, ...] = ()

    def correction(self, machine: Machine, stage: str, model: str) -> Correction:
        """The median ratio of runs like this one: same machine and stage, same model if there are any."""
        alike = [o for o in self.observations if o.machine == fingerprint(machine) and o.stage == stage]
        same = [o for o in alike if o.model == model]
        chosen = same or alike
        ratios = [o.measured_bytes / o.predicted_bytes for o in chosen if o.predicted_bytes > 0]
        times = [
            o.measured_seconds / o.predicted_seconds
            for o in chosen
            if o.measured_seconds and o.predicted_seconds
        ]
        if not ratios and not times:
            return Correction()
        memory = _bounded(statistics.median(ratios)) if ratios else 1.0
        # Time is only shown, never decides what fits, so it is believed as it is.
        time = statistics.median(times) if times else 1.0
        runs = f"{len(chosen)} earlier run{'s' if len(chosen) > 1 else ''} here"
        doubt = max([LEAST_DOUBT, *(max(t / time, time / t) for t in times)]) if times else TIME_DOUBT
        words = f"; corrected by {runs}: memory x {memory:.2f}, time x {time:.2f}"
        return Correction(memory, time, doubt, words)

    def record(self, observation: Observation) -> Calibration:
        """With one more observation."""
        return Calibration((*self.observations, observation)[-KEPT:])


def _bounded(ratio: float) -> float:
    return min(MOST, max(LEAST, ratio))


def fingerprint(machine: Machine) -> str:
    """What makes two machines the same for a correction: the cards, or the CPU and its cores."""
    if machine.gpus:
        names = sorted({g.name.value or "unknown" for g in machine.gpus})
        return f"{len(machine.gpus)}x{'+'.join(names)}x{machine.nodes.value or 1}"
    return f"cpu:{machine.cpu_name.value or 'unknown'}:{machine.cpu_cores.value or 0:g}"


def store_path() -> Path:
    """The store, under the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "openr1" / "calibration.json"


def load(path: Path | None = None) -> Calibration:
    """The store's content; an unreadable store is an empty one: it only ever refines."""
    try:
        rows = json.loads((path or store_path()).read_text())
        return Calibration(tuple(Observation(**row) for row in rows))
    except (OSError, ValueError, TypeError):
        return Calibration()


def save(calibration: Calibration, path: Path | None = None) -> None:
    """Write the store whole, so that a killed process leaves the old or the new one."""
    target = path or store_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps([asdict(o) for o in calibration.observations], indent=1))
    draft.replace(target)
