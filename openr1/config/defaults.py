"""Defaults of ours that differ from TRL's, each with its reason. A recipe's own value always wins."""

from __future__ import annotations

from typing import Any

_TRAINING: dict[str, tuple[Any, str]] = {
    "save_total_limit": (
        2,
        "a second checkpoint is there should the last be cut off; more only fill the disk",
    ),
    "hub_private_repo": (True, "what push_to_hub makes is private until you say otherwise"),
}

OURS: dict[str, dict[str, tuple[Any, str]]] = {
    "sft": _TRAINING,
    "grpo": {
        **_TRAINING,
        "logging_steps": (1, "a GRPO step is long, and its reward is what one watches"),
    },
    "eval": {},
    "generate": {},
}
