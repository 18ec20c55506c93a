"""How long a whole run takes, before it starts: step time × steps, with its doubt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A run predicted to take longer is rehearsed before it starts, seconds.
LONG_SECONDS = 15 * 60


@dataclass(frozen=True)
class RunTime:
    """Seconds of a run, and between what bounds. Full-length rows are assumed: shorter rows take less."""

    steps: int
    seconds: float
    low: float
    high: float

    @property
    def is_long(self) -> bool:
        """Whether the run is worth a rehearsal."""
        return self.seconds > LONG_SECONDS


def run_time(plan: Mapping[str, Any], steps: int | None) -> RunTime | None:
    """The prediction; None where the step time or the number of steps is not known.

    Args:
        plan: `Plan.as_dict()`; its step time is corrected by earlier runs here, and `time_doubt` says by what
            factor it may be wrong.
    """
    each = (plan.get("step_seconds") or {}).get("value")
    if steps is None or steps < 1 or each is None:
        return None
    total, doubt = float(each) * steps, float(plan.get("time_doubt") or 1.0)
    return RunTime(steps, total, total / doubt, total * doubt)


def steps_of(stage: str, values: Mapping[str, Any], rows: int | None, plan: Mapping[str, Any]) -> int | None:
    """Optimizer steps of the whole run; None where rows are not counted.

    Args:
        rows: of the training data as they are stepped through: packed ones where the section packs. `limit`
            bounds them where they are not counted yet, which says nothing of packed ones.
    """
    if int(values.get("max_steps") or -1) > 0:
        return int(values["max_steps"])
    if rows is None and values.get("limit") and not packs(stage, values):
        rows = int(values["limit"])
    total = (plan.get("global_batch_size") or {}).get("value")
    if not total or rows is None:
        return None
    each = int(values["num_generations"]) * int(values.get("num_iterations") or 1) if stage == "grpo" else 1
    return math.ceil(rows * each / int(total) * float(values.get("num_train_epochs") or 1))


def packs(stage: str, values: Mapping[str, Any]) -> bool:
    """Whether a section trains on rows that several of the data's rows were put into."""
    return stage == "sft" and bool(values.get("packing"))
