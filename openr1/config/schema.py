"""openr1's own fields, by stage. TRL's and transformers' fields are in `catalogue`.

The docstring under a field is its help text; it names the unit. Bounds live here and nowhere else.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from openr1.config.catalogue import in_words
from openr1.config.references import is_reference

BACKEND_NAMES = ("auto", "vllm", "server", "transformers")
Stage = Literal["sft", "grpo", "eval", "generate"]
STAGES: tuple[Stage, ...] = ("sft", "grpo", "eval", "generate")


class _Fields(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        strict=True,  # `true` is no number, and "yes" no switch
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        populate_by_name=True,
    )

    stage: Stage | None = None
    """What the section does; a section named sft, grpo, eval or generate needs no `stage`."""

    @field_validator("*", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        """`1e3` is a whole number too."""
        return int(value) if isinstance(value, float) and value.is_integer() else value


class TrainFields(_Fields):
    """What both training stages add to TRL's fields."""

    from_: str | None = Field(None, alias="from")
    """Name of the training section this one starts from; default: the training section before it."""
    dataset_name: str | dict[str, str] | None = None
    """Hub dataset, local file or folder, builtin:NAME, or {from: NAME}, the export of a generate section."""
    global_batch_size: int | None = Field(None, ge=1)
    """Rows (sft) or completions (grpo) per optimizer step, over all devices and accumulation steps."""
    limit: int | None = Field(None, ge=1)
    """Train on the first so many rows of the dataset only."""
    system_prompt: str | None = None
    """Text of a system message put before every conversation that has none."""
    dataset_prompt_column: str | None = None
    """Column that holds the prompt; found by name (prompt, problem, question) when not given."""
    dataset_solution_column: str | None = None
    """Column that holds the gold answer; found by name (solution, answer, ground_truth) when not given."""
    dataset_revision: str | None = None
    """Branch, tag or commit of a hub dataset."""
    dataset_mixture: dict[str, Any] | None = None
    """Several datasets, as open-r1: {datasets: [{id, config, split, columns, weight}], seed, ...}."""
    eval_split_size: float | None = Field(None, gt=0)
    """Rows (from 1) or share (below 1) held out of the training rows for evaluation while training."""
    eval_limit: int | None = Field(None, ge=1)
    """Evaluate while training on the first so many held-out rows only."""
    eval_tasks_steps: int | None = Field(None, ge=1)
    """Run the recipe's first eval section, with protocol quick, every so many optimizer steps of training."""
    chat_template: str | None = None
    """Chat template instead of the tokenizer's own: chatml, deepseek-r1, plain, a path, or Jinja text."""
    threads: int | None = Field(None, ge=1)
    """CPU threads per process; probed at the first start and stored when not given."""
    sharding: Literal["auto", "ddp", "zero2", "zero3"] = "auto"
    """How ranks share weights and optimizer states; auto takes the first of ddp, zero2, zero3 that fits."""
    allow_lora: bool = False
    """Let the plan train LoRA adapters where the whole model does not fit."""
    wandb_project: str | None = None
    """W&B project, where report_to names wandb; WANDB_PROJECT, else openr1, when not given."""
    wandb_entity: str | None = None
    """W&B user or team; WANDB_ENTITY, else your own, when not given."""
    wandb_run_group: str | None = None
    """W&B group of runs; WANDB_RUN_GROUP when not given."""
    hub_step_revisions: bool = True
    """With push_to_hub: each checkpoint is a revision of its own, `{hub_revision or main}-step-000000050`."""
    max_prompt_length: int | None = Field(None, ge=1)
    """Longest prompt to plan memory for, in tokens; 512 is assumed when not given. Nothing is cut."""
    trim_micro_batches: bool = True
    """Form micro-batches by length and cut each to its own longest row. The gradient stays the same."""
    micro_batch_by: Literal["tokens", "rows"] = "tokens"
    """What fills a micro-batch: rows up to a number of tokens, or always per_device_train_batch_size rows."""
    micro_batch_tokens: int | None = Field(None, ge=1)
    """Most tokens of a micro-batch, padding included; default: per_device_train_batch_size longest rows."""

    @field_validator("eval_split_size")
    @classmethod
    def _rows_or_a_share(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("must be a whole number of rows, or a share below 1")
        return value

    @field_validator("dataset_name")
    @classmethod
    def _a_name_or_from(cls, value: Any) -> Any:
        if isinstance(value, dict) and set(value) != {"from"}:
            raise ValueError("must be a name, or {from: NAME} with the name of a generate section")
        return value


class SftFields(TrainFields):
    """Supervised fine-tuning."""

    dataset_completion_column: str | None = None
    """Column that holds the answer to learn; found by name (completion, response, …) when not given."""
    dataset_messages_column: str | None = None
    """Column that holds whole conversations; found by name (messages, conversations) when not given."""
    reasoning_style: Literal["think", "think_answer", "keep"] = "think"
    """How reasoning is written: <think> blocks, also <answer> around the rest, or kept as the data has it."""


class GrpoFields(TrainFields):
    """Group relative policy optimisation (DeepSeekMath, arXiv:2402.03300)."""

    reward_funcs: list[str | dict[str, dict[str, Any]]] = ["accuracy", "format"]
    """Rewards by name, `file.py:function`, `package.module:function`, or `{name: {parameter: value}}`."""
    reward_compat: Literal["open-r1"] | None = None
    """`open-r1` takes upstream's exact reward values, its defects included."""
    cosine_min_value_wrong: float | None = None
    """cosine reward: value of the shortest wrong answer."""
    cosine_max_value_wrong: float | None = None
    """cosine reward: value of the longest wrong answer."""
    cosine_min_value_correct: float | None = None
    """cosine reward: value of the longest right answer."""
    cosine_max_value_correct: float | None = None
    """cosine reward: value of the shortest right answer."""
    cosine_max_len: int | None = Field(None, ge=1)
    """cosine reward: length at which it ends, in tokens (in characters with reward_compat)."""
    repetition_n_grams: int | None = Field(None, ge=1)
    """repetition_penalty reward: words per n-gram."""
    repetition_max_penalty: float | None = Field(None, le=0)
    """repetition_penalty reward: value when everything repeats."""
    max_completion_len: int | None = Field(None, ge=1)
    """soft_overlong_punishment reward: length from which it is -1, in tokens."""
    soft_punish_cache: int | None = Field(None, ge=0)
    """soft_overlong_punishment reward: tokens before that over which it falls from 0 to -1."""
    code_eval_scoring_mode: Literal["weighted_sum", "partial", "pass_fail"] | None = None
    """cf_code reward: 1 for all tests + a tenth of the share passed, that share, or 1 for all tests."""
    code_language: str | None = None
    """code_format reward: language of the fenced block."""
    skip_idle_rows: bool = True
    """Do not forward completions whose gradient is exactly zero (all rewards of a group equal, beta 0)."""
    drop_finished_rows: bool | None = None
    """Rollouts without vLLM: stop decoding completions that have ended. On a CPU when not given."""
    log_samples: int = Field(16, ge=0)
    """Completions kept per logged step in samples/completions.jsonl; 0 keeps none."""

    @field_validator("reward_funcs", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, (str, dict)) else value


class SamplingFields(_Fields):
    """How completions are drawn."""

    model_name_or_path: str | None = None
    """Hub id, local folder, finished run, or builtin:NAME."""
    model_revision: str | None = None
    """Branch, tag or commit of a hub model."""
    trust_remote_code: bool = False
    """Run code that a hub repository brings. Off unless you have read that code."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Weights' number format; auto is the checkpoint's own, float32 on a CPU."""
    top_k: int | None = Field(None, ge=1)
    """Keep the k most likely tokens only; off when not given."""
    batch_size: int | None = Field(None, ge=1)
    """Completions generated side by side on this machine; chosen from the machine when not given."""
    backend: str = "auto"
    """What samples: vllm in process, server (a vLLM server started for the run), transformers, or
    `file.py:CLASS`; auto: the plan's."""
    parallel: Literal["data", "tensor"] | None = None
    """Several GPUs: one engine each (data), or one over all (tensor); the plan's choice when not given."""
    tensor_parallel: int | None = Field(None, ge=1)
    """GPUs of one node that share every layer of an engine; the plan's choice when not given."""
    pipeline_parallel: int | None = Field(None, ge=1)
    """Nodes over which an engine's layers are spread; the plan's choice when not given."""
    executor: Literal["mp", "ray"] = "mp"
    """What joins the nodes of an engine: vLLM's own multi-node mode (mp), or a Ray cluster started for it."""
    processes: int | None = Field(None, ge=1, le=64)
    """Engine processes on a machine without GPU; one when not given."""
    max_model_length: int | None = Field(None, ge=2)
    """Longest prompt and completion together, in tokens, that vLLM makes room for; by default the model's."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of a card's memory that vLLM takes."""
    server: list[str] = Field(default_factory=list)
    """Addresses of running OpenAI-compatible servers, which sample instead of a model loaded here."""
    server_timeout: float = Field(1800.0, gt=0)
    """Seconds one completion of a server may take before it is asked again."""
    limit: int | None = Field(None, ge=1)
    """Use the first so many problems only."""
    seed: int = Field(42, ge=0, le=2**32 - 1)
    """Seed of the sampling; every sample's own seed derives from it."""
    system_prompt: str | None = None
    """Text of a system message put before every problem."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; all usable cores when not given."""
    output_dir: str | None = None
    """The run's folder, instead of one named after recipe, section and configuration."""
    run_name: str | None = None
    """The run folder's name under runs/, instead of the derived one."""

    @field_validator("server", mode="before")
    @classmethod
    def _one_server_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("backend")
    @classmethod
    def _a_backend(cls, value: str) -> str:
        if value not in BACKEND_NAMES and not is_reference(value):
            raise ValueError(f"must be one of {', '.join(BACKEND_NAMES)}, or file.py:CLASS")
        return value


class EvalFields(SamplingFields):
    """Evaluation on problems with verifiable answers."""

    tasks: list[str] = Field(default_factory=list)
    """Names of tasks, or builtin:NAME."""
    of: list[str] | None = None
    """Sections whose models are evaluated; default: every training section and what it started from."""
    protocol: Literal["quick", "open-r1", "r1-paper", "open-r1-2025-02"] | None = None
    """Named set of prompt, sampling, answers per problem and length; by default the machine's profile's."""
    num_samples: int | None = Field(None, ge=1, le=1024)
    """Completions per problem; the score is the mean over them. The protocol's when not given."""
    temperature: float | None = Field(None, ge=0, le=10)
    """Sampling temperature; 0 is greedy. The protocol's when not given."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Nucleus sampling's probability mass; not used at temperature 0. The protocol's when not given."""
    max_new_tokens: int | None = Field(None, ge=1)
    """Longest completion, in tokens; longer ones count as truncated. The protocol's when not given."""
    prefill: str | None = None
    """Text the answer is made to begin with, such as `<think>`; the protocol's when not given, "" is none."""
    chat_template: str | None = None
    """Jinja chat template (text or a path) used instead of the tokenizer's own."""
    dataset: str | None = None
    """Local JSONL or Parquet file, or a folder of such, with the tasks' problems instead of the hub's."""
    problem_column: str | None = None
    """Column that holds the problem; found by name when not given."""
    answer_column: str | None = None
    """Column that holds the gold answer; found by name when not given."""
    custom_tasks: str | None = None
    """Python file with lighteval tasks (TASKS_TABLE), for `lighteval:TASK`."""

    @field_validator("tasks", "of", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class GenerateFields(SamplingFields):
    """Sampling completions for a dataset, and what is made of them."""

    from_: str | None = Field(None, alias="from")
    """Name of the training section whose model is sampled; default: the training section before it."""
    from_run: str | None = None
    """A finished generate run (folder or name) whose samples are taken instead of sampling: `--from`."""
    only: list[Literal["verify", "filter", "decontaminate", "export"]] | None = None
    """Steps after sampling; all for which there is something to do when not given."""
    dataset_name: str | None = None
    """Hub dataset, local JSONL or Parquet file, or builtin:NAME."""
    dataset_config: str | None = None
    """Configuration of a hub dataset."""
    dataset_split: str = "train"
    """Split of the dataset."""
    prompt_column: str | None = None
    """Column that holds the prompt; found by name (prompt, problem, question) when not given."""
    prompt_template: str | None = None
    """Jinja text, or a file, around the prompt: `{{ instruction }}` is the prompt, columns go by name."""
    num_generations: int = Field(1, ge=1, le=1024)
    """Completions per row."""
    temperature: float = Field(0.6, ge=0, le=10)
    """Sampling temperature; 0 is greedy."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Nucleus sampling's probability mass; not used at temperature 0."""
    max_new_tokens: int = Field(8192, ge=1)
    """Longest completion, in tokens."""
    engine: Literal["openr1", "distilabel"] = "openr1"
    """What drives the sampling: openr1's own loop, or a distilabel pipeline around it."""
    truncated: Literal["keep", "drop", "retry"] = "keep"
    """Completions cut off at the limit: keep (flagged), drop in the filter, or retry with a larger budget."""
    retry_max_new_tokens: int | None = Field(None, ge=1)
    """Longest completion of a retry, in tokens; twice max_new_tokens when not given."""
    max_failed: float = Field(0.1, ge=0, le=1)
    """Share of the samples that may fail; above it the run stops (exit 7) and can be continued."""
    server_patience: float = Field(900.0, gt=0)
    """Seconds to wait while no server answers, before the run stops (exit 7) and can be continued."""
    solution_column: str | None = None
    """Column that holds the gold answer; found by name (answer, …, solution) when not given."""
    reward_funcs: list[str | dict[str, dict[str, Any]]] | None = None
    """Rewards whose mean is the pass rate, by name; the share of right answers when not given."""
    keep: Literal["right", "any"] | None = None
    """Filter: right answers only, or any; right where answers were verified when not given."""
    complete: bool = False
    """Filter: leave out completions that were cut off or whose reasoning never closed."""
    min_completion_tokens: int | None = Field(None, ge=0)
    """Filter: shortest completion to keep, in tokens."""
    max_completion_tokens: int | None = Field(None, ge=1)
    """Filter: longest completion to keep, in tokens."""
    pass_rate_min: float | None = None
    """Filter: keep problems whose pass rate is above this (open-r1's demo: 0.2)."""
    pass_rate_max: float | None = None
    """Filter: keep problems whose pass rate is below this (open-r1's demo: 0.8)."""
    truncated_as: Literal["unknown", "wrong"] = "unknown"
    """What a truncated completion is to the pass rate: left out of the mean, or wrong (as open-r1)."""
    choose: Literal["all", "shortest", "first", "majority"] = "all"
    """Which of the completions left are taken for a problem."""
    against: list[str] = Field(default_factory=list)
    """Evaluation sets to decontaminate against: names, files, NAME=FILE."""
    ngram_size: int = Field(8, ge=1, le=64)
    """Words that a problem must share with a test item to be contaminated."""
    match: Literal["strict", "open-r1"] = "strict"
    """What a word is: strict sees through LaTeX, punctuation and width, open-r1 gives upstream's hits."""
    layouts: list[Literal["messages", "full", "openr1-math", "distilabel"]] = Field(
        ["messages"], min_length=1
    )
    """Layouts of the exported dataset; the first is its default configuration."""
    messages_prompt: Literal["problem", "sent"] = "problem"
    """What stands before the answer in `messages`: the problem itself, or everything that was sent."""
    hub_dataset_id: str | None = None
    """Hub dataset to upload the export to (owner/name); nothing is uploaded when not given."""
    private: bool = True
    """Whether the uploaded dataset is private."""

    @field_validator("only", "against", "layouts", "reward_funcs", mode="before")
    @classmethod
    def _commas_or_a_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return [value] if isinstance(value, dict) else value


OWN: dict[str, type[_Fields]] = {
    "sft": SftFields,
    "grpo": GrpoFields,
    "eval": EvalFields,
    "generate": GenerateFields,
}


@functools.lru_cache(maxsize=8)
def own_fields(stage: str) -> dict[str, str]:
    """Our field names of a stage, as a recipe spells them, with their help."""
    return {
        info.alias or name: inspect.cleandoc(info.description or "")
        for name, info in OWN[stage].model_fields.items()
    }


def own_defaults(stage: str) -> dict[str, Any]:
    """Our fields' default values, by the name a recipe uses."""
    return {
        info.alias or name: info.get_default(call_default_factory=True)
        for name, info in OWN[stage].model_fields.items()
    }


@functools.lru_cache(maxsize=8)
def own_texts(stage: str) -> set[str]:
    """Our fields of a stage that hold text and no number: what looks like one (`1.10`) is text there."""
    return {
        info.alias or name
        for name, info in OWN[stage].model_fields.items()
        if str in (info.annotation, *get_args(info.annotation))
    }


FLAT_REWARD_PARAMETERS = (
    "cosine_min_value_wrong",
    "cosine_max_value_wrong",
    "cosine_min_value_correct",
    "cosine_max_value_correct",
    "cosine_max_len",
    "repetition_n_grams",
    "repetition_max_penalty",
    "max_completion_len",
    "soft_punish_cache",
    "code_eval_scoring_mode",
    "code_language",
)


def check_own(stage: str, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Our fields, validated together.

    Returns:
        The values in their types, and for every key that is wrong the reason in words.
    """
    from pydantic import ValidationError

    cls = OWN[stage]
    try:
        model = cls.model_validate(values)
    except ValidationError as error:
        wrong: dict[str, str] = {}
        for problem in error.errors():
            key = str(problem["loc"][0]) if problem["loc"] else "?"
            wrong.setdefault(key, _words(problem["type"], problem["msg"], problem.get("input")))
        good = {k: v for k, v in values.items() if k not in wrong}
        return (check_own(stage, good)[0] if len(good) < len(values) else {}), wrong
    dumped = model.model_dump(by_alias=True, exclude_unset=True)
    return dumped, {}


_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a map",
}


_BOUNDS = {
    "greater than or equal to": "{} or more",
    "less than or equal to": "at most {}",
    "greater than": "above {}",
    "less than": "below {}",
}


def _words(kind: str, message: str, given: Any) -> str:
    """pydantic's message in the tone of the others: "must be …, not …"."""
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {in_words(given)}"
    if kind == "literal_error":
        choices = ", ".join(re.findall("'([^']+)'", message))
        return f"must be one of {choices}, not {in_words(given)}"
    if kind == "too_short" and given == []:
        return "must not be empty"
    for bound, words in _BOUNDS.items():
        if bound in message:
            return f"must be {words.format(message.rpartition(bound)[2].strip())}, not {in_words(given)}"
    message = re.sub(r"^(Value error, |Input )", "", message)
    message = re.sub(r"^should be a valid ", "must be a valid ", message)
    message = message.replace("should be", "must be")
    return f"{message}, not {in_words(given)}" if "not" not in message else message
