"""Who does what: how many ranks train, and which GPUs serve vLLM."""

from __future__ import annotations

from dataclasses import dataclass, replace

from openr1.errors import EnvironmentProblem, RecipeError, UsageError
from openr1.hardware.facts import Machine
from openr1.planning.phases import VLLM_OVERHEAD_BYTES
from openr1.planning.plan import Asked
from openr1.planning.shapes import ModelShape

THIS_MACHINE = ("0.0.0.0", "127.0.0.1", "localhost", "::", "::1")


@dataclass(frozen=True)
class World:
    """The ranks of a plan. `vllm` is "none", "colocate", "server" or "generate".

    `train_gpus` and `vllm_gpus` are the cards of each node, by their number; `vllm_nodes` counts whole
    nodes that serve vLLM beside the training ones (the last ones), else the first node's cards serve.
    `vllm_parallel` cards of a server hold one copy of the model.
    """

    ranks: int
    nodes: int
    reason: str
    vllm: str = "none"
    vllm_reason: str = "no completions are generated"
    train_gpus: tuple[int, ...] = ()
    vllm_gpus: tuple[int, ...] = ()
    vllm_nodes: int = 0
    vllm_parallel: int = 1
    warnings: tuple[str, ...] = ()


def choose_world(
    stage: str,
    asked: Asked,
    machine: Machine,
    gpus: int | None,
    processes: int | None,
    has_vllm: bool,
    shape: ModelShape | None = None,
) -> World:
    """Ranks and vLLM mode.

    Raises:
        EnvironmentProblem: more GPUs asked for than there are.
        RecipeError: a vLLM mode that cannot work here.
    """
    if stage == "grpo":
        _refuse_a_host(asked)
    if not machine.gpus:
        return _without_gpus(stage, asked, machine, gpus, processes)
    if processes is not None:
        raise UsageError(
            f"--processes {processes} is for machines without a GPU",
            where="--processes",
            fix=f"--gpus {processes}: one process trains on each GPU",
        )
    here = len(machine.gpus)
    if gpus is not None and not 1 <= gpus <= here:
        cards = f"{here} GPU{'s' if here > 1 else ''}"
        raise EnvironmentProblem(
            f"--gpus {gpus} asks for more than the {cards} this machine shows ({machine.gpus_reason})"
            if gpus > here
            else f"--gpus {gpus}: at least one GPU must train",
            where="--gpus",
            fix=f"--gpus {here}" + (" or less" if here > 1 else ""),
        )
    most = gpus or here
    if any(g.mig.value for g in machine.gpus) and most > 1:
        return _one_slice(stage, asked, machine, has_vllm, shape)
    nodes = machine.nodes.value or 1
    if stage != "grpo":
        return _numbered(_even(asked, most, nodes, fixed=gpus is not None), machine)
    return _numbered(_grpo(asked, machine, nodes, gpus, has_vllm, shape), machine)


def _refuse_a_host(asked: Asked) -> None:
    """TRL's way to name a server of one's own, for which there is one word here."""
    host = asked.person("vllm_server_host")
    served = asked.person("use_vllm") is not False and asked.person("vllm_mode") != "colocate"
    if not host or not served or asked.person("vllm_server_base_url") or host in THIS_MACHINE:
        return
    url = f"http://{host}:{asked.get('vllm_server_port', 8000)}"
    raise RecipeError(
        f"vllm_server_host {host}, but openr1 starts the vLLM server itself",
        where="vllm_server_host",
        fix=f"--vllm_server_base_url {url} if it is yours and runs; else leave it out",
    )


def _numbered(world: World, machine: Machine) -> World:
    """Ordinals become the numbers of CUDA_VISIBLE_DEVICES."""
    numbers = [g.index for g in machine.gpus]
    train_nodes = max(1, world.nodes - world.vllm_nodes)
    per_node = max(1, world.ranks // train_nodes)
    return replace(
        world,
        train_gpus=tuple(numbers[:per_node]),
        vllm_gpus=tuple(numbers[i] for i in world.vllm_gpus),
    )


def _one_slice(stage: str, asked: Asked, machine: Machine, has_vllm: bool, shape: ModelShape | None) -> World:
    """NCCL cannot join MIG slices, so only one trains."""
    alone = replace(machine, gpus=machine.gpus[:1])
    world = choose_world(stage, asked, alone, None, None, has_vllm, shape)
    warning = "only one MIG slice trains: slices of a card cannot work together"
    return replace(world, warnings=(*world.warnings, warning))


def _without_gpus(
    stage: str, asked: Asked, machine: Machine, gpus: int | None, processes: int | None
) -> World:
    if gpus:
        raise EnvironmentProblem(
            f"--gpus {gpus}, but this machine has no GPU to use: {machine.gpus_reason}",
            where="--gpus",
            fix="leave --gpus out to train on the CPU, or see `openr1 hw-profile --check`",
        )
    nodes = machine.nodes.value or 1
    here = processes or 1
    why = f"{here} processes, as asked" if processes else "one process uses all cores best"
    world = World(here * nodes, nodes, why if nodes == 1 else f"{why}, on each of {nodes} nodes")
    if stage != "grpo":
        return world
    if asked.person("use_vllm") and _serves_on_a_node(asked, nodes):
        on = "" if nodes == 2 else f", on each of {nodes - 1} nodes"
        served = "set by you (vllm_mode: server), kept; the last node serves"
        return World(here * (nodes - 1), nodes, why + on, "server", served, vllm_nodes=1)
    if asked.person("use_vllm"):
        slow = "vLLM on a CPU takes 20-40 s to start and is about as fast as transformers' generate"
        mode = "server" if asked.person("vllm_mode") == "server" else "colocate"
        return replace(world, vllm=mode, vllm_reason="set by you (use_vllm: true), kept", warnings=(slow,))
    reason = "no GPU: on a CPU transformers' generate is as fast as vLLM and starts at once"
    return replace(world, vllm="generate", vllm_reason=reason)


def _even(asked: Asked, most: int, nodes: int, fixed: bool) -> World:
    """As many ranks as split the global batch evenly; all of them if a number was asked for."""
    if fixed:
        return World(most * nodes, nodes, f"--gpus {most}" + (f" on {nodes} nodes" if nodes > 1 else ""))
    given = asked.get("global_batch_size")
    world = most * nodes
    everyone = "one GPU trains" if world == 1 else f"all {world} GPUs train"
    if not isinstance(given, int) or given < 1 or given % world == 0:
        return World(world, nodes, everyone)
    per_node = next(d for d in range(most, 0, -1) if given % (d * nodes) == 0 or d == 1)
    ranks = per_node * nodes
    idle = world - ranks
    near = given // world * world or world
    spare = (
        f"{idle} GPU{'s' if idle > 1 else ''} will not train: global_batch_size {given} is no multiple of "
        f"{world}; --global_batch_size {near} would use all"
    )
    why = f"{ranks} of {world} GPUs: the most that split global_batch_size {given} evenly"
    return World(ranks, nodes, why, warnings=(spare,))


def _grpo(
    asked: Asked, machine: Machine, nodes: int, gpus: int | None, has_vllm: bool, shape: ModelShape | None
) -> World:
    here = len(machine.gpus)
    mode, wish = asked.person("vllm_mode"), asked.person("use_vllm")
    even = _even(asked, gpus or here, nodes, fixed=gpus is not None)
    if wish is False:
        return replace(even, vllm="generate", vllm_reason="set by you (use_vllm: false), kept")
    if not has_vllm and wish is None:
        slow = "vLLM is not installed: rollouts take 3-8 times as long; pip install 'openr1[vllm]'"
        why = "vLLM is not installed, so transformers generates"
        return replace(even, vllm="generate", vllm_reason=why, warnings=(*even.warnings, slow))
    if asked.person("vllm_server_base_url"):
        return replace(even, vllm="server", vllm_reason="your own server, as vllm_server_base_url says")
    if mode == "server" or (mode is None and gpus is not None and gpus < here):
        return _server(asked, machine, nodes, gpus, shape, mode == "server")
    most = (gpus or here) * nodes
    if even.ranks < most and mode is None and nodes == 1:
        # The GPU that cannot share the batch evenly serves vLLM for the others.
        world = _server(asked, machine, 1, even.ranks, shape, False)
        spare = most - even.ranks - len(world.vllm_gpus)
        reason = "a GPU that cannot share the batch evenly serves vLLM for the others"
        return replace(world, reason=even.reason, vllm_reason=reason, warnings=even.warnings if spare else ())
    why = "vLLM shares every training GPU: none waits while another works"
    return replace(even, vllm="colocate", vllm_reason="set by you, kept" if mode == "colocate" else why)


def _server(
    asked: Asked, machine: Machine, nodes: int, gpus: int | None, shape: ModelShape | None, explicit: bool
) -> World:
    here = len(machine.gpus)
    why = "set by you (vllm_mode: server), kept" if explicit else "the free GPU serves vLLM, as in open-r1"
    needed = _server_gpus(asked, machine, shape)
    if _serves_on_a_node(asked, nodes) and gpus in (None, here):  # as open-r1's Slurm script
        even = _even(asked, here, nodes - 1, fixed=gpus is not None)
        cards = tuple(range(here // needed * needed))
        said = f"{why}; the last node serves"
        return replace(
            even, nodes=nodes, vllm="server", vllm_reason=said, vllm_gpus=cards, vllm_nodes=1,
            vllm_parallel=needed,
        )  # fmt: skip
    if here < 1 + needed:
        raise RecipeError(
            f"vllm_mode: server needs {needed} GPU{'s' if needed > 1 else ''} beside the training ones, "
            f"and this machine has {here} in all",
            where="vllm_mode",
            fix="--vllm_mode colocate, or name a running server with --vllm_server_base_url",
        )
    if gpus is not None and gpus + needed > here:
        raise EnvironmentProblem(
            f"{gpus} training GPUs + {needed} for the vLLM server are {gpus + needed}; there are {here}",
            where="--gpus with vllm_mode: server",
            fix=f"--gpus {here - needed}, or --vllm_mode colocate",
        )
    even = _even(asked, gpus or here - needed, nodes, fixed=gpus is not None)
    per_node = even.ranks // nodes
    serving = tuple(range(per_node, per_node + needed))
    warnings = even.warnings
    if nodes > 1:
        why = f"{why}: {needed} of the first node's, for all {even.ranks} ranks"
        idle = (
            f"{(nodes - 1) * (here - per_node)} GPU(s) of the other nodes do nothing: one server serves all; "
            "--vllm_mode server without --gpus gives vLLM the last node, --vllm_mode colocate uses every GPU"
        )
        warnings = (*warnings, idle)
    return replace(
        even, vllm="server", vllm_reason=why, vllm_gpus=serving, vllm_parallel=needed, warnings=warnings
    )


def _serves_on_a_node(asked: Asked, nodes: int) -> bool:
    """Whether the last node of several serves vLLM: a server was asked for, and none is named."""
    return nodes > 1 and asked.person("vllm_mode") == "server" and not asked.person("vllm_server_base_url")


def _server_gpus(asked: Asked, machine: Machine, shape: ModelShape | None) -> int:
    """GPUs that hold one copy of the served model: a person's vllm_tensor_parallel_size, else as few, in
    powers of two, as hold the bf16 weights with room for KV."""
    own = asked.person("vllm_tensor_parallel_size")
    if own is not None:
        return min(max(1, int(own)), len(machine.gpus))
    total = machine.gpus[0].total_bytes.value
    if shape is None or total is None:
        return 1
    count = 1
    while 2 * shape.params // count + VLLM_OVERHEAD_BYTES > 0.75 * total and count < len(machine.gpus):
        count *= 2
    return count
