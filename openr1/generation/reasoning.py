"""Reasoning as it is kept: one `<think>` block, its opening tag restored, and whether it came to an end."""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"
THOUGHT, THOUGHT_END = "<|begin_of_thought|>", "<|end_of_thought|>"


def restored(text: str, think_prefilled: bool) -> str:
    """A completion with the opening tag that its prompt had already written (R1's chat template does)."""
    return f"{OPEN}\n{text}" if think_prefilled and not text.lstrip().startswith(OPEN) else text


def is_complete(text: str, finish_reason: str) -> bool:
    """Whether the model ended its turn and every block of reasoning that it opened.

    Args:
        text: the completion with its opening tag restored.
    """
    if finish_reason != "stop":
        return False
    return text.rfind(OPEN) <= text.rfind(CLOSE) and text.rfind(THOUGHT) <= text.rfind(THOUGHT_END)
