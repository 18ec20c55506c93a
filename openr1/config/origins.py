"""Where a value comes from. Every value of a run carries one of these, from the recipe to the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["default", "profile", "plan", "recipe", "environment", "command line", "pipeline"]


@dataclass(frozen=True)
class Origin:
    """A kind of source, and the detail that lets a person find it (file:line, flag, variable, reason)."""

    kind: Kind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind

    @property
    def explicit(self) -> bool:
        """True when a person asked for the value; a plan never changes such a value."""
        return self.kind in ("recipe", "environment", "command line")


@dataclass(frozen=True)
class Setting:
    """One resolved value and its origin."""

    value: Any
    origin: Origin
