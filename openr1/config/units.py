"""Units of the upstream keys whose own help does not name one. Ours name theirs in their docstrings."""

from __future__ import annotations

TOKENS = "tokens"
STEPS = "optimizer steps; below 1 a share of all steps"

UNITS: dict[str, str] = {
    "max_length": TOKENS,
    "max_completion_length": TOKENS,
    "vllm_max_model_length": TOKENS,
    "max_steps": "optimizer steps",
    "warmup_steps": STEPS,
    "logging_steps": STEPS,
    "save_steps": STEPS,
    "eval_steps": STEPS,
    "num_train_epochs": "passes over the dataset",
    "per_device_train_batch_size": "rows (sft) or completions (grpo) per device and micro-batch",
    "per_device_eval_batch_size": "rows (sft) or completions (grpo) per device",
    "gradient_accumulation_steps": "micro-batches per optimizer step",
    "num_generations": "completions per prompt",
    "generation_batch_size": "completions per rollout, over all devices",
    "steps_per_generation": "micro-batches per rollout",
    "num_iterations": "updates per rollout",
    "learning_rate": "step size at the peak of the schedule",
    "beta": "weight of the KL term; 0 loads no reference model",
    "save_total_limit": "checkpoints kept",
    "vllm_gpu_memory_utilization": "share of a GPU's memory",
    "vllm_tensor_parallel_size": "GPUs",
    "vllm_server_timeout": "seconds",
    "ddp_timeout": "seconds",
    "dataset_num_proc": "processes",
    "dataloader_num_workers": "processes per rank",
    "weight_decay": "per unit of learning rate",
    "max_grad_norm": "norm of the whole gradient",
}
