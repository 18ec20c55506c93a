"""Which profile a machine gets: `light`, `h100x8`, `cpu`, or values derived from its facts."""

from __future__ import annotations

import re

from openr1.errors import UsageError
from openr1.hardware.facts import Finding, Gpu

GIB = 1024**3
PROFILES = ("light", "h100x8", "cpu", "derived")


def choose_profile(gpus: tuple[Gpu, ...], gpus_reason: str, nodes: int = 1) -> Finding[str]:
    """The profile of a machine with these GPUs, and the rule that chose it."""
    if not gpus:
        return Finding("cpu", gpus_reason)
    name = gpus[0].name.value or "unknown card"
    if nodes == 1 and len(gpus) == 8 and all(re.search("h100|h800", g.name.value or "", re.I) for g in gpus):
        return Finding("h100x8", "eight H100 in one node")
    total = gpus[0].total_bytes.value
    if len(gpus) == 1 and total is not None and 10 * GIB <= total <= 13 * GIB:
        return Finding("light", f"one card of about 12 GB ({name})")
    return Finding("derived", f"{nodes * len(gpus)}x {name}: no profile is made for it; the same rules apply")


def forced_profile(name: str) -> Finding[str]:
    """`--profile NAME`, checked.

    Raises:
        UsageError: no such profile.
    """
    if name not in PROFILES:
        raise UsageError(
            f"there is no profile {name!r}", where="--profile", fix="one of " + ", ".join(PROFILES)
        )
    return Finding(name, "asked for with --profile")
