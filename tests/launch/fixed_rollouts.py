"""A reward that also fixes the rollouts: each completion follows from its prompt and its place in the group.

Rollouts are sampled, and ranks sample differently from one process. With the sampling taken out, the whole
trajectory of GRPO can be compared between ways of sharing the work.
"""

from __future__ import annotations

import hashlib
from typing import Any

SHORTEST, MORE = 4, 8  # tokens; of one length, a group's losses would add up to nothing


def _completion(prompt: list[int], place: int, vocabulary: int) -> list[int]:
    digest = hashlib.sha256(repr((prompt, place)).encode()).digest()
    return [byte % vocabulary for byte in digest[1 : 1 + SHORTEST + digest[0] % MORE]]


def _generate(self: Any, prompt_ids: Any, *args: Any, **kwargs: Any) -> tuple[list[list[int]], None]:
    vocabulary = self.model.config.vocab_size
    group = self.num_generations
    return [_completion(list(ids), i % group, vocabulary) for i, ids in enumerate(prompt_ids)], None


def reward(
    completions: list[Any], completion_ids: list[list[int]] | None = None, **kwargs: Any
) -> list[float]:
    from openr1.training.grpo_trainer import OpenR1GRPOTrainer

    OpenR1GRPOTrainer._generate_single_turn = _generate  # type: ignore[method-assign]
    if completion_ids is None:
        return [0.0 for _ in completions]
    return [sum(ids) % 7 / 7 for ids in completion_ids]
