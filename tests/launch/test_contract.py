"""What the work-arounds of launching lean on; each fails when its work-around can go."""

from __future__ import annotations

import inspect
import subprocess
import sys

from openr1.launch.command import free_port, with_parent

PROGRAM = """
from accelerate import PartialState
print(PartialState(cpu=True).distributed_type.value)
"""


def test_accelerate_does_not_know_deepspeed_on_a_cpu() -> None:
    """When this fails, remove `_deepspeed_on_a_cpu` (openr1/training/sharding.py)."""
    env = with_parent({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"})
    env |= {"MASTER_PORT": str(free_port()), "ACCELERATE_USE_DEEPSPEED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "MULTI_CPU"


def test_trl_syncs_a_server_over_nccl_only() -> None:
    """When this fails, see whether `_sync_through_a_file` (openr1/training/vllm.py) can go."""
    from trl.generation.vllm_client import VLLMClient

    source = inspect.getsource(VLLMClient.init_communicator)
    assert 'device.type != "cuda"' in source
    assert "NotImplementedError" in source
    assert list(inspect.signature(VLLMClient.update_named_params).parameters)[1:] == [
        "metadata",
        "named_params",
    ]
