"""Values of upstream keys that a type does not tell right from wrong; refused before anything starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# transformers' own implementations (`ALL_ATTENTION_FUNCTIONS`) and the two it always has.
ATTENTION = (
    "eager",
    "sdpa",
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
    "flex_attention",
    "paged|eager",
)
# What transformers' schedulers take (`TYPE_TO_SCHEDULER_FUNCTION`); torch checks those that are not here.
SCHEDULERS: dict[str, tuple[str, ...]] = {
    "linear": (),
    "cosine": ("num_cycles",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("lr_end", "power"),
    "constant": (),
    "constant_with_warmup": (),
    "inverse_sqrt": ("timescale",),
    "cosine_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"),
    "warmup_stable_decay": (
        "num_decay_steps",
        "num_stable_steps",
        "warmup_type",
        "decay_type",
        "min_lr_ratio",
        "num_cycles",
    ),
}
WITH_MINIMUM = ("cosine_with_min_lr", "cosine_warmup_with_min_lr")


def unusable(key: str, value: Any) -> str | None:
    """Why one value cannot be meant, in words; None when it can."""
    if key == "attn_implementation" and value is not None:
        # A name with a slash is a kernel's repository on the hub.
        known = value in ATTENTION or "/" in str(value)
        return None if known else f"must be of {', '.join(ATTENTION)}, not {value}"
    if key == "deepspeed" and value:
        return _no_deepspeed(value)
    if key == "lr_scheduler_kwargs" and isinstance(value, str):
        return f"must be a map such as {{min_lr_rate: 0.1}}, not {value!r}"
    return None


def _no_deepspeed(value: Any) -> str | None:
    if isinstance(value, dict):
        return None
    path = Path(str(value)).expanduser()
    if not path.is_file():
        return f"names no file: {value}"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"names a file that is no JSON: {value} ({error})"
    return None if isinstance(found, dict) else f"names a file that holds no map: {value}"


def contradictions(values: Mapping[str, Any]) -> dict[str, str]:
    """Keys whose values do not go together with others', and why.

    Args:
        values: what was asked for, typed; other keys are at their defaults.
    """
    given = values.get("lr_scheduler_kwargs")
    kind = str(values.get("lr_scheduler_type") or "linear")
    if not isinstance(given or {}, dict) or kind not in SCHEDULERS:
        return {}
    given = given or {}
    takes = SCHEDULERS[kind]
    other = [name for name in given if name not in takes]
    if other:
        words = f"takes {', '.join(takes)}" if takes else "takes none"
        return {"lr_scheduler_kwargs": f"holds `{other[0]}`, but lr_scheduler_type {kind} {words}"}
    wrong = [f"{k}: {v!r}" for k, v in given.items() if not _right_kind(k, v)]
    if wrong:
        return {"lr_scheduler_kwargs": f"must hold numbers, not {wrong[0]}"}
    if kind in WITH_MINIMUM and ("min_lr" in given) == ("min_lr_rate" in given):
        words = f"needs one of min_lr and min_lr_rate for lr_scheduler_type {kind}"
        return {"lr_scheduler_kwargs" if "lr_scheduler_kwargs" in values else "lr_scheduler_type": words}
    if kind == "warmup_stable_decay" and "num_decay_steps" not in given:
        key = "lr_scheduler_kwargs" if "lr_scheduler_kwargs" in values else "lr_scheduler_type"
        return {key: "needs lr_scheduler_kwargs with num_decay_steps for warmup_stable_decay"}
    return {}


def _right_kind(name: str, value: Any) -> bool:
    if name in ("warmup_type", "decay_type"):
        return isinstance(value, str)
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
