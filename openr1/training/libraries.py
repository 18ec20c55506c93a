"""Which of the libraries' libraries a training does without."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from openr1.extras import without

OPTIMIZERS_OF_TORCH = ("adamw_torch", "sgd", "adafactor")
QUANTIZED = ("load_in_4bit", "load_in_8bit", "use_peft")  # adapters may be put on weights that are quantized


def needed_only(stage: str, values: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
    """Import transformers, peft and TRL without what this section has no use for.

    They import all they find installed. Of 13 CPU seconds that a GRPO section spent on imports, vLLM,
    bitsandbytes and scikit-learn were 5.

    Args:
        values: the section's resolved values.
    """
    left_out = ["sklearn"]  # a curve for assisted decoding
    if not any(values.get(key) for key in QUANTIZED) and _of_torch(values.get("optim")):
        left_out.append("bitsandbytes")
    if stage == "grpo" and not values.get("use_vllm"):
        left_out.append("vllm")
    return without(*left_out)


def _of_torch(optimizer: Any) -> bool:
    return str(optimizer or OPTIMIZERS_OF_TORCH[0]).startswith(OPTIMIZERS_OF_TORCH)
