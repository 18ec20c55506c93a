"""GRPOTrainer with sealed checkpoints, updates in parts, and rollouts that drop finished rows.

Importing TRL's GRPOTrainer imports vLLM where it is installed, which takes seconds: SFT does without.
"""

from __future__ import annotations

import contextlib
from typing import Any

from trl import GRPOTrainer

from openr1.sampling.compact import dropping_finished_rows
from openr1.training.grpo_updates import GrpoInParts
from openr1.training.trl_adapter import Sealed


class OpenR1GRPOTrainer(Sealed, GrpoInParts, GRPOTrainer):
    """GRPOTrainer with sealed checkpoints that continues its rollout schedule."""

    drop_finished_rows: bool = False

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        # With vLLM nothing calls generate; continuous batching has a method of its own.
        drops = dropping_finished_rows(self.model) if self.drop_finished_rows else contextlib.nullcontext()
        with drops:
            return super()._generate_single_turn(*args, **kwargs)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self._step = self.state.global_step * self.args.gradient_accumulation_steps
            args: Any = self.args
            window = args.steps_per_generation * self.num_iterations
            if self._step % window and self.state.global_step < self.state.max_steps:
                self.child.events.send(
                    "notice",
                    text="the rollout batch that the last attempt had half used is made anew, "
                    "from the checkpoint's weights and random state",
                )

    def recent_completions(self, count: int) -> list[dict[str, Any]]:
        """The newest completions with their rewards and advantages, as TRL keeps them for its own table."""
        logs: Any = self._logs
        total = len(logs["completion"])
        rows = []
        for index in range(max(0, total - count), total):
            rows.append(
                {
                    "step": self.state.global_step,
                    "prompt": logs["prompt"][index],
                    "completion": logs["completion"][index],
                    "rewards": {name: values[index] for name, values in logs["rewards"].items()},
                    "advantage": logs["advantages"][index],
                }
            )
        return rows
