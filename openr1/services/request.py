"""What a command was asked to do, before anything is resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Listener = Callable[[dict[str, Any]], None]
"""Called with every event of a run (see `runs.events`), and with `{"event": "section", ...}` per section."""


def silent(event: dict[str, Any]) -> None:
    """A listener that listens to nothing."""


TO_COME = "to_come"  # in the plan of an evaluation: labels of models that are not trained yet


@dataclass(frozen=True)
class Nodes:
    """Which of how many machines this is, and where they meet; each runs the same command."""

    count: int = 1
    rank: int = 0
    master: str | None = None
    """HOST:PORT of the first node."""


@dataclass(frozen=True)
class Asked:
    """The parts of a command line that every stage has."""

    recipe: str | None = None
    section: str | None = None
    overrides: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    gpus: int | None = None
    profile: str | None = None
    simulate: str | None = None
    fresh: bool = False
    fit: bool = False
    """Apply the cheapest edit that makes a plan fit."""
    force: bool = False
    """Go on although the plan does not fit."""
    dry_run: bool = False
    """Nothing will be started: what a section builds on need not be there yet."""
    max_gpu_temp: int | None = None
    """Pause between steps while a card is at this many °C."""
    processes: int | None = None
    """Ranks that train on a machine without GPUs."""
    nodes: Nodes = field(default_factory=Nodes)
    """The machines that work together."""
    accelerate_config: str | None = None
    """A file of `accelerate config` that says how ranks share the work."""
    rehearse: bool | None = None
    """Rehearse only (True), never (False), or before a long run (None)."""
