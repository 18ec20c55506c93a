"""A file of `accelerate config`, read for what a plan must know: ranks, nodes, sharding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from openr1.errors import RecipeError

KINDS = ("NO", "MULTI_CPU", "MULTI_GPU", "DEEPSPEED", "FSDP")


@dataclass(frozen=True)
class AccelerateFile:
    """What the file asks for; the ranks read the rest of it themselves, with accelerate's own reader."""

    path: Path
    kind: str
    processes: int  # over all machines
    machines: int
    sharding: str  # in the plan's words


def read(path: Path) -> AccelerateFile:
    """The file.

    Raises:
        RecipeError: it is missing, is no YAML map, or asks for something else than DDP, ZeRO or FSDP.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(
            f"cannot be read: {error.strerror}", where=str(path), fix="check the path"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"not YAML: {' '.join(str(error).split())[:200]}", where=str(path)) from None
    if not isinstance(loaded, dict) or "distributed_type" not in loaded:
        raise RecipeError(
            "this is no file of `accelerate config`: it has no distributed_type",
            where=str(path),
            fix="make one with `accelerate config --config_file FILE`, or leave it out: the plan decides",
        )
    kind = str(loaded["distributed_type"] or "NO")  # NO without quotes is YAML's false
    if kind not in KINDS:
        raise RecipeError(
            f"distributed_type {kind} is not launched", where=str(path), fix=f"one of {', '.join(KINDS)}"
        )
    return AccelerateFile(
        path.resolve(),
        kind,
        _count(loaded, "num_processes", path),
        _count(loaded, "num_machines", path),
        _sharding(kind, loaded),
    )


def _count(loaded: dict[str, Any], key: str, path: Path) -> int:
    value = loaded.get(key) or 1
    if not isinstance(value, int) or value < 1:
        raise RecipeError(f"{key} must be a whole number from 1, not {value!r}", where=str(path))
    return value


def _sharding(kind: str, loaded: dict[str, Any]) -> str:
    """FSDP shares what ZeRO-3 shares, so the memory of a plan is that of ZeRO-3."""
    if kind == "FSDP":
        return "zero3"
    if kind != "DEEPSPEED":
        return "ddp"
    stage = (loaded.get("deepspeed_config") or {}).get("zero_stage", 2)
    return f"zero{stage}" if stage in (1, 2, 3) else "ddp"
