"""The command lines of a run's processes, as data: a dry run prints what a launch would run."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from openr1.errors import EnvironmentProblem

ROOMS = {
    "sft": "openr1.training",
    "grpo": "openr1.training",
    "eval": "openr1.evaluation",
    "generate": "openr1.generation",
}
# What a rank may use on its own node, bytes: the plan in the run's folder is the first node's.
CAPACITY = "OPENR1_CAPACITY_BYTES"
# What other launchers (torchrun, accelerate, MPI) tell their children. Ours must not take it for theirs.
FOREIGN = re.compile(
    "(RANK|WORLD_SIZE|(LOCAL|GROUP|ROLE|NODE)_(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)"
    "|(ACCELERATE|FSDP|TORCHELASTIC|PMI|OMPI|MV2)_.*)"
)


@dataclass(frozen=True)
class Command:
    """argv and the environment variables that are set for it."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        assigned = [f"{key}={shlex.quote(value)}" for key, value in self.env.items()]
        return " ".join([*assigned, *map(shlex.quote, self.argv)])

    def with_env(self, **more: str) -> Command:
        return Command(self.argv, self.env | more)


@dataclass(frozen=True)
class Ranks:
    """The training processes of one node, and where all of them meet.

    `here` ranks run on this node, `world` on all training nodes; `node` counts from 0.
    """

    here: int
    world: int
    node: int = 0
    host: str = "127.0.0.1"
    port: int | None = None  # None: a free one, taken at the start


def local(stage: str, run: Path, threads: int | None = None) -> Command:
    """One process on this machine.

    Args:
        stage: sft, grpo, eval or generate.
        run: the run folder; its resolved.yaml is all the child reads.
        threads: OpenMP threads; None leaves the child to probe.
    """
    env = {
        # TRL and huggingface_hub send usage pings unless told not to.
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if threads:
        env["OMP_NUM_THREADS"] = str(threads)
    return Command([sys.executable, "-m", ROOMS[stage], str(run)], env)


def of_ranks(command: Command, ranks: Ranks, gpus: tuple[int, ...] = ()) -> list[Command]:
    """The command once per rank of this node, with torch's rendezvous variables.

    Args:
        gpus: the cards that train on this node; each rank sees all of them and takes the one of its number.
    """
    if ranks.world == 1 and not gpus:
        return [command]
    shared: dict[str, str] = {}
    if gpus:
        shared["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    if ranks.world == 1:
        return [command.with_env(**shared)]
    shared |= {
        "WORLD_SIZE": str(ranks.world),
        "LOCAL_WORLD_SIZE": str(ranks.here),
        "OPENR1_NODE": str(ranks.node),
        "MASTER_ADDR": ranks.host,
        "MASTER_PORT": str(ranks.port or 0),
    }
    first = ranks.node * ranks.here
    return [command.with_env(RANK=str(first + i), LOCAL_RANK=str(i), **shared) for i in range(ranks.here)]


def module(name: str, run: Path) -> Command:
    """One of our modules, run on a run folder as `local` runs a stage."""
    return Command([sys.executable, "-m", name, str(run)], local("eval", run).env)


def with_parent(env: dict[str, str]) -> dict[str, str]:
    """A child's whole environment: ours without other launchers' words, the command's, whom to die with."""
    ours = {key: value for key, value in os.environ.items() if not FOREIGN.fullmatch(key)}
    return {**ours, **env, "OPENR1_PARENT_PID": str(os.getpid())}


def free_port() -> int:
    """A TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def check_port(
    port: int, where: str, fix: str = "name a port that is free on the first node, above 1024"
) -> None:
    """Raises EnvironmentProblem when something listens on this port of this machine already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise EnvironmentProblem(
                f"port {port} cannot be used here: {error.strerror}",
                where=where,
                fix=fix,
            ) from None
