"""Which time and which program a flat file is of, told by its keys.

A key that did not exist in February 2025 makes a file younger than that; dead keys linger in younger files,
so the newest key decides.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from openr1.config.origins import Vintage as Name

Program = Literal["open-r1", "TRL"]
Month = Literal["2025-02", "2025-07"]
NAMES: dict[tuple[Program, Month], Name] = {
    ("open-r1", "2025-02"): "open-r1 2025-02",
    ("open-r1", "2025-07"): "open-r1 2025-07",
    ("TRL", "2025-02"): "TRL 2025-02",
    ("TRL", "2025-07"): "TRL 2025-07",
}

# Keys that came after February 2025 (open-r1 9be2e9a, TRL b9df810) and stand in recipes for TRL 0.18.
YOUNGER = (
    "dataset_prompt_column",
    "dataset_mixture",
    "callbacks",
    "benchmarks",
    "max_length",
    "use_liger_kernel",
    "eos_token",
    "packing_strategy",
    "padding_free",
    "completion_only_loss",
    "loss_type",
    "scale_rewards",
    "mask_truncated_completions",
    "epsilon_high",
    "num_iterations",
    "top_p",
    "vllm_mode",
    "vllm_tensor_parallel_size",
    "code_provider",
    "code_eval_test_batch_size",
    "code_eval_scoring_mode",
    "parallel_code_exec_per_proc",
    "num_completions_to_print",
    "wandb_log_unique_prompts",
    "pass_rate_min",
    "pass_rate_max",
    "output_dataset_name",
)
# Keys of February 2025 that younger recipes no longer hold, or hold beside younger ones.
OLDER = (
    "vllm_device",
    "vllm_dtype",
    "vllm_max_model_len",
    "max_seq_length",
    "dataset_configs",
    "preprocessing_num_workers",
    "use_liger",
    "num_processes",
    "evaluation_strategy",
    "dataset_batch_size",
    "num_of_sequences",
    "chars_per_token",
)
# TRL dropped `max_prompt_length` (trl#4300, October 2025), openr1 has a key of that name: beside one of
# these, which nothing of mid 2025 knew, it is openr1's own.
OF_TODAY = (
    "global_batch_size",
    "limit",
    "eval_limit",
    "eval_split_size",
    "eval_tasks_steps",
    "sharding",
    "allow_lora",
    "threads",
    "reward_compat",
    "dataset_solution_column",
    "dataset_revision",
    "trim_micro_batches",
    "micro_batch_by",
    "micro_batch_tokens",
    "skip_idle_rows",
    "drop_finished_rows",
    "log_samples",
    "dtype",
    "vllm_max_model_length",
    "vllm_importance_sampling_correction",
)
DATES_GRPO = "max_prompt_length"
# What only open-r1's scripts and recipes know, not TRL's own.
OPEN_R1_KEYS = (
    "num_processes",
    "dataset_configs",
    "dataset_prompt_column",
    "system_prompt",
    "callbacks",
    "benchmarks",
    "hub_model_revision",
    "wandb_project",
    "wandb_entity",
    "cosine_max_len",
    "repetition_n_grams",
    "code_language",
    "pass_rate_min",
    "pass_rate_max",
)
OPEN_R1_WORDS = ("open-r1", "openr1", "open_r1", "simple-rl", "simple_rl", "olympiccoder")
NAMES_A_RUN = ("hub_model_id", "output_dir", "output_dataset_name")


@dataclass(frozen=True)
class Vintage:
    """The program and the month whose defaults a file relied on, and what told them."""

    program: Program
    month: Month
    told_by: tuple[str, ...]

    @property
    def name(self) -> Name:
        return NAMES[self.program, self.month]

    @property
    def words(self) -> str:
        """For a notice: why the file is taken for what it is."""
        keys = ", ".join(f"`{key}`" for key in self.told_by[:3])
        return f"read as a file of {self.name} (it holds {keys})"


def old_keys_of(values: Container[str], stage: str, gone: set[str]) -> set[str]:
    """Keys that make a file old.

    Args:
        values: the file's keys.
        gone: keys that today's TRL and openr1 do not have, but once had.
    """
    dated = stage == "grpo" and not any(key in values for key in OF_TODAY)
    return gone | {DATES_GRPO} if dated else gone


def vintage_of(values: dict[str, object], old_keys: Container[str]) -> Vintage | None:
    """The vintage of a flat file's plain values; None for one in which nothing is old.

    Args:
        old_keys: from `old_keys_of`.
    """
    old = tuple(key for key in values if key in old_keys)
    if not old:
        return None
    younger = tuple(key for key in YOUNGER if key in values)
    older = tuple(key for key in OLDER if key in values)
    month: Month = "2025-02" if older and not younger else "2025-07"
    names = " ".join(str(values.get(key) or "") for key in NAMES_A_RUN).lower()
    is_open_r1 = any(key in values for key in OPEN_R1_KEYS) or any(w in names for w in OPEN_R1_WORDS)
    told_by = dict.fromkeys((*(older if month == "2025-02" else younger), *old))
    return Vintage("open-r1" if is_open_r1 else "TRL", month, tuple(told_by))
