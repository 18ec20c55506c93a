"""What each old file must come to, written down by hand from the recipes and from the TRL of their time.

`asked` are values that resolving must give; `pinned` those that come from the defaults of its time; `plan` is
what eight H100 make of it: ranks, and how vLLM runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "legacy"

COSINE = {"lr_scheduler_type": "cosine"}
MIN_LR = {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}}
EVALUATES = {"do_eval": True, "eval_strategy": "steps", "eval_steps": 100.0}
WRAPPED = {"packing_strategy": "wrapped", "average_tokens_across_devices": False}
OWN_TOKENS = {"average_tokens_across_devices": False}
SMOL = {
    "learning_rate": 5e-5, "lr_scheduler_type": "linear", "warmup_steps": 0.1, "weight_decay": 1e-4,
    "num_train_epochs": 3.0, "max_length": 8192, "packing": True, "optim": "adamw_torch", "save_steps": 500.0,
    "save_total_limit": 1, "attn_implementation": "sdpa", "dataset_config": None, "eval_strategy": "no",
    "dataset_name": "open-r1/OpenR1-Math-220k", "dataset_num_proc": 48,
}  # fmt: skip
MATH_220K = {
    "learning_rate": 5e-5, "warmup_steps": 0.05, "num_train_epochs": 1.0, "max_length": 16384,
    "save_steps": 100.0, "save_total_limit": 1, "dataset_name": "open-r1/OpenR1-Math-220k",
    "dataset_config": None, "dataset_num_proc": 48, "eval_strategy": "no", "use_liger_kernel": False,
}  # fmt: skip
S1 = "A conversation between User and Assistant."
S2 = "You are a helpful AI Assistant that provides well-reasoned and detailed responses."
S3 = "You are a helpful AI Assistant, designed to provided well-reasoned"

GRPO_PINS = {"use_bias_correction_kl": False, "vllm_importance_sampling_correction": False}
FEB_GRPO = {
    **GRPO_PINS,
    "beta": 0.04,
    "temperature": 0.9,
    "loss_type": "grpo",
    "reward_funcs": ["accuracy", "format", "reasoning_steps", "cosine"],
    "cosine_min_value_wrong": 0.0,
}
JULY_GRPO = {**GRPO_PINS, "beta": 0.04, "loss_type": "bnpo"}


@dataclass(frozen=True)
class Expected:
    stage: str
    vintage: str | None
    batch: int | None
    """Rows or completions per optimizer step; None where the file does not say on how many GPUs."""
    asked: dict[str, Any]
    pinned: dict[str, Any] = field(default_factory=dict)
    gpus: int | None = None
    ranks: int = 8
    vllm: str | None = None
    begins: str | None = None
    """The system prompt's first words."""


def sft(vintage: str | None, batch: int | None, pinned: dict[str, Any], /, **asked: Any) -> Expected:
    return Expected("sft", vintage, batch, asked, pinned)


def grpo(vintage: str, batch: int | None, pinned: dict[str, Any], /, **asked: Any) -> Expected:
    more = {k: asked.pop(k) for k in ("gpus", "ranks", "vllm", "begins") if k in asked}
    return Expected("grpo", vintage, batch, asked, pinned, **({"vllm": "colocate"} | more))


FEB, JULY = "open-r1 2025-02", "open-r1 2025-07"
OLD_FILES: dict[str, Expected] = {
    # 2 x 8 on 8 GPUs
    "sft-2025-02-qwen1.5b": sft(
        FEB, 128, WRAPPED, **COSINE, **EVALUATES, learning_rate=2e-5, warmup_steps=0.1, num_train_epochs=1.0,
        max_length=4096, packing=True, max_grad_norm=1.0, save_strategy="no", logging_steps=5.0,
        dataset_name="HuggingFaceH4/Bespoke-Stratos-17k", dataset_config=None, loss_type="nll",
    ),
    # 16 x 1 on 8 GPUs
    "sft-2025-07-qwen1.5b": sft(
        JULY, 128, OWN_TOKENS, **MIN_LR, learning_rate=4e-5, warmup_steps=0.05, num_train_epochs=1.0,
        max_length=32768, packing=False, use_liger_kernel=False, dataset_num_proc=48, dataset_config="all",
        save_strategy="steps", save_steps=100.0, save_total_limit=1, eval_strategy="no", do_eval=False,
    ),
    # 2 x 8 on 8 GPUs
    "sft-2025-07-openr1-distill-7b": sft(
        JULY, 128, OWN_TOKENS, **MIN_LR, learning_rate=4e-5, warmup_steps=0.03, num_train_epochs=5.0,
        max_length=32768, packing=False, max_grad_norm=0.2, eos_token="<|im_end|>", save_strategy="epoch",
        dataset_name="open-r1/Mixture-of-Thoughts", model_name_or_path="open-r1/Qwen2.5-Math-7B-RoPE-300k",
    ),
    "sft-2025-07-olympiccoder-7b": sft(
        JULY, 128, OWN_TOKENS, **MIN_LR, learning_rate=1e-5, warmup_steps=0.03, num_train_epochs=10.0,
        max_length=32768, packing=False, max_grad_norm=0.2, dataset_config="solutions_decontaminated",
    ),
    # 1 x 1 on 16 nodes of 8
    "sft-2025-07-olympiccoder-32b": sft(
        JULY, 128, OWN_TOKENS, **MIN_LR, learning_rate=4e-5, warmup_steps=0.03, num_train_epochs=10.0,
        max_length=22528, packing=False, max_grad_norm=0.2, optim="paged_adamw_8bit", save_only_model=True,
        hub_always_push=True,
    ),
    # 1 x 2 on 8 GPUs; it never packed, so no packing is pinned
    "sft-2025-02-openr1-qwen-7b": sft(
        FEB, 16, OWN_TOKENS, learning_rate=5e-5, lr_scheduler_type="linear", warmup_steps=0.1,
        weight_decay=1e-4, num_train_epochs=3.0, max_length=32768, packing=False, packing_strategy="bfd",
        optim="adamw_torch", attn_implementation="sdpa", save_steps=500.0,
    ),
    # 1 x 4 on 4 nodes of 8; `eval_strategy: no` without quotes, and do_eval beside it evaluated nothing
    "sft-2025-02-mistral-small-24b": sft(
        FEB, 128, WRAPPED, **COSINE, learning_rate=2e-5, warmup_steps=0.1, num_train_epochs=5.0,
        max_length=32768, packing=True, do_eval=False, eval_strategy="no", save_strategy="epoch",
        save_total_limit=2, logging_steps=1.0, dataset_name="yentinglin/OpenR1-Math-220k-trl-format",
        model_name_or_path="mistralai/Mistral-Small-24B-Instruct-2501", max_grad_norm=1.0,
    ),
    # 4 x 2 on 8 GPUs
    "sft-2025-02-smollm2-1.7b": sft(
        FEB, 64, WRAPPED, **SMOL, model_name_or_path="HuggingFaceTB/SmolLM2-1.7B",
    ),
    "sft-2025-02-smollm2-1.7b-instruct": sft(
        FEB, 64, WRAPPED, **SMOL, model_name_or_path="HuggingFaceTB/SmolLM2-1.7B-Instruct",
    ),
    # 16 x 1 on 8 GPUs: the demo between its first version and its last
    "sft-2025-02-qwen1.5b-220k": sft(FEB, 128, WRAPPED, **MIN_LR, **MATH_220K, packing=True),
    "sft-2025-07-qwen1.5b-220k": sft(
        JULY, 128, OWN_TOKENS, **MIN_LR, **MATH_220K, packing=False, packing_strategy="bfd",
    ),
    # 4 x 4 on one RTX 3060
    "light-sft": sft(
        FEB, 16, WRAPPED, **COSINE, **EVALUATES, learning_rate=2e-5, warmup_steps=0.1, num_train_epochs=1.0,
        max_length=512, packing=True, save_strategy="no", push_to_hub=False, report_to=["wandb"],
        dataset_num_proc=None, dtype="float32",
    ),
    # 2 x 16 on 7 GPUs: 112 prompts of 2
    "grpo-2025-02-qwen1.5b": grpo(
        FEB, 224, FEB_GRPO, **COSINE, **EVALUATES, learning_rate=2e-5, warmup_steps=0.1, num_generations=2,
        max_prompt_length=512, max_completion_length=1024, num_train_epochs=1.0, reward_weights=None,
        top_k=0, scale_rewards="group", gpus=7, ranks=7, vllm="server", begins=S1,
    ),
    # the same without num_processes: seven ranks all the same, one GPU generated
    "grpo-2025-02-r1-distill-qwen-7b": grpo(
        FEB, 224, FEB_GRPO, **COSINE, **EVALUATES, learning_rate=2e-5, warmup_steps=0.1, num_generations=2,
        max_prompt_length=512, max_completion_length=1024, begins=S1,
    ),
    # 2 x 8 on 7 GPUs: 16 prompts of 7
    "grpo-2025-02-simple-rl": grpo(
        FEB, 112, FEB_GRPO, **COSINE, **EVALUATES, learning_rate=3e-6, warmup_steps=0.1, num_generations=7,
        max_prompt_length=512, max_completion_length=1024, save_strategy="no", gpus=7, ranks=7, vllm="server",
        begins=S1, model_name_or_path="Qwen/Qwen2.5-Math-7B", dataset_config=None,
    ),
    # 16 x 4 on 8: 32 prompts of 16
    "grpo-2025-07-qwen1.5b": grpo(
        JULY, 512, JULY_GRPO, **COSINE, learning_rate=2e-5, warmup_steps=0.1, num_generations=16,
        max_prompt_length=512, max_completion_length=1024, temperature=1.0, scale_rewards="group",
        reward_funcs=["accuracy", "format", "tag_count"], reward_weights=[1.0, 1.0, 1.0],
        dataset_prompt_column="problem", save_strategy="epoch", save_total_limit=1, log_completions=True,
        begins=S2,
    ),
    # 16 x 8 on 7: 128 prompts of 7
    "grpo-2025-07-simple-rl": grpo(
        JULY, 896, JULY_GRPO, **COSINE, **EVALUATES, learning_rate=3e-6, warmup_steps=0.1, num_generations=7,
        max_prompt_length=512, max_completion_length=1024, temperature=1.0, dataset_config="default",
        reward_funcs=["accuracy", "format"], reward_weights=[1.0, 1.0], save_strategy="no", begins=S3,
    ),
    "grpo-2025-07-r1-distill-qwen-1.5b": grpo(
        JULY, 512, JULY_GRPO, **MIN_LR, learning_rate=1e-6, warmup_steps=0.1, num_generations=16,
        max_prompt_length=512, max_completion_length=2048, temperature=0.7, use_liger_kernel=False,
        reward_funcs=["accuracy", "format", "tag_count"], begins=S2,
    ),
    # 16 x 4 on 7: 32 prompts of 14 (eight ranks do not hold whole groups)
    "grpo-2025-07-code": grpo(
        JULY, 448, {**GRPO_PINS, "loss_type": "bnpo"}, **MIN_LR, learning_rate=5e-6, warmup_steps=0.03,
        num_generations=14, max_prompt_length=1024, max_completion_length=2048, beta=0.01, temperature=1.0,
        max_steps=500, reward_funcs=["code", "format"], reward_weights=[1.0, 0.1], save_steps=50.0,
        dataset_prompt_column="problem_statement", begins=S2,
    ),
    "grpo-2025-07-code-ioi": grpo(
        JULY, 448, {**GRPO_PINS, "loss_type": "bnpo"}, **MIN_LR, learning_rate=5e-6, warmup_steps=0.03,
        num_generations=14, max_completion_length=2048, beta=0.01, temperature=1.0, max_steps=500,
        reward_funcs=["ioi_code", "code_format", "format"], reward_weights=[1.0, 0.1, 0.1],
        code_language="cpp", begins=S2,
    ),
    # 4 x 32 on 8: 64 prompts of 16; without KL there is no KL term to correct
    "grpo-2025-07-codeforces": grpo(
        JULY, 1024, {"vllm_importance_sampling_correction": False}, lr_scheduler_type="constant_with_warmup",
        learning_rate=1e-6, warmup_steps=0.1, num_generations=16, max_prompt_length=2000,
        max_completion_length=8192, beta=0.0, loss_type="dr_grpo", scale_rewards="none",
        mask_truncated_completions=True, temperature=0.7, num_train_epochs=4.0, max_grad_norm=0.2,
        reward_funcs=["cf_code", "code_format"], reward_weights=[1.0, 0.1], save_steps=0.05,
        code_eval_scoring_mode="weighted_sum",
        hub_revision="v01.00", wandb_project="open-r1", wandb_entity="huggingface", begins=S2,
    ),
    # 4 x 16 on 8: 32 prompts of 16
    "grpo-2025-07-qwen7b-instruct": grpo(
        JULY, 512, {**GRPO_PINS, "loss_type": "bnpo"}, lr_scheduler_type="constant_with_warmup",
        learning_rate=1e-6, warmup_steps=0.1, num_generations=16, max_prompt_length=1024,
        max_completion_length=4096, beta=0.001, temperature=0.7, max_grad_norm=0.2,
        reward_funcs=["accuracy", "format"], reward_weights=[1.0, 0.2], save_steps=0.1, begins=S2,
    ),
    # 2 x 1 on one RTX 3060: one prompt of 2; transformers generated, and kept 50 tokens by itself
    "light-grpo": Expected(
        "grpo", FEB, 2,
        dict(
            **COSINE, **EVALUATES, learning_rate=5e-6, warmup_steps=0.1, num_generations=2, use_vllm=False,
            max_prompt_length=512, max_completion_length=200, max_grad_norm=0.1, num_train_epochs=1.0,
            save_strategy="no", save_steps=35.0, push_to_hub=True, hub_private_repo=True,
            vllm_gpu_memory_utilization=0.3,
        ),
        {k: v for k, v in FEB_GRPO.items() if not k.startswith("vllm")} | {"top_k": 50},
        ranks=2, begins=S1,
    ),
    "pass-rate-demo": grpo(
        JULY, None, {**JULY_GRPO, "max_prompt_length": 512}, learning_rate=1e-6, num_generations=8,
        max_completion_length=2048, temperature=0.7, top_p=0.95, reward_funcs=["accuracy"], begins=S2,
    ),
    "pass-rate-dapo": grpo(
        JULY, None, {**JULY_GRPO, "max_prompt_length": 512}, num_generations=8, max_completion_length=32000,
        temperature=1.0, dataset_config="all", dataset_train_split="train", reward_funcs=["accuracy"],
    ),
    "pass-rate-python": grpo(
        JULY, None, {**JULY_GRPO, "max_prompt_length": 512}, num_generations=8, max_completion_length=16000,
        temperature=0.7, reward_funcs=["binary_code"], dataset_prompt_column="problem_statement",
    ),
    # A flat file of TRL's: nobody knows on how many GPUs it ran, so its per-device numbers stay
    "trl-2025-02-sft": sft(
        "TRL 2025-02", None, WRAPPED, learning_rate=2e-4, max_length=2048, packing=True, use_peft=True,
        lora_r=32, lora_alpha=16, per_device_train_batch_size=2, gradient_accumulation_steps=8,
        train_sampling_strategy="random", eval_strategy="steps",
    ),
    "trl-2025-07-grpo": grpo(
        "TRL 2025-07", None, JULY_GRPO, learning_rate=1e-5, num_generations=8, max_prompt_length=256,
        max_completion_length=128, top_p=0.9, scale_rewards="group", vllm_mode="colocate",
        per_device_train_batch_size=8, gradient_accumulation_steps=2,
    ),
    "trl-today-sft": sft(
        None, None, {}, learning_rate=2e-5, max_length=2048, packing=True, packing_strategy="bfd",
        dtype="bfloat16", bf16=True, per_device_train_batch_size=2, average_tokens_across_devices=True,
    ),
}  # fmt: skip
