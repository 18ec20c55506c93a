"""What trainers hand to a reward function, as plain text: completions are strings or lists of messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


def text_of(completion: Any) -> str | None:
    """The text of a completion; of a conversation, its last message. None when there is no text at all.

    A message that carries its reasoning in a field of its own is written back with its think block.
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, dict):
        return _message(completion)
    if isinstance(completion, Sequence) and completion and isinstance(completion[-1], dict):
        return _message(completion[-1])
    return None


def texts_of(completions: Sequence[Any]) -> list[str | None]:
    """`text_of` for a batch."""
    return [text_of(c) for c in completions]


def _message(message: dict[str, Any]) -> str | None:
    content = message.get("content")
    if isinstance(content, (list, tuple)):  # parts of a multimodal message
        content = "".join(p.get("text", "") for p in content if isinstance(p, dict))
    reasoning = next((message[k] for k in _REASONING_KEYS if isinstance(message.get(k), str)), None)
    if reasoning is not None:
        return f"<think>\n{reasoning}\n</think>\n{content or ''}"
    return content if isinstance(content, str) else None


def prefilled(prompts: Sequence[Any] | None, count: int, told: bool | None) -> list[bool | None]:
    """For each of `count` completions: did its prompt end in `<think>`? None where that cannot be seen.

    Args:
        prompts: rendered prompts, or conversations, whose template is not visible here.
        count: completions in the batch.
        told: the answer from whoever rendered the template; it wins.
    """
    if told is not None:
        return [told] * count
    if prompts is None or len(prompts) != count:
        return [None] * count
    return [p.rstrip().endswith("<think>") if isinstance(p, str) else _continued(p) for p in prompts]


def _continued(prompt: Any) -> bool | None:
    """A conversation that ends in an assistant message is continued from there; others say nothing."""
    if isinstance(prompt, Sequence) and prompt and isinstance(prompt[-1], dict):
        last = prompt[-1]
        content = last.get("content")
        if last.get("role") == "assistant" and isinstance(content, str):
            return content.rstrip().endswith("<think>")
    return None
