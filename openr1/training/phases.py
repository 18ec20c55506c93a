"""What each phase of a rehearsal needs: peak memory and seconds, measured around the trainer's methods.

Phases are named as the plan names them (`planning.phases`), with three more: the optimizer's step, the
rewards and an evaluation batch. On a CPU the peak is the process's resident memory, which Linux can count
anew; on a card it is what torch has allocated plus what the plan counts outside of torch (a vLLM with sleep
mode allocates beside torch and is not seen).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from openr1.launch.command import CAPACITY
from openr1.runs.child import Child
from openr1.runs.listing import size
from openr1.training.callbacks import Reporter
from openr1.training.checkpoints import newest_whole
from openr1.training.ranks import from_all, from_first

# The trainer's method -> the phase it is. Log-probs with a gradient belong to the update.
METHODS = {
    "_generate_single_turn": "rollout",
    "_calculate_rewards": "rewards",
    "_get_per_token_logps_and_entropies": "log-probs",
    "training_step": "update",
    "_save_checkpoint": "save",
    "evaluate": "evaluation",
}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PhaseMeter(TrainerCallback):
    """Peak bytes and seconds by phase; an inner phase interrupts the outer one.

    Args:
        outside: bytes beside torch's own on a card.
    """

    def __init__(self, outside: int) -> None:
        self.outside = outside
        self.peaks: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.times: dict[str, int] = {}
        self.highest = 0  # over all phases, counted as `callbacks.peak_bytes` counts
        self.open: list[str] = ["load"]
        self.since = time.perf_counter()

    def watch(self, trainer: Any) -> None:
        """Measure this trainer from now on; what was before is the phase "load"."""
        for method, name in METHODS.items():
            if hasattr(trainer, method):
                setattr(trainer, method, self._measured(getattr(trainer, method), name))
        trainer.add_callback(self)

    def _measured(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        def measured(*args: Any, **kwargs: Any) -> Any:
            if name == "log-probs" and torch.is_grad_enabled():
                return method(*args, **kwargs)
            with self.phase(name):
                return method(*args, **kwargs)

        return measured

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What happens inside is this phase."""
        self._note()
        self.open.append(name)
        self.times[name] = self.times.get(name, 0) + 1
        try:
            yield
        finally:
            self._note()
            self.open.pop()

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self._note()
        self.open = ["between"]

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self._note()
        self.open.append("optimizer")
        self.times["optimizer"] = self.times.get("optimizer", 0) + 1

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self._note()
        self.open.pop()

    def _note(self) -> None:
        """Write down what the innermost phase has needed since the last note, and count anew."""
        name, now = self.open[-1], time.perf_counter()
        self.peaks[name] = max(self.peaks.get(name, 0), self._peak())
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.since
        self.since = now

    def _peak(self) -> int:
        if torch.cuda.is_available():
            cards = range(torch.cuda.device_count())
            found = max(torch.cuda.max_memory_allocated(card) for card in cards)
            reserved = max(torch.cuda.max_memory_reserved(card) for card in cards) + self.outside
            self.highest = max(self.highest, reserved)
            for card in cards:
                torch.cuda.reset_peak_memory_stats(card)
            return found + self.outside
        with contextlib.suppress(OSError):  # no Linux, or a container that forbids it: nothing is said
            said = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
            CLEAR.write_text("5")  # the peak counts anew from here, also that of getrusage
            found = int(said[1]) * 1024 if said else 0
            self.highest = max(self.highest, found)
            return found
        return 0

    def result(self) -> dict[str, dict[str, float]]:
        """Phase -> peak_bytes, and seconds of one time."""
        return {
            name: {"peak_bytes": peak, "seconds": self.seconds[name] / self.times.get(name, 1)}
            for name, peak in self.peaks.items()
            if name != "between" and peak
        }


def measured_by_all(child: Child, meter: PhaseMeter, reporter: Reporter) -> dict[str, Any]:
    """What one part of a rehearsal measured, the same on every rank and so on every node.

    Of memory and time the worst of all ranks, the least that any of them may use; of steps, disk and plan
    what the first one saw.
    """
    own = int(os.environ.get(CAPACITY, 0)) or None
    everyone = from_all(child, (max(meter.highest, reporter.peak()), own, meter.result()))
    phases = {}
    for name in dict.fromkeys(name for *_, found in everyone for name in found):
        parts = [found[name] for *_, found in everyone if name in found]
        phases[name] = {key: max(part[key] for part in parts) for key in ("peak_bytes", "seconds")}

    def of_the_first() -> dict[str, Any]:
        checkpoint, _ = newest_whole(child.run.checkpoints)
        free = shutil.disk_usage(child.run.path).free
        return reporter.measured() | {
            "steps_seconds": reporter.step_seconds,
            "checkpoint_bytes": size(checkpoint) if checkpoint else 0,
            "disk_free_bytes": free + size(child.run.path),  # without the rehearsal itself
            # Every node has a plan; on the first one's all ranks run.
            "planned": {key: child.config["plan"].get(key) for key in ("memory", "step_seconds")},
        }

    return from_first(child, of_the_first) | {
        "peak_bytes": max(peak for peak, *_ in everyone),
        "capacity_bytes": min((known for _, known, _ in everyone if known), default=None),
        "phases": phases,
    }
