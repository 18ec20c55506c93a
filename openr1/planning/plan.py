"""What the planner answers: one Plan, every value with the rule that chose it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from openr1.hardware.facts import to_plain


@dataclass(frozen=True)
class Planned:
    """A value the plan chose, or keeps because a person set it, and why, in a learner's words."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """How a stage runs on a machine.

    `values` are keys of the trainer's own configuration; everything else is for the launcher and the
    screen. `memory` is, per phase, bytes by cause on the fullest GPU (RAM on a CPU); None = not known.
    """

    stage: str
    values: dict[str, Planned]
    processes: int  # ranks in all, over all nodes
    processes_reason: str
    nodes: int
    sharding: str  # "none", "ddp", "zero2", "zero3"
    sharding_reason: str
    train_gpus: tuple[int, ...]  # of each training node, by their number in CUDA_VISIBLE_DEVICES
    vllm_gpus: tuple[int, ...]  # of the vLLM server on this node; empty unless server mode
    vllm_nodes: int  # whole nodes that serve vLLM beside the training ones
    threads: Planned  # intra-op threads of each process: a number, "probe" or None (the library's default)
    global_batch_size: Planned
    warnings: tuple[str, ...]
    memory: dict[str, dict[str, int]] | None
    memory_reason: str
    capacity_bytes: int | None  # what a rank may use
    requires: tuple[str, ...] = ()  # modules that must be importable, by import name
    step_seconds: Planned = field(default_factory=lambda: Planned(None, "not estimated"))
    applied: tuple[str, ...] = ()  # flags that --fit added
    corrections: tuple[float, float] = (1.0, 1.0)  # of earlier runs here, on memory and on time
    time_doubt: float = 1.6  # the step time may be wrong by this factor; see tests/planning/test_speed.py

    @property
    def fits(self) -> bool | None:
        """Whether every phase fits; None when it cannot be said."""
        if self.memory is None or self.capacity_bytes is None:
            return None
        return all(sum(terms.values()) <= self.capacity_bytes for terms in self.memory.values())

    @property
    def peak(self) -> tuple[str, int] | None:
        """The phase that needs most, and its bytes."""
        if not self.memory:
            return None
        name = max(self.memory, key=lambda phase: sum(self.memory[phase].values()))  # type: ignore[index]
        return name, sum(self.memory[name].values())

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON-ready values."""
        plain = to_plain(self)
        assert isinstance(plain, dict)
        return plain | {"fits": self.fits}


class Asked:
    """The recipe's effective values, and which of them a person set."""

    def __init__(self, settings: Mapping[str, Any], explicit: Container[str]) -> None:
        self._settings = settings
        self._explicit = explicit

    def get(self, key: str, default: Any = None) -> Any:
        """The effective value; `default` where there is none."""
        value = self._settings.get(key)
        return default if value is None else value

    def person(self, key: str) -> Any:
        """The value if a person set it, else None: the plan may choose."""
        return self._settings.get(key) if key in self._explicit else None

    def set_by_person(self, key: str) -> bool:
        """Whether a person set this key (a null counts as not set)."""
        return self.person(key) is not None

    @property
    def settings(self) -> Mapping[str, Any]:
        """All effective values."""
        return self._settings

    @property
    def explicit(self) -> Container[str]:
        """The keys a person set."""
        return self._explicit


def keep(key: str, value: Any) -> Planned:
    """A person's own value, as a planned one."""
    return Planned(value, f"set by you ({key}: {value}), kept")
