"""A Plan in a few lines: processes, sharding, time, memory, and what runs beside the ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openr1.cli.words import duration, gib, short


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """The lines of a plan; a stage that does not train has none."""
    lines = [f"{key:<12}{plan[key]}  ({plan.get(f'{key}_reason', '')})" for key in SPREAD if key in plan]
    if "step_seconds" in plan:
        lines.append(f"time        {_time(plan)}")
    if plan.get("memory_reason"):
        lines.append(f"memory      {_memory(plan)}")
    return lines


SPREAD = ("processes", "sharding")


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
        return f"not known ({step.get('reason')})"
    each = f"{short(step['value'])} s a step"
    if not found:
        return f"{each}; the steps are counted when the data is loaded"
    bounds = f"{duration(found['low'])} to {duration(found['high'])}"
    total = f"about {duration(found['seconds'])} ({bounds})"
    return f"{total} for {found['steps']} steps, {each}: {step['reason']}"


def _memory(plan: Mapping[str, Any]) -> str:
    memory = plan.get("memory")
    if not memory:
        return f"not known ({plan['memory_reason']})"
    phase, size = max(((name, sum(terms.values())) for name, terms in memory.items()), key=lambda p: p[1])
    return f"{gib(size)} at most ({phase}), of {gib(plan.get('capacity_bytes'))}"
