"""What GRPO has and SFT has not: rewards, and completions worth looking at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import AutoTokenizer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from openr1.config.schema import FLAT_REWARD_PARAMETERS
from openr1.rewards import get_reward_funcs, probe_rewards, sandbox
from openr1.runs.child import Child
from openr1.runs.files import append_line

RUNS_CODE = {"code", "binary_code"}


def prefills_think(source: str, values: dict[str, Any], prompt: list[dict[str, str]]) -> bool:
    """Whether the chat template's generation prompt already opens `<think>`; rewards must know (trl#6966)."""
    tokenizer = AutoTokenizer.from_pretrained(
        source, revision=values["model_revision"], trust_remote_code=values["trust_remote_code"]
    )
    template = values["chat_template"] or tokenizer.chat_template
    if template is None:
        return False
    text = tokenizer.apply_chat_template(
        prompt, chat_template=template, tokenize=False, add_generation_prompt=True
    )
    return str(text).rstrip().endswith("<think>")


def reward_functions(
    values: dict[str, Any], think_prefilled: bool, rows: Sequence[dict[str, Any]]
) -> list[Any]:
    """The recipe's rewards, ready to be called; plug-ins have been called once on `rows`.

    Raises:
        RecipeError: a name that is no reward, a parameter it does not have, a plug-in that fails.
        EnvironmentProblem: a code reward, and no sandbox works here.
    """
    rewards = get_reward_funcs(
        values["reward_funcs"],
        compat=values["reward_compat"],
        think_prefilled=think_prefilled,
        max_completion_length=values["max_completion_length"],
        **{key: values[key] for key in FLAT_REWARD_PARAMETERS},
    )
    if RUNS_CODE & {reward.name for reward in rewards}:
        sandbox.walls()
    probe_rewards(rewards, rows)
    return list(rewards)


class CompletionLog(TrainerCallback):
    """Keeps some completions of every logged step in samples/completions.jsonl."""

    def __init__(self, child: Child, trainer: Any, count: int) -> None:
        self.child, self.trainer, self.count = child, trainer, count

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.count and state.is_world_process_zero:
            for row in self.trainer.recent_completions(self.count):
                append_line(self.child.run.samples / "completions.jsonl", row)
