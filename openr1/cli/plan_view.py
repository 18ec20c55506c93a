"""A Plan in a few lines: processes, sharding, time, memory, and what runs beside the ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openr1.cli.words import duration, gib, short
from openr1.language import translate

SPREAD = ("processes", "sharding")


def plan_lines(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and text of a plan's lines."""
    lines = [
        (key, f"{translate(str(plan[key]))}  ({translate(plan.get(f'{key}_reason', ''))})")
        for key in SPREAD
        if key in plan
    ]
    if plan.get("sampling"):
        lines.append(("samples", f"{plan['sampling']['backend']}: {translate(plan['sampling']['reason'])}"))
    if "step_seconds" in plan:
        lines.append(("time", _time(plan)))
    if plan.get("memory_reason"):
        lines.append(("memory", _memory(plan)))
    return lines


def processes(plan: Mapping[str, Any]) -> str:
    """How often the command is started, and what beside it."""
    serving, cards = int(plan.get("vllm_nodes") or 0), ", ".join(map(str, plan.get("vllm_gpus") or ()))
    nodes = int(plan.get("nodes") or 1) - serving
    ranks = f"{int(plan['processes']) // nodes} times" + (f" on each of {nodes} nodes" if nodes > 1 else "")
    said = f"{ranks}, with RANK, WORLD_SIZE and MASTER_ADDR set"
    if serving:
        return f"{said}; a vLLM server on the last node" + (f", GPU {cards}" if cards else "")
    first = " of the first node" if nodes > 1 else ""
    return said + (f"; a vLLM server on GPU {cards}{first}" if cards else "")


def is_spread(plan: Mapping[str, Any]) -> bool:
    """Whether more than one process is started."""
    return int(plan.get("processes") or 1) > 1 or bool(plan.get("vllm_gpus") or plan.get("vllm_nodes"))


def _time(plan: Mapping[str, Any]) -> str:
    """Step time × steps, with its doubt."""
    step, found = plan["step_seconds"], plan.get("run_time")
    if step.get("value") is None:
        return translate(f"not known ({step.get('reason')})")
    if not found:
        return translate(f"{short(step['value'])} s a step; the steps are counted when the data is loaded")
    each = f"{short(step['value'])} s"
    bounds = f"{duration(found['low'])} – {duration(found['high'])}"
    total, steps = duration(found["seconds"]), found["steps"]
    return translate(f"about {total} ({bounds}) for {steps} steps, {each}: {step['reason']}")


def _memory(plan: Mapping[str, Any]) -> str:
    memory = plan.get("memory")
    if not memory:
        return translate(f"not known ({plan['memory_reason']})")
    phase, size = max(((name, sum(terms.values())) for name, terms in memory.items()), key=lambda p: p[1])
    return translate(f"{gib(size)} at most ({phase}), of {gib(plan.get('capacity_bytes'))}")
