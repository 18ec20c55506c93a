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
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Simulated:
    """Bytes of one simulated step: parameters and gradients, and the peak of everything alive."""

    parameters: int
    gradients: int
    peak: int

    @property
    def activations(self) -> int:
        """The peak above the parameters."""
        return self.peak - self.parameters


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
        "attn_implementation": "sdpa",
        "use_cache": False,
    }
    return kinds[shape.family](**sizes)


def simulate_step(shape: ModelShape, rows: int, length: int, checkpointing: bool, autocast: bool) -> Simulated:
    """One forward and backward of the decoder without its head, under fake tensors.

    The head is left out because TRL's fused one is not the model's; `autocast` keeps fp32 weights and
    computes in bf16, otherwise the weights are bf16.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from transformers import AutoModel

    ledger = _Ledger()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for leaf in tree_leaves(out):
                if isinstance(leaf, torch.Tensor):
                    ledger.see(leaf)
            return out

    with FakeTensorMode(allow_non_fake_inputs=True), Watch():
        dtype = torch.float32 if autocast else torch.bfloat16
        model = AutoModel.from_config(hf_config(shape), dtype=dtype)
        model.train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        parameters = sum(p.numel() * p.element_size() for p in model.parameters())
        ids = torch.zeros((rows, length), dtype=torch.long)
        ledger.reset_peak()
        before = ledger.alive
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            out = model(input_ids=ids, use_cache=False).last_hidden_state
        # The gradient that a head would send back: of the hidden states, in their type.
        out.backward(torch.ones_like(out))
        gradients = sum(p.grad.numel() * p.grad.element_size() for p in model.parameters() if p.grad is not None)
        return Simulated(before, gradients, ledger.peak if parameters else 0)


def predicted_step(shape: ModelShape, rows: int, length: int, checkpointing: bool, autocast: bool) -> int:
    """The same by the formulas: weights, and the larger of activations and gradients, no head."""
    setup = Setup(
        shape=replace(shape, tied=True),  # the decoder alone has no head of its own
        micro_tokens=rows * length,
        weight_bytes=4 if autocast else 2,
        accumulation=1,
        checkpointing=checkpointing,
    )
    moving = memory.checkpoints(setup) + memory.working_set(setup) + memory.cast_cache(setup)
    return memory.base_weights(setup) + max(moving, memory.gradients(setup))


def compare(family: str, checkpointing: bool, autocast: bool) -> dict[str, Any]:
    """One row: predicted and simulated bytes, and the error of the prediction."""
    shape = TABLE[FAMILIES[family]]
    simulated = simulate_step(shape, ROWS, LENGTH, checkpointing, autocast)
    predicted = predicted_step(shape, ROWS, LENGTH, checkpointing, autocast)
    return {
        "family": family,
        "model": shape.name,
        "tokens": ROWS * LENGTH,
        "checkpointing": checkpointing,
        "weights": "fp32, bf16 autocast" if autocast else "bf16",
        "predicted_bytes": predicted,
        "simulated_bytes": simulated.peak,
        "error": predicted / simulated.peak - 1,
    }


def main(families: list[str]) -> int:
    """Print every comparison as one JSON object."""
    unknown = [f for f in families if f not in FAMILIES]
    if unknown:
        print(f"no family {', '.join(unknown)}; known: {', '.join(FAMILIES)}", file=sys.stderr)
        return 2
    rows = [
        compare(family, checkpointing, autocast)
        for family in families or list(FAMILIES)
        for checkpointing in (True, False)
        for autocast in (True, False)
    ]
    print(json.dumps({"rows": rows, "tolerance": TOLERANCE}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
