"""Which steps follow the sampling. Needs nothing heavy: the parent reads it too."""

from __future__ import annotations

from typing import Any

STEPS = ("verify", "filter", "decontaminate", "export")


def asked_steps(values: dict[str, Any], *, can_verify: bool) -> list[str]:
    """The steps to do, in order: those of `only`, else all for which there is something to do.

    Args:
        can_verify: the dataset has a gold answer or tests.
    """
    if values["only"] is not None:
        return [step for step in STEPS if step in values["only"]]
    skipped = set() if can_verify else {"verify"}
    skipped |= set() if values["against"] else {"decontaminate"}
    return [step for step in STEPS if step not in skipped]
