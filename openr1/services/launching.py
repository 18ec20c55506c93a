"""From a prepared section to running processes: its ranks, and the server that they depend on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.errors import ComponentFailed, EnvironmentProblem, RecipeError, UsageError
from openr1.hardware import Machine
from openr1.hardware.facts import Finding
from openr1.launch import command, deepspeed, supervise, vllm_server
from openr1.launch.command import Ranks
from openr1.runs.files import write_json
from openr1.services.request import Listener, Nodes

if TYPE_CHECKING:
    from openr1.services.stage import Prepared


def launch(prepared: Prepared, attempt: Path, listen: Listener) -> dict[str, Any]:
    """Start what the plan asks for on this node and wait for it.

    Args:
        attempt: the folder of this attempt's logs.

    Returns:
        The first rank's result.

    Raises:
        OpenR1Error: what ended it.
    """
    from openr1.services import serving  # it takes `meeting_place` from here

    plan, nodes = prepared.plan, prepared.nodes
    if serving.serves(plan):
        return (serving.sample if nodes.rank == 0 else serving.serve)(prepared, attempt, listen)
    serve = served_model(prepared)
    if nodes.rank == 0 and plan.get("sharding") in deepspeed.STAGES:
        write_json(prepared.run.path / "deepspeed.json", deepspeed.config(plan["sharding"]))
    ranks = ranks_of(prepared)
    if ranks.world > 1 and ranks.port is None:
        ranks = replace(ranks, port=command.free_port())
    elif ranks.port is not None and ranks.node == 0:
        command.check_port(ranks.port, "--master")
    commands = command.of_ranks(prepared.command, ranks, tuple(plan.get("train_gpus") or ()))
    first = ranks.node * ranks.here
    logs = [attempt / f"rank-{first + number}.log" for number in range(len(commands))]
    if serve is None:
        return supervise.run_ranks(commands, logs, listen)
    listen({"event": "phase", "name": "starting the vLLM server"})
    with vllm_server.running(serve, attempt / "vllm.log") as server:
        address = {
            "OPENR1_VLLM_URL": server.serve.url,
            "OPENR1_VLLM_GROUP_PORT": str(server.serve.group_port),
        }
        return supervise.run_ranks([c.with_env(**address) for c in commands], logs, listen, [server])


def served_model(prepared: Prepared) -> vllm_server.Serve | None:
    """The vLLM server that this node starts; None where there is none, or a person's own runs elsewhere.

    Raises:
        EnvironmentProblem: one for a whole node, which is not started here.
    """
    values, plan = prepared.resolved.values, prepared.plan
    if prepared.resolved.stage != "grpo" or not values.get("use_vllm") or values.get("vllm_mode") != "server":
        return None
    if values.get("vllm_server_base_url"):
        return None
    if prepared.nodes.count > 1:
        raise EnvironmentProblem(
            "a vLLM server for several nodes is not started by this version",
            where="vllm_mode: server with --nodes",
            fix="--vllm_mode colocate, or start one yourself and name it: --vllm_server_base_url",
        )
    model = str(values["model_name_or_path"])
    if model.startswith("builtin:"):
        model = built_model(model, int(values["seed"]), prepared.run.path)
    return vllm_server.Serve(
        model=model,
        gpus=tuple(plan.get("vllm_gpus") or ()),
        max_length=values.get("vllm_max_model_length"),
        revision=values.get("model_revision"),
        trust_remote_code=bool(values.get("trust_remote_code")),
    )


def built_model(model: str, seed: int, scratch: Path) -> str:
    """A built-in model's files, made by a child: this process has no torch."""
    program = (
        "import sys; from pathlib import Path; from openr1.data.model_source import model_files; "
        "model_files(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))"
    )
    argv = [sys.executable, "-c", program, model, str(seed), str(scratch)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ComponentFailed(f"the built-in model cannot be made: {done.stderr.strip()[-300:]}", where=model)
    return str(scratch / "start")


def ranks_of(prepared: Prepared) -> Ranks:
    """The ranks of this node, and where they meet the others'.

    Raises:
        RecipeError: the ranks cannot be spread evenly.
    """
    nodes, world = prepared.nodes, int(prepared.plan.get("processes") or 1)
    if nodes.count == 1:
        return Ranks(world, world)
    if world % nodes.count:
        raise RecipeError(
            f"{world} ranks cannot be spread over {nodes.count} nodes",
            where="--nodes",
            fix=f"--nodes 1, or a global_batch_size that is a multiple of {nodes.count}",
        )
    host, port = meeting_place(nodes)
    return Ranks(world // nodes.count, world, nodes.rank, host, port)


def together(machine: Machine, nodes: Nodes) -> Machine:
    """The machine as the plan should see it: as many nodes as this command was told it works with.

    Raises:
        UsageError: flags of several nodes that do not go together.
    """
    if machine.simulated is not None and nodes.count == 1:
        return machine
    if machine.simulated is not None and nodes.master is None:
        return replace(machine, nodes=Finding(nodes.count, f"--nodes {nodes.count}"))
    if nodes.count > 1:
        meeting_place(nodes)
    elif nodes.master is not None or nodes.rank:
        raise UsageError(
            "--node-rank and --master belong to --nodes", where="--nodes", fix="say how many: --nodes 2"
        )
    return replace(machine, nodes=Finding(nodes.count, f"--nodes {nodes.count}"))


def meeting_place(nodes: Nodes) -> tuple[str, int]:
    """HOST and PORT of --master.

    Raises:
        UsageError: it is missing or not of that form; a rank beyond the last node.
    """
    if nodes.rank >= nodes.count:
        raise UsageError(
            f"--node-rank {nodes.rank} of {nodes.count} nodes",
            where="--node-rank",
            fix=f"0 for the first node to {nodes.count - 1} for the last",
        )
    host, colon, port = (nodes.master or "").rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(
            f"--master {nodes.master} is not HOST:PORT" if nodes.master else "--nodes needs --master",
            where="--master",
            fix="the first node's address and a free port of it, the same on every node: node1:29500",
        )
    return host.strip("[]"), int(port)
