"""What a vLLM server on a CPU loads into its worker (`--worker-extension-cls`): weights out of a file."""

from __future__ import annotations

from typing import Any

from openr1.training.vllm import keep_linear_weights

keep_linear_weights()  # on import: the model is not loaded yet


class WeightsFromFile:
    """Mixed into vLLM's worker class; called through its `/collective_rpc`."""

    model_runner: Any

    def load_weights_from(self, path: str) -> None:
        """Load every tensor of a safetensors file by its name in the checkpoint."""
        from safetensors.torch import load_file

        self.model_runner.model.load_weights(list(load_file(path).items()))
