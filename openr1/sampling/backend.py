"""What every backend can do, and which one a run gets. Nothing heavy is imported before one is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from openr1.config.references import load_module
from openr1.errors import RecipeError
from openr1.sampling.requests import Completion, Failure, Request, SamplingParams, Unit


class Sampler(Protocol):
    """A model that completes requests.

    Attributes:
        device: "cuda", "cpu" or "server".
        fingerprint: names the weights (and tokenizer and template); part of every sample's key.
        context: longest prompt plus completion, in tokens; None where it is not known.
        unit_size: requests that are drawn together; 1 where the engine batches by itself.
    """

    device: str
    fingerprint: str
    unit_size: int

    @property
    def context(self) -> int | None: ...

    def prompt_lengths(self, requests: Sequence[Request]) -> list[int]:
        """Tokens of each prompt; [] where that cannot be known."""
        ...

    def run(
        self, units: Iterable[Unit | None], params: SamplingParams
    ) -> Iterator[tuple[Unit, Sequence[Completion | Failure]]]:
        """Draw units and yield each as it is finished, in whatever order.

        `units` is pulled lazily, never further ahead than can be in flight; a None says that there is none
        just now.
        """
        ...

    def close(self) -> None: ...


BACKENDS = {
    "transformers": "openr1.sampling.transformers_backend:open_sampler",
    "vllm": "openr1.sampling.vllm_backend:VllmSampler",
}
"""Name -> what takes an Engine and returns a Sampler; imported when it is chosen."""


@dataclass(frozen=True)
class Engine:
    """How to open a sampler; everything a worker process needs to know.

    Args:
        backend: a name of BACKENDS, or `file.py:CLASS` of one's own.
        source: hub id or folder.
        dtype: "auto", "float32", "bfloat16", "float16".
        batch_size: completions side by side; None takes the backend's default.
        tensor_parallel: cards of one vLLM engine.
        max_model_length, gpu_memory_utilization: vLLM's.
        chat_template: Jinja text instead of the tokenizer's own.
    """

    backend: str
    source: str
    dtype: str = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    batch_size: int | None = None
    tensor_parallel: int = 1
    max_model_length: int | None = None
    gpu_memory_utilization: float = 0.9
    chat_template: str | None = None
    seed: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def open(self) -> Sampler:
        """Load the model in this process.

        Raises:
            RecipeError: no such backend, or it cannot be imported.
        """
        module_name, _, name = BACKENDS.get(self.backend, self.backend).rpartition(":")
        module = load_module(module_name, "backend")
        opened = getattr(module, name, None)
        if not callable(opened):
            there = ", ".join(n for n, v in vars(module).items() if isinstance(v, type)) or "none"
            raise RecipeError(f"{module_name} has no backend {name}", fix=f"its classes: {there}")
        sampler: Sampler = opened(self)
        return sampler
