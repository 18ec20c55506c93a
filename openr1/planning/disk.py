"""What checkpoints take on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openr1.planning.methods import OPTIMIZERS
from openr1.planning.shapes import ModelShape


def checkpoint_bytes(shape: ModelShape, settings: Mapping[str, Any]) -> int:
    """One checkpoint: weights, and unless `save_only_model` the optimizer's states as well [S].

    With LoRA only the adapters and their states are written.
    """
    lora = bool(settings.get("use_peft", False))
    rank = int(settings.get("lora_r") or 16)
    trained = shape.lora_params(rank) if lora and shape.latent is None else shape.params
    narrow = str(settings.get("dtype", "float32")) in ("bfloat16", "float16") and not lora
    weight = 2 if narrow else 4
    kind = OPTIMIZERS.get(str(settings.get("optim", "adamw_torch_fused")), "adamw")
    states = {"adamw": 2 * weight, "sgd": 0}.get(kind, 2)
    return trained * (weight + (0 if settings.get("save_only_model") else states))


def checkpoints_kept(settings: Mapping[str, Any]) -> int:
    """How many are on disk at once: `save_total_limit` and the one being written; without a limit, all.

    Without a known number of steps "all" is counted as 10, a guess that is on the low side for long runs.
    """
    limit = settings.get("save_total_limit")
    if limit:
        return int(limit) + 1
    steps, every = settings.get("max_steps"), settings.get("save_steps")
    if isinstance(steps, int) and steps > 0 and isinstance(every, int) and every > 0:
        return max(1, steps // every)
    return 10
