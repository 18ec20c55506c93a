"""How ranks share weights and optimizer states: what the trainer's arguments need for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from openr1.launch.deepspeed import STAGES
from openr1.runs.child import Child

CONFIG = "deepspeed.json"


def sharded(child: Child) -> dict[str, Any]:
    """TrainingArguments that turn the plan's ZeRO stage on; nothing without one.

    A person's own `deepspeed:` file stays theirs, and a file of `accelerate config` decides alone.
    """
    file = child.config["plan"].get("asked", {}).get("accelerate_config")
    if file:
        os.environ.update(_as_accelerate_launch(file, child.values))
        if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true" and child.values.get("use_cpu"):
            _deepspeed_on_a_cpu()
            return {"accelerator_config": {"use_configured_state": True}}
        return {}
    if child.config["plan"].get("sharding") not in STAGES or child.values.get("deepspeed"):
        return {}
    more: dict[str, Any] = {"deepspeed": str(child.run.path / CONFIG)}
    if child.values.get("use_cpu"):
        _deepspeed_on_a_cpu()
        more["accelerator_config"] = {"use_configured_state": True}
    return more


def _as_accelerate_launch(file: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The variables that `accelerate launch --config_file FILE` would set for this rank.

    How the batch is accumulated and where gradients are clipped is the run's: DeepSpeed refuses two answers,
    and `accelerate launch` gives one (1 step) even where the file has none.
    """
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    # `--module` and a name: the parser wants something to launch
    args = launch_command_parser().parse_args(["--config_file", file, "--module", "openr1.training"])
    args, defaults, _ = _validate_launch_command(args)
    args.deepspeed_fields_from_accelerate_config = ",".join(
        defaults.deepspeed_config
    )  # as launch_command does
    args.gradient_accumulation_steps = values["gradient_accumulation_steps"]
    args.gradient_clipping = values["max_grad_norm"]
    args.main_process_port = 0  # the ranks have met already
    if args.use_deepspeed:
        _, env = prepare_deepspeed_cmd_env(args)
    else:
        env = prepare_multi_gpu_env(args)
    return {
        key: value for key, value in env.items() if key.startswith(("ACCELERATE_", "FSDP_", "PARALLELISM_"))
    }


def _deepspeed_on_a_cpu() -> None:
    """Tell accelerate that these ranks are DeepSpeed's although they have no card.

    accelerate 1.15 (`PartialState.__init__`) looks for DeepSpeed only where `cpu` is false, and without an
    accelerator counts one process there; DeepSpeed itself trains on a CPU. Needed by tests and by nobody who
    has a card. `tests/launch/test_contract.py` fails when accelerate does it by itself.
    """
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed.ops
    from deepspeed import comm

    # Without this it compiles its shared-memory all-reduce first: minutes, and a compiler. gloo does as well.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    comm.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)  # takes the group that is there
    state = PartialState(cpu=True)
    state.distributed_type = DistributedType.DEEPSPEED
