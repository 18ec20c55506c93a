"""A file of `accelerate config`, read for what a plan must know: ranks, nodes, sharding."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from openr1.errors import RecipeError

OF_THE_BATCH = ("gradient_accumulation_steps", "gradient_clipping")
KINDS = ("NO", "MULTI_CPU", "MULTI_GPU", "DEEPSPEED", "FSDP")


@dataclass(frozen=True)
class AccelerateFile:
    """What the file asks for; the ranks read the rest of it themselves, with accelerate's own reader."""

    path: Path
    kind: str
    processes: int  # over all machines
    machines: int
    on_cpu: bool
    sharding: str  # in the plan's words
    batch: dict[str, Any]
    """What DeepSpeed's part of it says of the batch and of clipping; it gives way to the recipe."""


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
    zero = _zero(kind, loaded, path)
    return AccelerateFile(
        path.resolve(),
        kind,
        _count(loaded, "num_processes", path),
        _count(loaded, "num_machines", path),
        kind in ("MULTI_CPU", "NO") or loaded.get("use_cpu") is True,
        _sharding(kind, zero),
        {key: zero[key] for key in OF_THE_BATCH if isinstance(zero.get(key), (int, float))},
    )


def _count(loaded: dict[str, Any], key: str, path: Path) -> int:
    value = loaded.get(key) or 1
    if not isinstance(value, int) or value < 1:
        raise RecipeError(f"{key} must be a whole number from 1, not {value!r}", where=str(path))
    return value


def _zero(kind: str, loaded: dict[str, Any], path: Path) -> dict[str, Any]:
    """The file's `deepspeed_config`; the stage of a file of DeepSpeed's own that it names.

    Raises:
        RecipeError: it is no map, or names a file that cannot be read.
    """
    found = loaded.get("deepspeed_config") or {}
    if kind != "DEEPSPEED":
        return {}
    if not isinstance(found, dict):
        raise RecipeError("deepspeed_config must be a map of keys", where=str(path))
    if not found.get("deepspeed_config_file"):
        return found
    own = Path(str(found["deepspeed_config_file"])).expanduser()
    try:
        stage = json.loads(own.read_text(encoding="utf-8")).get("zero_optimization", {}).get("stage", 0)
    except OSError as error:
        raise RecipeError(
            f"deepspeed_config_file {own} cannot be read: {error.strerror}",
            where=str(path),
            fix="check the path; it is looked for from where the command is given",
        ) from None
    except (ValueError, AttributeError):
        raise RecipeError("this is no configuration of DeepSpeed", where=str(own)) from None
    return {"zero_stage": stage}


def _sharding(kind: str, zero: dict[str, Any]) -> str:
    if kind == "FSDP":
        return "fsdp"
    stage = zero.get("zero_stage", 2) if kind == "DEEPSPEED" else 0
    return f"zero{stage}" if stage in (1, 2, 3) else "ddp"
