"""What a training process tells the outside after each step, and how it hears that it should stop."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from openr1.runs.child import Child
from openr1.runs.files import append_line, keep_rows, mend_tail, read_lines


class Reporter(TrainerCallback):
    """Writes metrics.jsonl, sends progress events, and turns a stop request into a checkpoint.

    Rows keep TRL's names (loss, reward, completions/mean_length, ...) and add:
        step, epoch, time (s since the epoch), tokens_per_second (real tokens, padding not counted).
    """

    def __init__(self, child: Child) -> None:
        self.child = child
        self.last_tokens = 0.0
        self.last_time = time.time()
        self.tokens_before = 0.0  # learnt from in earlier attempts; TRL counts from 0 again in SFT

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        metrics = self.child.run.metrics
        mend_tail(metrics)
        # Steps after the checkpoint are done again, and would stand there twice.
        for file in (metrics, self.child.run.samples / "completions.jsonl"):
            keep_rows(file, lambda row: row.get("step", 0) <= state.global_step)
        self.tokens_before = max((row.get("num_tokens") or 0 for row in read_lines(metrics)), default=0)
        self.last_tokens = self.tokens_before
        self.last_time = time.time()
        self.child.interruptible = False
        self.child.events.send("start", total=state.max_steps, done=state.global_step, unit="step")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.child.events.send("progress", done=state.global_step)
        if self.child.stop_asked and state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not logs or not state.is_world_process_zero or "train_runtime" in logs:
            return
        row = {"step": state.global_step, "time": round(time.time(), 3), **logs}
        if logs.get("num_tokens"):
            self._add_speed(row)
        append_line(self.child.run.metrics, row)
        self.child.events.send("progress", done=state.global_step, metrics=row)

    def _add_speed(self, row: dict[str, Any]) -> None:
        """Real tokens per second since the row before; GRPO's counter survives a restart, SFT's does not."""
        if row["num_tokens"] < self.tokens_before:
            row["num_tokens"] += self.tokens_before
        elapsed = row["time"] - self.last_time
        if elapsed > 0:
            row["tokens_per_second"] = round((row["num_tokens"] - self.last_tokens) / elapsed, 1)
        self.last_tokens, self.last_time = row["num_tokens"], row["time"]
