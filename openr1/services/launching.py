"""From a prepared section to running processes: its ranks, and the server that they depend on."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.errors import ComponentFailed, EnvironmentProblem, RecipeError, UsageError
from openr1.hardware import Machine
from openr1.hardware.facts import Finding
from openr1.launch import command, deepspeed, meeting, supervise, vllm_server
from openr1.launch.command import Ranks
from openr1.launch.line import Line
from openr1.runs.files import write_json
from openr1.services.request import Listener, Nodes

if TYPE_CHECKING:
    from openr1.services.prepare import Prepared


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
    if serves(prepared):
        return _serve(prepared, attempt, listen)
    if nodes.rank == 0 and shares_by_our_file(plan):
        write_json(prepared.run.path / "deepspeed.json", deepspeed.config(plan["sharding"]))
    ranks = ranks_of(prepared)
    if ranks.world > 1 and ranks.port is None:
        ranks = replace(ranks, port=command.free_port())
    elif ranks.port is not None and ranks.node == 0:
        command.check_port(ranks.port, "--master")
    own = prepared.command.with_env(**{command.CAPACITY: str(plan.get("capacity_bytes") or 0)})
    commands = command.of_ranks(own, ranks, tuple(plan.get("train_gpus") or ()))
    first = ranks.node * ranks.here
    logs = [attempt / f"rank-{first + number}.log" for number in range(len(commands))]
    with _server(prepared, attempt, listen) as (guards, address):
        return supervise.run_ranks([c.with_env(**address) for c in commands], logs, listen, guards)


def shares_by_our_file(plan: dict[str, Any]) -> bool:
    """Whether the run gets a deepspeed.json; a person's file of `accelerate config` decides alone."""
    own = (plan.get("asked") or {}).get("accelerate_config")
    return plan.get("sharding") in deepspeed.STAGES and not own


def training_nodes(prepared: Prepared) -> int:
    """Nodes that train; those after them serve vLLM."""
    return max(1, prepared.nodes.count - int(prepared.plan.get("vllm_nodes") or 0))


def serves(prepared: Prepared) -> bool:
    """Whether this node serves vLLM and does not train."""
    return prepared.nodes.rank >= training_nodes(prepared)


@contextlib.contextmanager
def _server(
    prepared: Prepared, attempt: Path, listen: Listener
) -> Iterator[tuple[list[supervise.Guard], dict[str, str]]]:
    """What the ranks of this node depend on, and how they find it. Only the first rank talks to a server."""
    if prepared.nodes.rank > 0 or not uses_server(prepared):
        yield [], {}
    elif prepared.plan.get("vllm_nodes"):
        listen({"event": "phase", "name": "waiting for the node that serves vLLM"})
        host, port = _link(prepared)
        last = prepared.nodes.count - 1
        with meeting.first(host, port, [last], _meeting_of(prepared)) as there:
            with vllm_server.stop_raises() as check:
                there.gather(check)
                there.tell(command.free_port())
                there.wait_until_ready(check)
            (address,) = there.urls
            _check_reachable(address, last)
            group_port = _serve_of(prepared, "").group_port
            yield [there], _address(address, group_port or command.free_port())
    else:
        listen({"event": "phase", "name": "starting the vLLM server"})
        _own_port(prepared)
        with vllm_server.running(served_model(prepared, attempt), attempt / "vllm.log") as server:
            yield [server], _address(server.serve.url, server.serve.group_port)


def _own_port(prepared: Prepared) -> int:
    """The port that a person named for the server, 0 for none.

    Raises:
        EnvironmentProblem: something listens there.
    """
    port = _serve_of(prepared, "").port
    if port:
        command.check_port(port, "vllm_server_port", fix="another --vllm_server_port, or leave it out")
    return port


def _address(url: str, group_port: int) -> dict[str, str]:
    return {"OPENR1_VLLM_URL": url, "OPENR1_VLLM_GROUP_PORT": str(group_port)}


def _link(prepared: Prepared) -> tuple[str, int]:
    """Where the serving node calls the first one: the port after --master's."""
    host, port = meeting_place(prepared.nodes)
    return host, port + 1


def _meeting_of(prepared: Prepared) -> str:
    """The name under which the training and the serving node meet; each part of a rehearsal has its own."""
    part = f", rehearsal to step {prepared.resolved['max_steps']}" if "rehearsal" in prepared.plan else ""
    return prepared.resolved.hash + part


def same_on_the_serving_node(
    prepared: Prepared, find: Callable[[], dict[str, Any]], about: str
) -> dict[str, Any]:
    """What the first node finds out; the node that serves its vLLM, which measures nothing, hears it."""
    if not prepared.plan.get("vllm_nodes"):
        return find()
    name, place = f"{prepared.resolved.hash}, {about}", _link(prepared)
    if serves(prepared):
        return meeting.hear(place, prepared.nodes.rank, name)
    found = find()
    if prepared.nodes.rank == 0:
        with meeting.first(*place, [prepared.nodes.count - 1], name) as there:
            with vllm_server.stop_raises() as check:
                there.gather(check)
            there.say(found)
    return found


def _serve(prepared: Prepared, attempt: Path, listen: Listener) -> dict[str, Any]:
    """This node's part where it serves."""
    begun = time.monotonic()

    @contextlib.contextmanager
    def started(line: Line, places: dict[str, Any]) -> Iterator[list[vllm_server.Server]]:
        port = _own_port(prepared) or command.free_port()
        one = replace(served_model(prepared, attempt), host=line.here, port=port)
        log = attempt / "vllm.log"
        server = vllm_server.Server(one, vllm_server.start(vllm_server.command(one), log), log)
        try:
            yield [server]
        finally:
            server.stop()

    meeting.serve(
        _link(prepared),
        prepared.nodes.rank,
        _meeting_of(prepared),
        started,
        lambda text: listen({"event": "phase", "name": text}),
    )
    return {"served": f"{time.monotonic() - begun:.0f} s"}


def _check_reachable(url: str, node: int) -> None:
    """The node serves, and its first words came over another port than its answers will.

    Raises:
        EnvironmentProblem: the server does not answer this node.
    """
    try:
        urllib.request.urlopen(f"{url}/health", timeout=30).close()
    except OSError as error:
        raise EnvironmentProblem(
            f"the vLLM server of node {node} runs, but cannot be reached from the first node: {error}",
            where=url,
            fix="does a firewall between the nodes close its ports?",
        ) from None


def uses_server(prepared: Prepared) -> bool:
    """Whether openr1 starts a vLLM server for this run; a person's own runs elsewhere."""
    values = prepared.resolved.values
    if prepared.resolved.stage != "grpo" or not values.get("use_vllm") or values.get("vllm_mode") != "server":
        return False
    return not values.get("vllm_server_base_url")


def served_model(prepared: Prepared, attempt: Path) -> vllm_server.Serve:
    """The vLLM server that this node starts."""
    values = prepared.resolved.values
    model = str(values["model_name_or_path"])
    if model.startswith("builtin:"):
        scratch = attempt if prepared.nodes.rank else prepared.run.path
        model = built_model(model, int(values["seed"]), scratch)
    return _serve_of(prepared, model)


def _serve_of(prepared: Prepared, model: str) -> vllm_server.Serve:
    values, plan = prepared.resolved.values, prepared.plan
    given = {
        key: values[key]
        for key in ("vllm_server_port", "vllm_group_port")
        if key in prepared.resolved.explicit
    }
    return vllm_server.Serve(
        model=model,
        port=int(given.get("vllm_server_port", 0)),
        group_port=int(given.get("vllm_group_port", 0)),
        gpus=tuple(plan.get("vllm_gpus") or ()),
        parallel=values.get("vllm_tensor_parallel_size"),
        max_length=values.get("vllm_max_model_length"),
        revision=values.get("model_revision"),
        trust_remote_code=bool(values.get("trust_remote_code")),
    )


def shown(prepared: Prepared) -> str:
    """The command line of the server as a dry run shows it; address and port are chosen at the start."""
    serve = _serve_of(prepared, str(prepared.resolved["model_name_or_path"]))
    if prepared.plan.get("vllm_nodes"):
        serve = replace(serve, host="ADDRESS")
    return str(vllm_server.command(serve)).replace("--port 0 ", "--port PORT ")


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
    count = training_nodes(prepared)
    if count == 1:
        return Ranks(world, world)
    if world % count:
        raise RecipeError(
            f"{world} ranks cannot be spread over {count} nodes",
            where="--nodes",
            fix=f"--nodes 1, or a global_batch_size that is a multiple of {count}",
        )
    host, port = meeting_place(nodes)
    return Ranks(world // count, world, nodes.rank, host, port)


def of_nodes(machine: Machine, count: int) -> Machine:
    """The machine as one of so many that work together."""
    return replace(machine, nodes=Finding(count, f"--nodes {count}"))


def together(machine: Machine, nodes: Nodes) -> Machine:
    """The machine as the plan should see it: as many nodes as this command was told it works with.

    Raises:
        UsageError: flags of several nodes that do not go together.
    """
    if machine.simulated is not None and nodes.count == 1:
        return machine
    if machine.simulated is not None and nodes.master is None:
        return of_nodes(machine, nodes.count)
    if nodes.count > 1:
        meeting_place(nodes)
    elif nodes.master is not None or nodes.rank:
        raise UsageError(
            "--node-rank and --master belong to --nodes", where="--nodes", fix="say how many: --nodes 2"
        )
    return of_nodes(machine, nodes.count)


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
