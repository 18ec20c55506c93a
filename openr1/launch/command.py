"""The command line of a child, as data: a dry run prints what a launch would run."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOMS = {
    "sft": "openr1.training",
    "grpo": "openr1.training",
    "eval": "openr1.evaluation",
    "generate": "openr1.generation",
}


@dataclass(frozen=True)
class Command:
    """argv and the environment variables that are set for it."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        assigned = [f"{key}={shlex.quote(value)}" for key, value in self.env.items()]
        return " ".join([*assigned, *map(shlex.quote, self.argv)])


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


def module(name: str, run: Path) -> Command:
    """One of our modules, run on a run folder as `local` runs a stage."""
    return Command([sys.executable, "-m", name, str(run)], local("eval", run).env)


def with_parent(env: dict[str, str]) -> dict[str, str]:
    """The full environment of a child: ours, the command's, and whom to die with."""
    return {**os.environ, **env, "OPENR1_PARENT_PID": str(os.getpid())}
