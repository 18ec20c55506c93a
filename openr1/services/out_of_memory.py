"""Memory ran out although the plan said it fits: what to change, ranked as the planner ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openr1.errors import OpenR1Error, OutOfMemory
from openr1.hardware.facts import to_plain
from openr1.planning.context import build, capacity_bytes, make_problem
from openr1.planning.edits import TIME, Edit, ranked_edits

if TYPE_CHECKING:
    from openr1.services.prepare import Prepared


class RanOut(OutOfMemory):
    """Out of memory, with the edits that would help."""

    def __init__(self, what: str, *, where: str | None, fix: str | None, edits: tuple[Edit, ...]) -> None:
        super().__init__(what, where=where, fix=fix)
        self.edits = edits

    def as_dict(self) -> dict[str, object]:
        edits = [to_plain(edit) | {"flags": edit.flags} for edit in self.edits]
        return super().as_dict() | {"kind": "OutOfMemory", "edits": edits}


def advise(error: OutOfMemory, prepared: Prepared) -> OutOfMemory:
    """The same error with edits as its fix: smaller micro-batches first, then what costs more."""
    edits = (*lighter(prepared.resolved.values), *_planned(prepared))
    if not edits:
        return error
    first = edits[0]
    edit = f"{first.flags}  ({first.words})"
    fix = f"{error.fix}: {edit}" if error.fix else edit
    return RanOut(error.what, where=error.where, fix=fix, edits=edits)


def lighter(values: dict[str, Any]) -> list[Edit]:
    """What makes the plan that ran out lighter at the same global batch; it only costs time."""
    found = []
    rows, accumulated = values.get("per_device_train_batch_size"), values.get("gradient_accumulation_steps")
    if isinstance(rows, int) and isinstance(accumulated, int) and rows > 1:
        smaller = next(n for n in range(rows // 2, 0, -1) if rows % n == 0)
        changes: dict[str, Any] = {
            "per_device_train_batch_size": smaller,
            "gradient_accumulation_steps": accumulated * rows // smaller,
        }
        found.append(Edit(changes, "a smaller micro-batch, accumulated more often: same global batch", TIME))
    if not values.get("gradient_checkpointing"):
        words = "recompute activations in the backward"
        found.append(Edit({"gradient_checkpointing": True}, words, TIME))
    share = values.get("vllm_gpu_memory_utilization")
    if values.get("use_vllm") and values.get("vllm_mode") == "colocate" and isinstance(share, float):
        found.append(Edit({"vllm_gpu_memory_utilization": round(share * 0.8, 2)}, "less for vLLM", TIME))
    return found


def _planned(prepared: Prepared) -> tuple[Edit, ...]:
    """The planner's edits that change more than the split of the batch."""
    resolved, machine, plan = prepared.resolved, prepared.machine, prepared.plan
    capacity = capacity_bytes(machine)
    try:
        gpus, processes = plan["asked"]["gpus"], plan["asked"]["processes"]
        context = build(resolved.stage, resolved.values, machine, resolved.explicit, gpus, processes, None)
        if context.shape.value is None or capacity is None:
            return ()
        problem = make_problem(context, context.shape.value, *capacity)
        edits = ranked_edits(context, problem, gpus, processes, None)
    except OpenR1Error:
        return ()
    return tuple(edit for edit in edits if edit.cost > TIME)
