"""What GRPO has and SFT has not: rewards, and completions worth looking at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import AutoTokenizer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from openr1.config.schema import FLAT_REWARD_PARAMETERS
from openr1.data.chat_template import opens_think, render, use_template
from openr1.data.show import shown_rows
from openr1.errors import RecipeError
from openr1.rewards import get_reward_funcs, probe_rewards
from openr1.rewards.registry import GOLD, REGISTRY, split_entry
from openr1.runs.child import Child
from openr1.runs.files import append_line

MOST_PROMPTS = 20_000  # prompts whose length is counted; of more, so many spread evenly


def _tokenizer(source: str, values: dict[str, Any]) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(
        source, revision=values["model_revision"], trust_remote_code=values["trust_remote_code"]
    )
    use_template(tokenizer, values["chat_template"])
    return tokenizer


def prefills_think(source: str, values: dict[str, Any], prompt: list[dict[str, str]]) -> bool:
    """Whether the chat template's generation prompt already opens `<think>`; rewards must know (trl#6966)."""
    return opens_think(_tokenizer(source, values), prompt)


def reads_gold(values: dict[str, Any]) -> bool:
    """Whether one of the section's rewards reads the gold answer.

    A plug-in is not asked: what it reads is its own business.
    """
    names = [split_entry(entry)[0] for entry in values["reward_funcs"]]
    return any(name in REGISTRY and GOLD in REGISTRY[name].columns for name in names)


def rendered(
    source: str, values: dict[str, Any], prompts: Sequence[list[dict[str, str]]]
) -> tuple[list[str], list[int]]:
    """The prompts as the model will see them, and their lengths in tokens."""
    tokenizer = _tokenizer(source, values)
    texts = [render(tokenizer, prompt, generation=True) for prompt in prompts]
    return texts, [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def check_prompts(
    child: Child, values: dict[str, Any], source: str, model: Any, dataset: Any, rewards: Sequence[Any]
) -> None:
    """Count the rows from which nothing can be learnt, and say so before training.

    Args:
        model: the model's config.

    Raises:
        RecipeError: no row has a gold answer and a reward needs it; no prompt leaves room to answer.
    """
    total = len(dataset)
    if "solution" in dataset.column_names and any(GOLD in reward.columns for reward in rewards):
        missing = sum(not (gold or "").strip() for gold in dataset["solution"])
        if missing == total:
            raise RecipeError(
                "no row has a gold answer",
                where=values["dataset_name"] or "the mixture",
                fix="check dataset_solution_column",
            )
        if missing:
            text = f"{missing:,} of {total:,} rows have no gold answer: nothing is learnt from them"
            child.events.send("notice", text=text)
    places = shown_rows(total, MOST_PROMPTS)
    _, lengths = rendered(source, values, dataset.select(places)["prompt"])
    of = f"{len(lengths):,} rows" + (" looked at" if len(lengths) < total else "")
    context = getattr(model.get_text_config(), "max_position_embeddings", None)
    room = None if context is None else context - (values["max_completion_length"] or 0)
    child.events.send("notice", text=f"prompts have at most {max(lengths):,} tokens")
    for limit, words in (
        (values["max_prompt_length"], "max_prompt_length {} (memory was planned for less; nothing is cut)"),
        (room, "the {} tokens that the model's context leaves beside max_completion_length"),
    ):
        long = sum(limit is not None and n > limit for n in lengths)
        if limit is None or not long:
            continue
        row = places[next(i for i, n in enumerate(lengths) if n > limit)] + 1
        text = f"{long:,} of {of} have a prompt longer than {words.format(f'{limit:,}')}; first row {row:,}"
        if limit == room and long == len(lengths):
            raise RecipeError(
                f"no prompt leaves room to answer: {text}",
                where=values["dataset_name"] or "the mixture",
                fix="lower max_completion_length, or use a model with a longer context",
            )
        child.events.send("notice", text=text)


def reward_functions(
    values: dict[str, Any], think_prefilled: bool, rows: Sequence[dict[str, Any]]
) -> list[Any]:
    """The recipe's rewards, ready to be called; plug-ins have been called once on `rows`.

    Raises:
        RecipeError: a name that is no reward, a parameter it does not have, a plug-in that fails, a column
            that a reward needs and the rows do not have.
        EnvironmentProblem: a code reward, and no sandbox or compiler works here.
    """
    rewards = get_reward_funcs(
        values["reward_funcs"],
        compat=values["reward_compat"],
        think_prefilled=think_prefilled,
        max_completion_length=values["max_completion_length"],
        **{key: values[key] for key in FLAT_REWARD_PARAMETERS},
    )
    for reward in rewards:
        lacking = [" or ".join(names) for names in reward.columns if rows and not set(names) & set(rows[0])]
        if lacking:
            raise RecipeError(
                f"reward {reward.name} needs a column named {', '.join(lacking)}",
                where=str(values["dataset_name"] or "the mixture"),
                fix=f"the rows have: {', '.join(sorted(rows[0]))}",
            )
        reward.check_machine(rows)
    probe_rewards(rewards, rows)
    return list(rewards)


class CompletionLog(TrainerCallback):
    """Keeps some completions of every logged step in samples/completions.jsonl."""

    def __init__(self, child: Child, trainer: Any, count: int) -> None:
        self.child, self.trainer, self.count = child, trainer, count

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        logs = kwargs.get("logs") or {}
        if self.count and state.is_world_process_zero and "train_runtime" not in logs:
            held_out = any(key.startswith("eval_") for key in logs)
            for row in self.trainer.recent_completions(self.count):
                append_line(self.child.run.samples / "completions.jsonl", {**row, "held_out": held_out})
