"""DeepSpeed's configuration for a plan, as data; it lies in the run folder as deepspeed.json."""

from __future__ import annotations

from typing import Any

STAGES = {"zero1": 1, "zero2": 2, "zero3": 3}


def config(sharding: str) -> dict[str, Any]:
    """What DeepSpeed must be told beside what transformers fills in (`auto`) from the trainer's arguments.

    Args:
        sharding: zero1, zero2 or zero3.
    """
    stage = STAGES[sharding]
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
    }
    if stage == 3:
        zero |= {
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            # The saved model is whole, whatever the number of ranks was.
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    return {
        "zero_optimization": zero,
        # Torch's own AdamW: the same numbers as without DeepSpeed, and nothing to compile.
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "gradient_clipping": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }
