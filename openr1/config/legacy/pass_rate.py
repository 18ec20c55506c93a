"""open-r1's recipes that filter a dataset by pass rate, as the `openr1 generate` command that does the same.

compute_pass_rate.py took GRPO's arguments: it drew completions, scored them with a reward, and kept the
problems whose mean lay between two values. It trained nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

MARKS = ("pass_rate_min", "pass_rate_max", "output_dataset_name")
# The file's key -> the flag, and what it was where the file says nothing (TRL 0.18.0, compute_pass_rate.py).
FLAGS: tuple[tuple[str, str, Any], ...] = (
    ("model_name_or_path", "model_name_or_path", None),
    ("model_revision", "model_revision", None),
    ("dataset_name", "dataset_name", None),
    ("dataset_config", "dataset_config", None),
    ("dataset_prompt_column", "prompt_column", "prompt"),
    ("system_prompt", "system_prompt", None),
    ("num_generations", "num_generations", 8),
    ("temperature", "temperature", 1.0),
    ("top_p", "top_p", 1.0),
    ("top_k", "top_k", None),
    ("max_completion_length", "max_new_tokens", 256),
    ("reward_funcs", "reward_funcs", ["accuracy", "format", "tag_count"]),
    ("pass_rate_min", "pass_rate_min", 0.1),
    ("pass_rate_max", "pass_rate_max", 0.9),
    ("output_dataset_name", "hub_dataset_id", None),
)
UNSAID = {"model_revision": "main"}


def generate_command(values: Mapping[str, Any]) -> str | None:
    """The command for a pass-rate file's plain values; None for a file that filters nothing."""
    if not any(key in values for key in MARKS):
        return None
    words = ["openr1", "generate"]
    for key, flag, default in FLAGS:
        value = values.get(key, default)
        if value is None or UNSAID.get(key) == value:
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words += [f"--{flag}", shlex.quote(text)]
    return " ".join([*words, *_split(values), "--keep any --truncated_as wrong --layouts full"])


def _split(values: Mapping[str, Any]) -> list[str]:
    name = values.get("dataset_split", values.get("dataset_train_split", "train"))
    first, last = values.get("dataset_start_index"), values.get("dataset_end_index")
    if first is not None or last is not None:
        name = f"{name}[{first or ''}:{'' if last is None else last}]"
    return [] if name == "train" else ["--dataset_split", shlex.quote(str(name))]
