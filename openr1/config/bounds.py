"""Numbers that TRL and transformers take and that make no sense: refused before anything starts.

The upstream classes check few of them, and late. `None` is always allowed where the field allows it.
"""

from __future__ import annotations

import math

POSITIVE = (math.ulp(0.0), math.inf)
FROM_ONE = (1, math.inf)
FROM_ZERO = (0, math.inf)
SHARE = (0, 1)
SEED = (0, 2**32 - 1)  # numpy takes no other
PORT = (1, 65535)

# What transformers reports to (`transformers.integrations`), and its words for nothing and everything.
TRACKERS: tuple[str, ...] = (
    "none",
    "all",
    "tensorboard",
    "wandb",
    "trackio",
    "mlflow",
    "comet_ml",
    "neptune",
    "clearml",
)
TRACKERS += ("swanlab", "azure_ml", "codecarbon", "dagshub", "dvclive", "flyte", "kubeflow")

BOUNDS: dict[str, tuple[float, float]] = {
    "learning_rate": FROM_ZERO,
    "num_train_epochs": POSITIVE,
    "warmup_steps": FROM_ZERO,
    "weight_decay": FROM_ZERO,
    "max_grad_norm": FROM_ZERO,
    "adam_beta1": SHARE,
    "adam_beta2": SHARE,
    "adam_epsilon": FROM_ZERO,
    "per_device_train_batch_size": FROM_ONE,
    "per_device_eval_batch_size": FROM_ONE,
    "gradient_accumulation_steps": FROM_ONE,
    "logging_steps": POSITIVE,
    "save_steps": POSITIVE,
    "eval_steps": POSITIVE,
    "save_total_limit": FROM_ONE,
    "seed": SEED,
    "data_seed": SEED,
    "max_length": (2, math.inf),  # of one token nothing can be learnt
    "max_completion_length": FROM_ONE,
    "num_generations": (2, math.inf),
    "steps_per_generation": FROM_ONE,
    "num_iterations": FROM_ONE,
    "temperature": POSITIVE,
    "top_p": (math.ulp(0.0), 1),
    "min_p": SHARE,
    "beta": FROM_ZERO,
    "epsilon": FROM_ZERO,
    "vllm_gpu_memory_utilization": (math.ulp(0.0), 1),
    "vllm_tensor_parallel_size": FROM_ONE,
    "label_smoothing_factor": SHARE,
    "dataset_num_proc": FROM_ONE,
    "dataloader_num_workers": FROM_ZERO,
    "dataloader_prefetch_factor": FROM_ONE,
    "lora_r": FROM_ONE,
    "lora_alpha": FROM_ONE,
    "lora_dropout": SHARE,
    "generation_batch_size": FROM_ONE,
    "num_generations_eval": FROM_ONE,
    "epsilon_high": FROM_ZERO,
    "repetition_penalty": POSITIVE,
    "ref_model_mixup_alpha": SHARE,
    "ref_model_sync_steps": FROM_ONE,
    "top_entropy_quantile": SHARE,
    "num_completions_to_print": FROM_ZERO,
    "vllm_max_model_length": (2, math.inf),
    "vllm_server_port": PORT,
    "vllm_group_port": PORT,
    "vllm_server_timeout": POSITIVE,
    "vllm_importance_sampling_clip_min": FROM_ZERO,
    "vllm_importance_sampling_clip_max": FROM_ZERO,
    "ddp_timeout": FROM_ONE,
    "ddp_bucket_cap_mb": FROM_ONE,
    "eval_delay": FROM_ZERO,
    "eval_accumulation_steps": FROM_ONE,
    "torch_empty_cache_steps": FROM_ONE,
    "neftune_noise_alpha": FROM_ZERO,
    "router_aux_loss_coef": FROM_ZERO,
    "test_split_size": POSITIVE,
}


def out_of_bounds(key: str, value: object) -> str | None:
    """Why a number cannot be meant, in words; None when it can."""
    if key == "max_steps" and isinstance(value, int) and value != -1 and value < 1:
        return f"must be 1 or more, or -1 for as many as the epochs take, not {value}"
    if key == "report_to":
        named = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        wrong = [name for name in named if name not in TRACKERS]
        return f"must be of {', '.join(TRACKERS)}, not {wrong[0]}" if wrong else None
    if key not in BOUNDS or isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    low, high = BOUNDS[key]
    return None if low <= value <= high else f"must be {bounds_in_words(key)}, not {_shown(value)}"


def bounds_in_words(key: str) -> str:
    """`"top_p"` -> "above 0 and at most 1"; empty where any number will do."""
    if key not in BOUNDS:
        return ""
    low, high = BOUNDS[key]
    least = "above 0" if low == math.ulp(0.0) else f"{low:g} or more"
    return least if high == math.inf else f"{least} and at most {_shown(high)}"


def _shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
