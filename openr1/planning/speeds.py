"""What this machine has been seen to do per second, and how long answers were: for the next estimate."""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from openr1.planning.calibration import store_path as calibration_path

KEPT = 500  # observations in the store; older ones go
LONG_ENOUGH = 0.5  # an earlier limit below this share of the new one says nothing about lengths


@dataclass(frozen=True)
class Speed:
    """One measurement.

    Args:
        machine: `calibration.fingerprint`.
        kind: what was measured.
        model: as the person named it.
        tokens_per_second: over all engines or ranks.
        task, mean_tokens, max_new_tokens: of an evaluation, else "" and None.
    """

    machine: str
    kind: Literal["sampling", "training"]
    model: str
    tokens_per_second: float
    task: str = ""
    mean_tokens: float | None = None
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class Speeds:
    """This machine's measurements, newest last."""

    machine: str
    seen: tuple[Speed, ...] = ()

    def sampling(self, model: str) -> float | None:
        """Median sampling speed of this model here, tokens per second; None when it never ran."""
        return self._median("sampling", model)

    def training(self, model: str) -> float | None:
        """Median training speed of this model here, tokens per second; None when it never ran."""
        return self._median("training", model)

    def length(self, task: str, model: str, max_new_tokens: int) -> float | None:
        """Mean tokens of this model's answers to this task, from its newest run with room enough."""
        found = [
            s.mean_tokens
            for s in self.seen
            if s.task == task and s.model == model and (s.max_new_tokens or 0) >= LONG_ENOUGH * max_new_tokens
        ]
        return found[-1] if found else None

    def _median(self, kind: str, model: str) -> float | None:
        found = [s.tokens_per_second for s in self._here() if s.kind == kind and s.model == model]
        return statistics.median(found[-5:]) if found else None

    def _here(self) -> list[Speed]:
        return [s for s in self.seen if s.machine == self.machine]


def store_path() -> Path:
    """The store, beside the planner's."""
    return calibration_path().with_name("speeds.json")


def load(machine: str, path: Path | None = None) -> Speeds:
    """The store's content; an unreadable store is an empty one: it only ever refines."""
    try:
        rows = json.loads((path or store_path()).read_text(encoding="utf-8"))
        return Speeds(machine, tuple(Speed(**row) for row in rows))
    except (OSError, ValueError, TypeError):
        return Speeds(machine)


def record(speeds: Speeds, new: list[Speed], path: Path | None = None) -> Speeds:
    """With more measurements, written whole: a killed process leaves the old or the new store."""
    grown = Speeds(speeds.machine, (*speeds.seen, *new)[-KEPT:])
    target = path or store_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps([asdict(s) for s in grown.seen], indent=1), encoding="utf-8")
    draft.replace(target)
    return grown
