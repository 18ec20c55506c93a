"""What a row of metrics.jsonl says about the machine: waiting for data, memory, heat."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from openr1.hardware.guard import Reading
from openr1.runs.child import Child
from openr1.runs.manifest import update


class Telemetry(TrainerCallback):
    """Collects between two rows; `row()` hands it out and begins anew. Added last, so that what other
    callbacks do between two steps (saving, cooling down) does not count as waiting for data.

    Rows get:
        data/wait: share of the time since the row before that was spent fetching batches.
        memory/peak_bytes: peak so far, counted as the planner counts it.
        gpu/temperature: hottest card now, in °C (where there is a card that says).
        gpu/throttled: share of the steps since the row before on which a card ran below its speed.
    """

    def __init__(self, child: Child, peak: Callable[[], int]) -> None:
        self.child, self.peak = child, peak
        self.between_steps: float | None = None
        self.waited = 0.0
        self.since = time.perf_counter()
        self.last = Reading()
        self.seen = self.slow = 0

    def watched(self, sensor: Callable[[], Reading]) -> Callable[[], Reading]:
        """The sensor, with every reading counted for the next row."""

        def read() -> Reading:
            self.last = sensor()
            self.seen += 1
            self.slow += any(self.last.throttle)
            return self.last

        return read

    def row(self) -> dict[str, Any]:
        """What was seen since the last call."""
        now = time.perf_counter()
        found: dict[str, Any] = {"data/wait": round(self.waited / max(now - self.since, 1e-9), 4)}
        found["memory/peak_bytes"] = self.peak()
        known = [t for t in self.last.temperatures_c if t is not None]
        if known and self.seen:
            found["gpu/temperature"] = max(known)
            found["gpu/throttled"] = round(self.slow / self.seen, 4)
        self.waited, self.since, self.seen, self.slow = 0.0, now, 0, 0
        return found

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            update(self.child.run.path, total_steps=state.max_steps)
        self.since = time.perf_counter()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.between_steps is not None:
            self.waited += time.perf_counter() - self.between_steps

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.between_steps = time.perf_counter()

    on_log = on_save = on_evaluate = on_step_end
