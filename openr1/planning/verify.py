"""Predicted against simulated bytes: the real transformers model, run under fake tensors.

    python -m openr1.planning.verify [qwen2 qwen3 llama]

Fake tensors have shapes but no data, so a training step of a 0.5B model needs no weights, no GPU and a few
seconds. Every storage that lives is counted; the peak of forward and backward is compared with
`openr1.planning.memory`. This file and its imports of torch run only in a child process or a test.
"""

from __future__ import annotations

import json
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from openr1.planning import memory
from openr1.planning.memory import Setup
from openr1.planning.shape_table import TABLE
from openr1.planning.shapes import ModelShape

FAMILIES = {
    "qwen2": "Qwen/Qwen2.5-0.5B",
    "qwen3": "Qwen/Qwen3-0.6B",
    "llama": "meta-llama/Llama-3.2-3B",
}
ROWS, LENGTH = 4, 4096  # enough tokens that activations, not gradients, make the peak
TOLERANCE = 0.10
ATTENTION = "openr1_causal"
PRECISIONS = ("autocast", "bf16", "fp32")  # fp32 weights under bf16 autocast; all bf16; all fp32 (CPU)


def register_attention() -> None:
    """Causal attention without a mask, as it runs on a GPU.

    Under fake tensors transformers cannot see that a mask is not needed and makes one of T x T per layer,
    which would be counted as if it were real.
    """
    from torch.nn.functional import scaled_dot_product_attention
    from transformers import AttentionInterface

    def causal(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> tuple[Any, None]:
        scale = options.get("scaling")
        out = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=True)
        return out.transpose(1, 2).contiguous(), None

    AttentionInterface.register(ATTENTION, causal)


class _Ledger:
    """Counts the storages that are alive, by watching what every operation returns."""

    def __init__(self) -> None:
        self.alive = 0
        self.peak = 0
        self._known: dict[int, int] = {}

    def see(self, tensor: Any) -> None:
        """Count a tensor's storage once, until it is freed."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known[key] = size
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        self.alive -= self._known.pop(key, 0)

    def reset_peak(self) -> None:
        """The peak from here on."""
        self.peak = self.alive


def hf_config(shape: ModelShape) -> Any:
    """The transformers configuration of a shape, for the three families that are verified."""
    from transformers import LlamaConfig, Qwen2Config, Qwen3Config

    kinds: dict[str, Callable[..., Any]] = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig}
    sizes = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.context,
        "tie_word_embeddings": shape.tied,
        "attn_implementation": ATTENTION,
        "use_cache": False,
    }
    return kinds[shape.family](**sizes)


def simulate_step(
    shape: ModelShape, rows: int, length: int, checkpointing: bool, precision: str, accumulation: int = 1
) -> int:
    """Peak bytes of forward and backward of the decoder without its head, under fake tensors.

    The head is left out because TRL's fused one is not the model's. With `accumulation` 2 the second of two
    micro-batches is measured: gradients are there already.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from transformers import AutoModel

    register_attention()
    ledger = _Ledger()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for leaf in tree_leaves(out):
                if isinstance(leaf, torch.Tensor):
                    ledger.see(leaf)
            return out

    with FakeTensorMode(allow_non_fake_inputs=True), Watch():
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        model = AutoModel.from_config(hf_config(shape), dtype=dtype)
        model.train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        ids = torch.zeros((rows, length), dtype=torch.long)
        for _ in range(accumulation):
            ledger.reset_peak()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "autocast"):
                out = model(input_ids=ids, use_cache=False).last_hidden_state
            # The gradient that a head would send back: of the hidden states, in their type.
            out.backward(torch.ones_like(out))
            del out
        return ledger.peak


def predicted_step(
    shape: ModelShape, rows: int, length: int, checkpointing: bool, precision: str, accumulation: int = 1
) -> int:
    """The same by the formulas, without a head."""
    setup = Setup(
        shape=replace(shape, tied=True),  # the decoder alone has no head of its own
        micro_tokens=rows * length,
        weight_bytes=2 if precision == "bf16" else 4,
        compute_bytes=4 if precision == "fp32" else 2,
        accumulation=accumulation,
        checkpointing=checkpointing,
    )
    late = setup.weight_bytes * shape.embedding_params
    begins, ends = memory.backward(setup, 0, late)
    return memory.base_weights(setup) + max(memory.total(begins), memory.total(ends))


def compare(family: str, checkpointing: bool, precision: str, accumulation: int = 1) -> dict[str, Any]:
    """One row: predicted and simulated bytes, and the error of the prediction."""
    shape = TABLE[FAMILIES[family]]
    simulated = simulate_step(shape, ROWS, LENGTH, checkpointing, precision, accumulation)
    predicted = predicted_step(shape, ROWS, LENGTH, checkpointing, precision, accumulation)
    return {
        "family": family,
        "model": shape.name,
        "tokens": ROWS * LENGTH,
        "checkpointing": checkpointing,
        "precision": precision,
        "predicted_bytes": predicted,
        "simulated_bytes": simulated,
        "error": predicted / simulated - 1,
    }


def main(families: list[str]) -> int:
    """Print every comparison as one JSON object."""
    unknown = [f for f in families if f not in FAMILIES]
    if unknown:
        print(f"no family {', '.join(unknown)}; known: {', '.join(FAMILIES)}", file=sys.stderr)
        return 2
    rows = [
        compare(family, checkpointing, precision)
        for family in families or list(FAMILIES)
        for checkpointing in (True, False)
        for precision in PRECISIONS
    ]
    print(json.dumps({"rows": rows, "tolerance": TOLERANCE}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
