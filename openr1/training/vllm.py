"""The one file that knows vLLM from the inside: what its CPU build needs to train with TRL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from openr1.runs.child import Child

CPU_KV_CACHE_GIB = "1"


def ready(args: Any, context: int | None) -> None:
    """Prepare this process for a vLLM inside it (`vllm_mode: colocate`), before the trainer is built.

    Args:
        args: the trainer's GRPOConfig; its longest sequence is cut to the model's context, more than which
            vLLM refuses to start with.
        context: positions the model has; None when its configuration does not say.
    """
    if not args.use_vllm or args.vllm_mode == "server":
        return
    if context and args.vllm_max_model_length and args.vllm_max_model_length > context:
        args.vllm_max_model_length = context
    if torch.cuda.is_available():
        return
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", CPU_KV_CACHE_GIB)  # GiB; the default takes half the RAM
    keep_linear_weights()


def keep_linear_weights() -> None:
    """Have vLLM's CPU linear layers keep their weights as they were loaded.

    vLLM 0.32 (`dispatch_cpu_unquantized_gemm`) repacks a layer's weight for oneDNN or its own kernels and
    leaves an empty parameter without a `weight_loader`; the packed copy is what computes. TRL's weight sync
    (`load_weights`) then raises, or, where the weight was kept (the head), changes nothing. There is no
    switch for it, and no issue about it that we know of; NovaSky-AI/SkyRL#1680 tells the same of raw
    `load_weights` on repacked MoE layers. With the plain product the sync works and models of
    the size that a CPU trains are as fast. `tests/launch/test_vllm.py` fails when it is no longer needed.
    """
    from vllm.model_executor.layers import utils

    def plain(layer: torch.nn.Module, remove_weight: bool) -> None:
        product: Any = torch.nn.functional.linear
        layer.cpu_linear = product

    utils.dispatch_cpu_unquantized_gemm = plain


def served(child: Child) -> dict[str, Any]:
    """GRPOConfig's fields for the server that the parent has started; nothing without one."""
    url = os.environ.get("OPENR1_VLLM_URL")
    if not url:
        return {}
    if not torch.cuda.is_available():
        _sync_through_a_file(child.run.path / ".weights.safetensors")
    return {"vllm_server_base_url": url, "vllm_group_port": int(os.environ["OPENR1_VLLM_GROUP_PORT"])}


def _sync_through_a_file(path: Path) -> None:
    """Have TRL's client hand the weights over in a file, which the server's worker (`vllm_worker`) reads.

    TRL 1.16 (`VLLMClient.init_communicator`) knows NCCL only and refuses a trainer without a card.
    """
    from safetensors.torch import save_file
    from trl.generation.vllm_client import VLLMClient

    def init_communicator(self: Any, device: Any = 0) -> None:
        """Nothing to join."""

    def update_named_params(self: Any, metadata: Any, named_params: Any) -> None:
        save_file({name: tensor.detach().contiguous().clone() for name, tensor in named_params}, path)
        body = {"method": "load_weights_from", "args": [str(path.resolve())]}
        answer = self.session.post(f"{self.base_url}/collective_rpc", json=body)
        answer.raise_for_status()

    replaced: Any = VLLMClient
    replaced.init_communicator = init_communicator
    replaced.update_named_params = update_named_params
