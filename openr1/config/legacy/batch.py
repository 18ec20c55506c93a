"""The global batch that a recipe's per-device numbers meant on the machine it was written for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

PER_DEVICE, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"

# GPUs that the recipes of open-r1 and of the light fork were written for, by the name they give their model.
# A recipe of another name keeps its per-device numbers: nobody knows how many GPUs it was run on.
NODE = "one node of 8 GPUs, open-r1's accelerate files"
WRITTEN_FOR: dict[str, tuple[int, str]] = {
    "Qwen2.5-0.5B-Open-R1-Distill": (1, "one RTX 3060, light-open-r1"),
    "Qwen2.5-0.5B-Open-R1-GRPO": (1, "one RTX 3060, light-open-r1"),
    "Qwen2.5-1.5B-Open-R1-Distill": (8, NODE),
    "OpenR1-Distill-7B": (8, NODE),
    "OpenR1-Qwen-7B": (8, NODE),
    "OpenR1-Qwen-7B-SFT": (8, NODE),
    "Mistral-Small-24B-Instruct-2501-Open-R1-Distill": (32, "4 nodes of 8 GPUs, open-r1's recipe"),
    "OlympicCoder-7B": (8, NODE),
    "OlympicCoder-32B": (128, "16 nodes of 8 GPUs, open-r1's recipe"),
    "Qwen2.5-1.5B-Open-R1-GRPO": (8, NODE),
    "Qwen2.5-1.5B-Open-R1-Code-GRPO": (8, NODE),
    "Qwen-2.5-7B-Simple-RL": (8, NODE),
    "Qwen2.5-7B-Instruct-GRPO": (8, NODE),
    "DeepSeek-R1-Distill-Qwen-1.5B-GRPO": (8, NODE),
    "DeepSeek-R1-Distill-Qwen-7B-GRPO": (8, NODE),
    "Qwen2.5-Coder-7B-Instruct-Codeforces-GRPO": (8, NODE),
}


@dataclass(frozen=True)
class GlobalBatch:
    """Rows (SFT) or completions (GRPO) per optimizer step, as the recipe learnt."""

    value: int
    words: str


def written_for(values: Mapping[str, Any]) -> tuple[int, str] | None:
    """The number of GPUs of a known recipe, and who says so."""
    named = [PurePosixPath(str(values.get(key) or "")).name for key in ("hub_model_id", "output_dir")]
    return next((WRITTEN_FOR[name] for name in named if name in WRITTEN_FOR), None)


def ranks_of(values: Mapping[str, Any], stage: str, month: str) -> tuple[int, str] | None:
    """How many processes trained, and how that is known; None where nothing says it.

    With vLLM one GPU of the node generated: always in February 2025, later where only seven ranks hold
    whole groups of completions (TRL demanded it).
    """
    asked = values.get("num_processes")
    if isinstance(asked, int) and asked > 0:
        return asked, f"num_processes: {asked}"
    known = written_for(values)
    if known is None or stage != "grpo" or known[0] != 8 or not values.get("use_vllm"):
        return known
    seven = (7, "one node of 8 GPUs, of which one generated")
    if month == "2025-02":
        return seven
    completions = int(values.get(PER_DEVICE) or 8) * int(values.get(ACCUMULATION) or 1)
    groups = int(values.get("num_generations") or 8)
    return seven if 8 * completions % groups and not 7 * completions % groups else known


def global_batch(values: Mapping[str, Any], stage: str, month: str) -> GlobalBatch | None:
    """The global batch of a file whose number of ranks is known; None leaves its numbers as they are."""
    ranks = ranks_of(values, stage, month)
    if ranks is None or "global_batch_size" in values or PER_DEVICE not in values:
        return None
    per_device, accumulation = values[PER_DEVICE], values.get(ACCUMULATION) or 1
    if not all(isinstance(n, int) and n > 0 for n in (per_device, accumulation)):
        return None
    count, source = ranks
    equation = f"{per_device} per device x {accumulation} accumulated x {count} ({source})"
    return GlobalBatch(per_device * accumulation * count, equation)
