"""What a training process tells the outside after each step, and how it hears that it should stop."""

from __future__ import annotations

import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from openr1.hardware.guard import Guard, Limits, Reading, nvml_sensor, wait_until_cool
from openr1.runs.child import Child
from openr1.runs.files import append_line, keep_rows, mend_tail, read_lines
from openr1.training.ranks import any_of
from openr1.training.telemetry import Telemetry


class Reporter(TrainerCallback):
    """Writes metrics.jsonl, sends progress events, and turns a stop request into a checkpoint.

    Rows keep TRL's names (loss, reward, completions/mean_length, ...) and add:
        step, epoch, time (s since the epoch), tokens_per_second (real tokens, padding not counted), and what
        `telemetry.Telemetry` saw of the machine.
    """

    def __init__(self, child: Child) -> None:
        self.child = child
        self.telemetry = Telemetry(child, self.peak)
        self.last_tokens = 0.0
        self.last_time = time.time()
        self.step_ended: float | None = None
        self.step_seconds: list[float] = []
        self.stopping = False  # the ranks have agreed to stop after this step

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        metrics = self.child.run.metrics
        if self.child.first:
            mend_tail(metrics)
            # Steps after the checkpoint are done again, and would stand there twice.
            for file in (metrics, self.child.run.samples / "completions.jsonl"):
                keep_rows(file, lambda row: row.get("step", 0) <= state.global_step)
        self.last_tokens = max((row.get("num_tokens") or 0 for row in read_lines(metrics)), default=0)
        self.last_time = time.time()
        self.child.interruptible = False
        self.child.events.send("start", total=state.max_steps, done=state.global_step, unit="step")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.child.events.send("progress", done=state.global_step)
        now = time.perf_counter()
        if self.step_ended is not None:
            self.step_seconds.append(now - self.step_ended)
        self.step_ended = now
        # A stop reaches the ranks one by one, some after this step and some before it: they agree.
        self.stopping = any_of(self.child, self.child.stop_asked)
        if self.stopping and state.global_step < state.max_steps:
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
        row |= self.telemetry.row()
        append_line(self.child.run.metrics, row)
        self.child.events.send("progress", done=state.global_step, metrics=row)

    def paused(self, seconds: float) -> None:
        """Time between two steps that was not training: it counts neither as step time nor for the speed."""
        self.last_time += seconds
        if self.step_ended is not None:
            self.step_ended += seconds

    def measured(self) -> dict[str, Any]:
        """What the planner learns from: peak memory (bytes) and the median optimizer step (seconds)."""
        median = statistics.median(self.step_seconds) if self.step_seconds else None
        return {"peak_bytes": self.peak(), "step_seconds": median}

    def peak(self) -> int:
        """Peak memory in bytes, counted as the plan counts it."""
        return peak_bytes() + outside_torch(self.child.config["plan"].get("memory"))

    def _add_speed(self, row: dict[str, Any]) -> None:
        """Real tokens per second since the row before."""
        elapsed = row["time"] - self.last_time
        if elapsed > 0:
            row["tokens_per_second"] = round((row["num_tokens"] - self.last_tokens) / elapsed, 1)
        self.last_tokens, self.last_time = row["num_tokens"], row["time"]


def outside_torch(memory: dict[str, dict[str, int]] | None) -> int:
    """What the plan counts on a card beside torch's own memory; torch cannot measure it, so it is added as
    planned, and a prediction that was exact comes out as exact."""
    if not torch.cuda.is_available():
        return 0  # resident memory holds everything
    phases = (memory or {}).values()
    return max((terms.get("CUDA context", 0) + terms.get("NCCL", 0) for terms in phases), default=0)


def peak_bytes() -> int:
    """Peak memory of this process so far: reserved by torch on the fullest card, or resident on a CPU."""
    if torch.cuda.is_available():
        return max(torch.cuda.max_memory_reserved(index) for index in range(torch.cuda.device_count()))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident if sys.platform == "darwin" else resident * 1024


class Watchman(TrainerCallback):
    """Lets the hardware guard look between steps: it warns, waits until a card is cool, or skips a save."""

    def __init__(self, child: Child, guard: Guard, sensor: Callable[[], Reading]) -> None:
        self.child, self.guard, self.sensor = child, guard, sensor
        self.skip_save = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.skip_save = False
        for advice in self.guard.observe(self.sensor()):
            self._say(advice.words)
            self.skip_save = self.skip_save or advice.kind == "skip_save"
        self.skip_save = any_of(self.child, self.skip_save)  # a save is everybody's work
        wait_until_cool(self.guard, self.sensor, self._say, sleep=self._sleep)
        if self.skip_save:
            control.should_save = False
        return control

    def _say(self, words: str) -> None:
        self.child.events.send("notice", text=words)

    def _sleep(self, seconds: float) -> None:
        """A pause ends at once when the run is asked to stop."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.child.stop_asked:
            time.sleep(min(0.2, seconds))
        if self.child.stop_asked:
            self.guard.paused = False


def watchman(child: Child, model: torch.nn.Module, telemetry: Telemetry) -> Watchman:
    """The guard for this machine: temperature and throttling where there is a card, disk space everywhere."""
    weights = sum(_numel(p) * p.element_size() for p in model.parameters())
    # AdamW keeps two more numbers of the weight's type for every trained one.
    states = sum(2 * _numel(p) * p.element_size() for p in model.parameters() if p.requires_grad)
    limits = Limits(child.config["plan"].get("max_gpu_temp"), weights + states)
    return Watchman(child, Guard(limits), telemetry.watched(_sensor(child)))


def _numel(parameter: torch.nn.Parameter) -> int:
    """Elements of a parameter, also where ZeRO-3 keeps only a slice of it here."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _sensor(child: Child) -> Callable[[], Reading]:
    if torch.cuda.is_available():
        import pynvml

        pynvml.nvmlInit()
        # NVML knows every card of the machine; the plan says which of them are ours.
        cards = child.config["plan"].get("train_gpus") or range(torch.cuda.device_count())
        return nvml_sensor(pynvml, tuple(cards), child.run.path)
    return lambda: Reading(disk_free_bytes=shutil.disk_usage(child.run.path).free)
