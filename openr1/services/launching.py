"""From a prepared section to running processes: ranks, what they need, and the words for their failures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.launch import command, deepspeed, supervise
from openr1.launch.command import Ranks
from openr1.runs.files import write_json
from openr1.services.request import Listener

if TYPE_CHECKING:
    from openr1.services.stage import Prepared


def launch(prepared: Prepared, attempt: Path, listen: Listener) -> dict[str, Any]:
    """Start what the plan asks for and wait for it.

    Args:
        attempt: the folder of this attempt's logs.

    Returns:
        The first rank's result.

    Raises:
        OpenR1Error: what ended it.
    """
    plan = prepared.plan
    if plan.get("sharding") in deepspeed.STAGES:
        write_json(prepared.run.path / "deepspeed.json", deepspeed.config(plan["sharding"]))
    ranks = ranks_of(prepared)
    if ranks.world > 1 and ranks.port is None:
        ranks = Ranks(ranks.here, ranks.world, ranks.node, ranks.host, command.free_port())
    commands = command.of_ranks(prepared.command, ranks, tuple(plan.get("train_gpus") or ()))
    first = ranks.node * ranks.here
    logs = [attempt / f"rank-{first + number}.log" for number in range(len(commands))]
    return supervise.run_ranks(commands, logs, listen)


def ranks_of(prepared: Prepared) -> Ranks:
    """The ranks of this node."""
    world = int(prepared.plan.get("processes") or 1)
    return Ranks(world, world)
