"""Where a value comes from. Every value of a run carries one of these, from the recipe to the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Vintage = Literal["open-r1 2025-02", "open-r1 2025-07", "TRL 2025-02", "TRL 2025-07"]
"""The program and time of an old file, whose defaults hold for what it does not say."""
Kind = Literal["default", "profile", "plan", "recipe", "environment", "command line", "pipeline"] | Vintage


@dataclass(frozen=True)
class Origin:
    """A kind of source, and the detail that lets a person find it (file:line, flag, variable, reason)."""

    kind: Kind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind

    @property
    def explicit(self) -> bool:
        """True when a person asked for the value, or an old file relied on it; a plan never changes it."""
        return self.kind in ("recipe", "environment", "command line") or self.pinned

    @property
    def pinned(self) -> bool:
        """True for a default of an old file's time that is another one today."""
        return self.kind in get_args(Vintage)


@dataclass(frozen=True)
class Setting:
    """One resolved value and its origin."""

    value: Any
    origin: Origin
