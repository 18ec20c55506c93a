"""A run whose samples come from vLLM servers that openr1 starts: on this node, or on several."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.errors import ComponentFailed
from openr1.launch import command, meeting, supervise, vllm_server
from openr1.launch.command import Command
from openr1.launch.vllm_server import Part, Sampling, Serve, Server
from openr1.planning.find_shape import find_shape
from openr1.services.launching import built_model, meeting_place
from openr1.services.request import Listener

if TYPE_CHECKING:
    from openr1.services.prepare import Prepared

VARIABLE = "OPENR1_SERVERS"
RAY_PORT, DASHBOARD_PORT = 6379, 8265


def serves(plan: dict[str, Any]) -> bool:
    """Whether openr1 starts the servers of this plan itself."""
    return "serve" in (plan.get("sampling") or {})


def servers_of(prepared: Prepared, model: str, places: dict[str, Any] | None = None) -> list[Serve]:
    """The servers of this node, as data.

    Args:
        model: hub id or folder.
        places: `addresses` and `ports` of all nodes, where there are several.
    """
    values, plan = prepared.resolved.values, prepared.plan["sampling"]
    serve, node = plan["serve"], prepared.nodes.rank
    if node == 0 and not serve["first"]:
        return []
    span, ray = int(serve["span"]), None
    if places is not None and serve["executor"] == "ray" and span > 1:
        ray = f"{places['addresses'][0]}:{RAY_PORT}"
        if node % span:  # Ray's own processes take this node's cards
            return []
    head = node - node % span
    master = (places["addresses"][head], places["ports"][head]) if places is not None and span > 1 else None
    on_cpu = "CUDA_VISIBLE_DEVICES" not in serve["environments"][0]
    shape = find_shape(model).value
    found = []
    for environment in serve["environments"]:
        how = Sampling(
            dtype="float32" if on_cpu and values["dtype"] == "auto" else values["dtype"],
            tensor_parallel=plan["tensor_parallel"],
            pipeline_parallel=plan["pipeline_parallel"],
            memory_share=values["gpu_memory_utilization"],
            at_once=values["batch_size"] or Sampling.at_once,
            weight_bytes=(shape.served_bytes if shape else 0) // span,
            environment=environment,
            node_rank=node % span,
            nodes=span,
            master=master,
            address=places["addresses"][node] if places is not None else None,
            ray=ray,
        )
        found.append(
            Serve(
                model,
                max_length=plan["max_model_length"] or values["max_model_length"],
                revision=values["model_revision"],
                trust_remote_code=values["trust_remote_code"],
                sampling=how,
            )
        )
    return found


def shown(prepared: Prepared) -> list[str]:
    """What a dry run shows of the servers: every node's command lines; ports are chosen at the start."""
    serve = prepared.plan["sampling"]["serve"]
    nodes = int(serve["nodes"])
    model = str(prepared.resolved["model_name_or_path"])
    places = None
    if nodes > 1:
        places = {"addresses": [f"NODE{k}" for k in range(nodes)], "ports": ["PORT"] * nodes}
    lines = []
    for node in range(nodes):
        here = replace(prepared, nodes=replace(prepared.nodes, count=nodes, rank=node))
        each = [vllm_server.command(one) for one in servers_of(here, model, places)]
        if serve["executor"] == "ray" and int(serve["span"]) > 1:
            each.insert(0, ray_command(node, "NODE0", f"NODE{node}"))
        lines += [f"node {node}: {one}" if nodes > 1 else str(one) for one in each]
    return [line.replace("--port 0 ", "--port PORT ") for line in lines]


def sample(prepared: Prepared, attempt: Path, listen: Listener) -> dict[str, Any]:
    """The first node: servers that are ready, then the client that draws from them.

    Raises:
        OpenR1Error: what ended it; exit 7 when a server or a node died.
    """
    nodes = prepared.nodes
    with contextlib.ExitStack() as stack:
        there, places = None, None
        if nodes.count > 1:
            host, port = meeting_place(nodes)
            others, name = range(1, nodes.count), prepared.resolved.hash
            there = stack.enter_context(meeting.first(host, port, others, name))
            listen({"event": "phase", "name": f"waiting for {nodes.count - 1} more nodes"})
            with vllm_server.stop_raises() as check:
                there.gather(check)
            _model(prepared)  # made once, before several nodes want it
            places = there.tell(command.free_port())
        parts = stack.enter_context(started(prepared, attempt, places, listen))
        listen({"event": "phase", "name": "starting the vLLM servers"})
        with vllm_server.stop_raises() as check:
            meeting.wait_until_ready(parts, check, there)
        urls = [part.serve.url for part in parts if isinstance(part, Server)]
        urls += there.urls if there is not None else []
        child = prepared.command.with_env(**{VARIABLE: " ".join(urls)})
        guards: list[supervise.Guard] = [*parts, *([there] if there is not None else [])]
        return supervise.run_ranks([child], [attempt / "rank-0.log"], listen, guards)


def serve(prepared: Prepared, attempt: Path, listen: Listener) -> dict[str, Any]:
    """Another node: its servers, until the first node has what it needs.

    Raises:
        OpenR1Error: what ended it, here or there.
    """
    ports = meeting.serve(
        meeting_place(prepared.nodes),
        prepared.nodes.rank,
        prepared.resolved.hash,
        lambda line, places: started(prepared, attempt, places, listen),
        lambda text: listen({"event": "phase", "name": text}),
    )
    return {"served": f"{len(ports)} servers"}


@contextlib.contextmanager
def started(
    prepared: Prepared, attempt: Path, places: dict[str, Any] | None, listen: Listener
) -> Iterator[list[Part]]:
    """This node's processes, none of them ready yet; nothing of them is left afterwards."""
    parts: list[Part] = []
    try:
        model = _model(prepared)
        serve = prepared.plan["sampling"]["serve"]
        if places is not None and serve["executor"] == "ray" and int(serve["span"]) > 1:
            parts.append(_ray(prepared, attempt, places, listen))
        for number, one in enumerate(servers_of(prepared, model, places)):
            log = attempt / ("vllm.log" if number == 0 else f"vllm-{number}.log")
            one = Serve(**{**vars(one), "port": command.free_port()})
            process = vllm_server.start(vllm_server.command(one), log)
            if one.silent:
                fix = "its log has the cause; the same command continues"
                parts.append(Part(process, log, "this node's part of the vLLM engine", fix))
            else:
                parts.append(Server(one, process, log))
        yield parts
    finally:
        for part in parts:
            part.stop()


def _model(prepared: Prepared) -> str:
    """What the servers load; a built-in model is made first, by the first node that needs it."""
    plan, values = prepared.plan, prepared.resolved.values
    model = str(plan["model"] if "model" in plan else plan["models"][0]["path"])
    if not model.startswith("builtin:"):
        return model
    made = prepared.run.path / "start"
    there = (made / "config.json").exists()
    return str(made) if there else built_model(model, int(values["seed"]), prepared.run.path)


def ray_command(node: int, first: str, here: str) -> Command:
    """What joins this node to the Ray cluster, or begins it on the first."""
    argv = [sys.executable, "-m", "openr1.launch.bound", _ray_program() or "ray", "start", "--block"]
    argv += ["--disable-usage-stats", "--node-ip-address", here]
    if node == 0:
        argv += ["--head", "--port", str(RAY_PORT), "--dashboard-host", "0.0.0.0"]
        argv += ["--dashboard-port", str(DASHBOARD_PORT)]
    else:
        argv += ["--address", f"{first}:{RAY_PORT}"]
    return Command(argv, {"RAY_USAGE_STATS_ENABLED": "0", "VLLM_HOST_IP": here})


def _ray_program() -> str | None:
    """Ray of this environment, before any other: a job of the scheduler may not have it on its path."""
    return shutil.which("ray", path=str(Path(sys.executable).parent)) or shutil.which("ray")


def _ray(prepared: Prepared, attempt: Path, places: dict[str, Any], listen: Listener) -> Part:
    node, first = prepared.nodes.rank, places["addresses"][0]
    if _ray_program() is None:
        raise ComponentFailed("`ray` is not installed on this node", fix="pip install ray, or --executor mp")
    log = attempt / "ray.log"
    process = vllm_server.start(ray_command(node, first, places["addresses"][node]), log)
    if node == 0:
        listen({"event": "notice", "text": dashboard(first)})
    return Part(process, log, "Ray", "its log has the cause; the same command continues")


def dashboard(first: str) -> str:
    """Where Ray's dashboard is, and how to see it from elsewhere."""
    return (
        f"Ray's dashboard: http://{first}:{DASHBOARD_PORT}; from your own machine: "
        f"ssh -N -L {DASHBOARD_PORT}:{first}:{DASHBOARD_PORT} LOGIN_NODE, then http://localhost:{DASHBOARD_PORT}"
    )
