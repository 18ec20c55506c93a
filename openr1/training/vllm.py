"""The one file that knows vLLM from the inside: what its CPU build needs to train with TRL."""

from __future__ import annotations

import os
from typing import Any

import torch

CPU_KV_CACHE_GIB = "1"


def ready(values: dict[str, Any]) -> None:
    """Prepare this process for a vLLM inside it (`vllm_mode: colocate`), before the trainer is built.

    Args:
        values: the section's resolved values.
    """
    if not values.get("use_vllm") or values.get("vllm_mode") == "server" or torch.cuda.is_available():
        return
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", CPU_KV_CACHE_GIB)  # GiB; the default takes half the RAM
    keep_linear_weights()


def keep_linear_weights() -> None:
    """Have vLLM's CPU linear layers keep their weights as they were loaded.

    vLLM 0.32 (`dispatch_cpu_unquantized_gemm`) repacks a layer's weight for oneDNN or its own kernels and
    leaves an empty parameter without a `weight_loader`; the packed copy is what computes. TRL's weight sync
    (`load_weights`) then raises, or, where the weight was kept (the head), changes nothing. There is no
    switch for it (vllm-project/vllm#21401 asks for one). With the plain product the sync works and models of
    the size that a CPU trains are as fast. `tests/launch/test_vllm.py` fails when it is no longer needed.
    """
    from vllm.model_executor.layers import utils

    def plain(layer: torch.nn.Module, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    utils.dispatch_cpu_unquantized_gemm = plain
