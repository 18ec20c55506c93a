"""What is asked of a model and what comes back, whatever the backend."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SamplingParams:
    """How completions are drawn; the names are those of vLLM and transformers."""

    temperature: float
    top_p: float
    top_k: int | None
    max_new_tokens: int
    seed: int


@dataclass(frozen=True)
class Request:
    """One completion to draw: sample `index` of one conversation."""

    row: int
    index: int
    messages: tuple[dict[str, str], ...]

    def key(self, model: str, params: SamplingParams) -> str:
        """Twelve hex digits that name this sample of this prompt, model and way of drawing, and no other."""
        text = json.dumps([self.row, self.index, self.messages, model, asdict(params)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Completion:
    """One drawn completion.

    `finish_reason` is "stop" when the model ended its turn and "length" when it was cut off; `tokens`
    counts the completion, the end-of-turn token included.
    """

    text: str
    tokens: int
    finish_reason: str
    think_prefilled: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
