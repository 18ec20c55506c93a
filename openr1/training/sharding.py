"""How ranks share weights and optimizer states: what the trainer's arguments need for it."""

from __future__ import annotations

import os
from typing import Any

from openr1.launch.deepspeed import STAGES
from openr1.runs.child import Child

CONFIG = "deepspeed.json"


def sharded(child: Child) -> dict[str, Any]:
    """TrainingArguments that turn the plan's ZeRO stage on; nothing without one.

    A person's own `deepspeed:` file stays theirs.
    """
    if child.config["plan"].get("sharding") not in STAGES or child.values.get("deepspeed"):
        return {}
    more: dict[str, Any] = {"deepspeed": str(child.run.path / CONFIG)}
    if child.values.get("use_cpu"):
        _deepspeed_on_a_cpu()
        more["accelerator_config"] = {"use_configured_state": True}
    return more


def _deepspeed_on_a_cpu() -> None:
    """Tell accelerate that these ranks are DeepSpeed's although they have no card.

    accelerate 1.15 (`PartialState.__init__`) looks for DeepSpeed only where `cpu` is false, and without an
    accelerator counts one process there; DeepSpeed itself trains on a CPU. Needed by tests and by nobody who
    has a card. `tests/launch/test_contract.py` fails when accelerate does it by itself.
    """
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    os.environ["DS_ACCELERATOR"] = "cpu"
    from deepspeed import comm

    comm.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)  # takes the group that is there
    state = PartialState(cpu=True)
    state.distributed_type = DistributedType.DEEPSPEED
