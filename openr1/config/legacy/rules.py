"""What becomes of the keys of 2025: a table. The first rule of a key whose `when` holds is applied.

Sources: TRL's and transformers' fields then and now (`trl_fields.json` holds today's), open-r1's script
arguments, accelerate's configuration file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rule:
    """What happens to one old key.

    Args:
        says: what happens instead, for the notice; starts in lower case, no full stop.
        to: the key that takes its place, itself where only its meaning has to be explained; None = dropped.
        values: old value -> new one; others stay as they are.
        when: the old values this rule is for; empty = all. A list counts as each of its items.
        stages: the stages it is for.
    """

    says: str
    to: str | None = None
    values: Mapping[Any, Any] = field(default_factory=dict)
    when: tuple[Any, ...] = ()
    stages: tuple[str, ...] = ("sft", "grpo")

    def matches(self, stage: str, value: Any) -> bool:
        """Whether the rule is for this value."""
        items = value if isinstance(value, list) else [value]
        wanted = [(type(w), w) for w in self.when]
        return stage in self.stages and (not wanted or any((type(v), v) in wanted for v in items))


def _called(name: str) -> Rule:
    return Rule(f"is called {name} now", name)


GRPO, SFT = ("grpo",), ("sft",)

_PRECISION = "16-bit computing where the card has it; the plan keeps fp32 weights: no update is lost"
_NEVER_READ = "was never read, and is not now"
_ACCELERATE = Rule("accelerate's own setting; openr1 starts the processes itself, as many as the plan says")
_SANDBOX = Rule("code runs in openr1's own sandbox on this machine; no service is asked")
_PASS_RATE = Rule("filters data, which is `openr1 generate`'s job; `openr1 grpo` trains on all rows")
_FUSED = Rule("TRL's fused head takes Liger's place: the same loss, the logits never in memory at once")
_MACHINE = "what a card holds is this machine's matter: the plan chooses it"

# Keys that today's TRL and openr1 do not have.
GONE: dict[str, tuple[Rule, ...]] = {
    # precision and model
    "torch_dtype": (
        Rule(_PRECISION, when=("bfloat16", "bf16", "auto", None)),
        Rule("is called dtype now", "dtype"),
    ),
    "use_liger": (_FUSED,),
    "use_liger_loss": (_FUSED,),
    # lengths, data
    "max_seq_length": (_called("max_length"),),
    "dataset_configs": (Rule(f"{_NEVER_READ}: the default one is loaded; dataset_config names another"),),
    "preprocessing_num_workers": (Rule(f"{_NEVER_READ}; dataset_num_proc sets it"),),
    "dataset_batch_size": (Rule("TRL chooses it"),),
    "num_of_sequences": (Rule("packing no longer buffers sequences"),),
    "chars_per_token": (Rule("packing counts tokens now"),),
    # schedule, saving, evaluation
    "warmup_ratio": (Rule("is called warmup_steps now; below 1 it is a share of all steps", "warmup_steps"),),
    "evaluation_strategy": (_called("eval_strategy"),),
    "overwrite_output_dir": (Rule("the same command continues an unfinished run; --fresh starts over"),),
    "group_by_length": (
        Rule(
            "is called train_sampling_strategy now",
            "train_sampling_strategy",
            {True: "group_by_length"},
            when=(True,),
        ),
        Rule("is off by default"),
    ),
    "no_cuda": (_called("use_cpu"),),
    "use_mps_device": (Rule("is found by itself"),),
    # vLLM
    "vllm_device": (Rule("the plan places vLLM: on the training GPUs, or on those --gpus N leaves free"),),
    "vllm_dtype": (Rule("vLLM takes the training's 16-bit type"),),
    "vllm_max_model_len": (_called("vllm_max_model_length"),),
    "vllm_enable_prefix_caching": (Rule("vLLM's own default, which is on"),),
    "vllm_guided_decoding_regex": (_called("vllm_structured_outputs_regex"),),
    "wandb_log_unique_prompts": (_called("log_unique_prompts"),),
    # open-r1's scripts
    "num_processes": (
        Rule("means nothing, and meant nothing: the plan counts the processes", when=(0,)),
        Rule("so many training processes; see --gpus"),
    ),
    "benchmarks": (Rule("nothing is submitted while training; afterwards: openr1 eval TASK --model RUN"),),
    "callbacks": (Rule("with push_to_hub each checkpoint is a revision of its own (hub_step_revisions)"),),
    "hub_model_revision": (_called("hub_revision"),),
    "overwrite_hub_revision": (Rule(f"{_NEVER_READ}"),),
    "push_to_hub_revision": (Rule(f"{_NEVER_READ}; push_to_hub pushes"),),
    "env": (Rule("a recipe sets no environment variables: export them before the start"),),
    "code_provider": (_SANDBOX,),
    "ioi_provider": (_SANDBOX,),
    "e2b_router_url": (_SANDBOX,),
    "morph_router_url": (_SANDBOX,),
    "parallel_code_exec_per_proc": (_SANDBOX,),
    "code_eval_test_batch_size": (Rule("changes no reward; as many answers are judged at once as cores"),),
    "pass_rate_min": (_PASS_RATE,),
    "pass_rate_max": (_PASS_RATE,),
    "output_dataset_name": (_PASS_RATE,),
    "dataset_start_index": (_PASS_RATE,),
    "dataset_end_index": (_PASS_RATE,),
    "dataset_split": (_called("dataset_train_split"),),
    # accelerate's file
    "compute_environment": (_ACCELERATE,),
    "deepspeed_config": (Rule("the plan shares the model over the GPUs; `sharding: zero3` forces a way"),),
    "distributed_type": (Rule("the plan shares the model over the GPUs; `sharding: zero3` forces a way"),),
    "mixed_precision": (
        Rule("is called fp16 now", "fp16", {"fp16": True}, when=("fp16",)),
        Rule(_PRECISION),
    ),
    "num_machines": (_ACCELERATE,),
    "machine_rank": (_ACCELERATE,),
    "main_process_ip": (_ACCELERATE,),
    "main_process_port": (_ACCELERATE,),
    "main_training_function": (_ACCELERATE,),
    "rdzv_backend": (_ACCELERATE,),
    "same_network": (_ACCELERATE,),
    "gpu_ids": (_ACCELERATE,),
    "downcast_bf16": (_ACCELERATE,),
    "enable_cpu_affinity": (_ACCELERATE,),
    "dynamo_backend": (_ACCELERATE,),
    "tpu_env": (_ACCELERATE,),
    "tpu_use_cluster": (_ACCELERATE,),
    "tpu_use_sudo": (_ACCELERATE,),
}

# Keys that are still there and mean something else in a file of 2025.
CHANGED: dict[str, tuple[Rule, ...]] = {
    "dtype": (Rule(_PRECISION, when=("bfloat16", "auto")),),
    "bf16": (Rule(_PRECISION, when=(True,)),),
    "attn_implementation": (
        Rule(
            "taken where flash-attn is installed and the card runs it, else sdpa: the same numbers",
            when=("flash_attention_2", "flash_attention_3"),
        ),
    ),
    "use_liger_kernel": (_FUSED,),
    "use_vllm": (
        Rule("vLLM where it is installed and there is a GPU; the plan says how", when=(True,), stages=GRPO),
    ),
    "vllm_gpu_memory_utilization": (
        Rule("was the share of vLLM's own GPU; the plan sizes its share beside training", stages=GRPO),
    ),
    "vllm_server_host": (Rule("the plan places vLLM; your own server: vllm_server_base_url", stages=GRPO),),
    "per_device_eval_batch_size": (Rule(_MACHINE),),
    "max_prompt_length": (
        Rule("prompts were cut to it; nothing is cut now, it bounds the memory plan", "max_prompt_length"),
    ),
    "scale_rewards": (
        Rule("is spelt group now", "scale_rewards", {True: "group"}, when=(True,), stages=GRPO),
        Rule("is spelt none now", "scale_rewards", {False: "none"}, when=(False,), stages=GRPO),
    ),
    "packing_strategy": (
        Rule("first-fit is gone; best-fit is the nearest", "packing_strategy", {"ffd": "bfd"}, ("ffd",), SFT),
        Rule("is called bfd_split now", "packing_strategy", {"bfd-requeue": "bfd_split"}, ("bfd-requeue",)),
    ),
    "system_prompt": (Rule("went to the benchmarks alone; the training data stays as it is", stages=SFT),),
    "reward_funcs": (
        Rule(
            "C++ and contests are judged on this machine, in openr1's sandbox (with g++); no Piston is asked",
            "reward_funcs",
            when=("cf_code", "ioi_code"),
            stages=GRPO,
        ),
    ),
    "cosine_max_len": (
        Rule(
            "counted characters; it counts tokens now (reward_compat: open-r1 counts as then)",
            "cosine_max_len",
            stages=GRPO,
        ),
    ),
    "push_to_hub": (
        Rule(
            "as asked, the model goes to the hub, private unless hub_private_repo says otherwise; "
            "--push_to_hub false keeps it here",
            "push_to_hub",
            when=(True,),
        ),
    ),
    "report_to": (
        Rule("as asked, metrics go to W&B; --report_to none keeps them here", "report_to", when=("wandb",)),
    ),
    "hub_token": (Rule("a token does not belong in a file: hf auth login, or export HF_TOKEN"),),
    "push_to_hub_token": (Rule("a token does not belong in a file: hf auth login, or export HF_TOKEN"),),
    "debug": (Rule("accelerate's own setting", when=(False, True)),),
    "output_dir": (
        Rule("the run's folder: its model lies in model/ below, checkpoints in checkpoints/", "output_dir"),
    ),
}
# Values that must not be shown.
SECRET = ("hub_token", "push_to_hub_token", "env")
