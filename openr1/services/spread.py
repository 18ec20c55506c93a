"""How a person wants the ranks of a run spread: by flags, or by a file of `accelerate config`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openr1.config.resolve import Resolved
from openr1.errors import EnvironmentProblem, RecipeError
from openr1.hardware import Machine
from openr1.launch import accelerate_file
from openr1.launch.accelerate_file import AccelerateFile
from openr1.services.request import Asked


def spread_of(
    resolved: Resolved, asked: Asked, machine: Machine
) -> tuple[dict[str, Any], AccelerateFile | None]:
    """How a person wants the ranks spread: what a stored plan must have been made for, and their own file.

    Raises:
        RecipeError: a file of `accelerate config` and the recipe want different sharding; the file is for
            another number of machines.
        EnvironmentProblem: the file is for more GPUs than there are.
    """
    spread: dict[str, Any] = {"gpus": asked.gpus, "processes": asked.processes, "accelerate_config": None}
    if not asked.accelerate_config:
        return spread, None
    file = accelerate_file.read(Path(asked.accelerate_config))
    if "sharding" in resolved.explicit and resolved["sharding"] not in ("auto", file.sharding):
        raise RecipeError(
            f"sharding {resolved['sharding']} and the file's {file.sharding} contradict each other",
            where=str(file.path),
            fix="leave one of them out",
        )
    given, nodes = asked.gpus or asked.processes, machine.nodes.value or 1
    if not given and file.machines not in (1, nodes):
        raise RecipeError(
            f"the file is for {file.machines} machines, this command for {nodes}",
            where=f"num_machines in {file.path}",
            fix=f"--nodes {file.machines} with --node-rank and --master on each, or --gpus N here",
        )
    each = max(1, file.processes // file.machines)
    kind = "processes" if file.on_cpu or asked.processes else "gpus"
    here = len(machine.gpus)
    if not given and kind == "gpus" and here < each:
        raise EnvironmentProblem(
            f"the file is for {each} GPUs, this machine shows {here} ({machine.gpus_reason})",
            where=f"num_processes in {file.path}",
            fix=f"--gpus {here}" if here else "--processes N trains on the CPU",
        )
    return spread | {kind: given or each, "accelerate_config": str(file.path)}, file


def as_the_file_says(file: AccelerateFile, plan: Mapping[str, Any], *, given: bool) -> dict[str, Any]:
    """What the plan says differently where the file decides.

    Args:
        given: the number of ranks was said on the command line, and not taken from the file.
    """
    why = f"as {file.path.name} says"
    told = {"sharding_reason": why} | ({} if given else {"processes_reason": why})
    requires = tuple(plan.get("requires") or ())
    if file.kind == "DEEPSPEED" and "deepspeed" not in requires:  # also where it shares nothing
        requires = (*requires, "deepspeed")
    return {**told, "requires": requires}


def gives_way(file: AccelerateFile, values: Mapping[str, Any]) -> list[str]:
    """A notice for what the file says of the batch otherwise than the run does."""
    ours = {
        "gradient_accumulation_steps": ("gradient_accumulation_steps", "the global batch is the recipe's"),
        "gradient_clipping": ("max_grad_norm", "it is the recipe's"),
    }
    return [
        f"{file.path.name}: {key} {said} gives way to {ours[key][0]} {values[ours[key][0]]}: {ours[key][1]}"
        for key, said in file.batch.items()
        if said != values[ours[key][0]]
    ]
