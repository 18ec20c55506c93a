"""The phases of a stage and what each needs on the fullest GPU, by cause."""

from __future__ import annotations

from dataclasses import dataclass

from openr1.planning import memory
from openr1.planning.memory import GIB, Setup

# vLLM beside its weights: activations of a 4096-token prefill and CUDA graphs [E].
VLLM_OVERHEAD_BYTES = int(0.9 * GIB)
# What a sleeping vLLM (level 2) still holds: graphs, workspaces [E: 0.5-1 GiB].
VLLM_ASLEEP_BYTES = int(0.75 * GIB)
# A Python process with torch, transformers and TRL imported, resident [M: about 1 GiB].
PYTHON_BYTES = 1 * GIB


@dataclass(frozen=True)
class Rollout:
    """How completions are made on a rank."""

    mode: str  # "colocate", "server" or "generate" (transformers)
    completions: int  # made at once on this rank: one generation batch's share
    tokens_each: int  # prompt + completion, at most
    in_flight: int = 0  # full-length completions whose KV cache fits at once
    share: float = 0.0  # of the card's memory, colocate
    share_bytes: int = 0
    fixed_bytes: int = 0  # of the share: vLLM's weights and overhead
    tensor_parallel: int = 1
    sleep: bool = False
    steps: int | None = None  # micro-batches that one generation feeds; None = all of an optimizer step


def vllm_terms(setup: Setup, rollout: Rollout) -> dict[str, int]:
    """A colocated vLLM awake: weights, overhead, and the rest of its share as KV cache."""
    if rollout.mode != "colocate":
        return {}
    weights = 2 * setup.shape.params // rollout.tensor_parallel
    kv = max(rollout.share_bytes - weights - VLLM_OVERHEAD_BYTES, 0)
    return {"vLLM weights": weights, "vLLM graphs and activations": VLLM_OVERHEAD_BYTES, "vLLM KV cache": kv}


def generate_terms(setup: Setup, rollout: Rollout) -> dict[str, int]:
    """transformers' generate: the KV cache of the batch and two fp32 copies of its last logits [E]."""
    wide = setup.compute_bytes // 2
    kv = rollout.completions * rollout.tokens_each * setup.shape.kv_bytes_per_token * wide
    return {"KV cache": kv, "sampling": 2 * 4 * setup.shape.vocab * rollout.completions}


def phases(setup: Setup, cuda: bool, rollout: Rollout | None = None) -> dict[str, dict[str, int]]:
    """Bytes by cause for load, (rollout, log-probs,) update and save."""
    base = memory.outside_torch(setup.ranks, cuda) if cuda else {"Python and libraries": PYTHON_BYTES}
    beside: dict[str, int] = {}
    awake: dict[str, int] = {}
    if rollout is not None and rollout.mode == "colocate":
        awake = vllm_terms(setup, rollout)
        beside = {"vLLM asleep": VLLM_ASLEEP_BYTES} if rollout.sleep else awake
    found = {"load": _load(setup) | base}
    if rollout is not None:
        making = awake if rollout.mode == "colocate" else {}
        if rollout.mode == "generate":
            making = generate_terms(setup, rollout)
        found["rollout"] = memory.states(setup) | base | making
        found["log-probs"] = memory.forward_only(setup) | base | beside
    found["update"] = memory.update(setup) | base | beside
    found["save"] = _save(setup) | base | beside
    return {name: _with_fragmentation(terms, cuda) for name, terms in found.items()}


def _load(setup: Setup) -> dict[str, int]:
    """Weights as they are read. ZeRO-3 and FSDP shard while loading, so the share counts [S]."""
    return {"weights": memory.base_weights(setup)}


def _save(setup: Setup) -> dict[str, int]:
    """States, and under ZeRO-3 the whole 16-bit model gathered for `save_model` [S]."""
    terms = memory.states(setup)
    if setup.sharding == "zero3" and setup.ranks > 1:
        # gathered parameter by parameter and copied to the host: one largest layer at a time
        terms["gathered layer"] = 2 * max(setup.shape.layer_params, setup.shape.embedding_params)
    return terms


def _with_fragmentation(terms: dict[str, int], cuda: bool) -> dict[str, int]:
    """Torch's allocator loses a few per cent; vLLM's share and the context are whole blocks."""
    if not cuda:
        return terms
    outside = ("CUDA context", "NCCL", "vLLM")
    inside = sum(size for cause, size in terms.items() if not cause.startswith(outside))
    return terms | {"fragmentation": int(memory.FRAGMENTATION * inside)}
