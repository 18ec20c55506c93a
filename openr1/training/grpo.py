"""What GRPO has and SFT has not: rewards, and completions worth looking at."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from openr1.rewards import get_reward_funcs
from openr1.runs.child import Child
from openr1.runs.files import append_line


def reward_functions(values: dict[str, Any]) -> list[Any]:
    """The recipe's rewards, by name. Raises RecipeError for a name that is none."""
    return list(get_reward_funcs(values["reward_funcs"]))


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
