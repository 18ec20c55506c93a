"""Rewards on form: are the think and answer blocks there, are steps to be seen, is there a code block?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .messages import prefilled, texts_of

Rewards = list["float | None"]
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# A step is a line that is numbered, bulleted, or opens with an ordinal word.
_STEP = re.compile(
    r"^[ \t]*(?:\**(?:Step\s+\d+|\d+[.)])|[-*•]\s+\S"
    r"|(?:First|Second|Third|Fourth|Next|Then|Finally|Lastly)(?:ly)?\s*,)",
    re.MULTILINE | re.IGNORECASE,
)


def format_parts(text: str, think_prefilled: bool | None = None) -> tuple[str, str] | None:
    """Think and answer of a completion that is exactly one block of each, else None.

    Args:
        text: the completion.
        think_prefilled: True: `<think>` stood in the prompt and must not come again; False: it must be
            there; None: both are accepted.
    """
    opened = text.count("<think>")
    if any(text.count(tag) != 1 for tag in _TAGS[1:]) or opened > 1:
        return None
    if think_prefilled is not None and bool(opened) == think_prefilled:
        return None
    text = text.strip()
    if (opened and not text.startswith("<think>")) or not text.endswith("</answer>"):
        return None
    think, _, rest = text.removeprefix("<think>").partition("</think>")
    rest = rest.strip()
    if not rest.startswith("<answer>"):
        return None
    return think, rest.removeprefix("<answer>").removesuffix("</answer>")


def format_reward(
    completions: Sequence[Any],
    *,
    prompts: Sequence[Any] | None = None,
    think_prefilled: bool | None = None,
    **columns: Any,
) -> Rewards:
    """1.0 for one think block, then one answer block, and nothing else; newlines between are free."""
    del columns
    begun = prefilled(prompts, len(completions), think_prefilled)
    return [
        float(text is not None and format_parts(text, pre) is not None)
        for text, pre in zip(texts_of(completions), begun, strict=True)
    ]


def tag_count_reward(
    completions: Sequence[Any],
    *,
    prompts: Sequence[Any] | None = None,
    think_prefilled: bool | None = None,
    **columns: Any,
) -> Rewards:
    """A quarter for each of the four tags that is there exactly once; a prefilled `<think>` counts."""
    del columns
    begun = prefilled(prompts, len(completions), think_prefilled)
    rewards: Rewards = []
    for text, pre in zip(texts_of(completions), begun, strict=True):
        text = f"<think>{text or ''}" if pre else text or ""
        rewards.append(sum(0.25 for tag in _TAGS if text.count(tag) == 1))
    return rewards


def reasoning_steps_reward(completions: Sequence[Any], *, steps: int = 3, **columns: Any) -> Rewards:
    """Visible steps over `steps`, at most 1.0: numbered or bulleted lines and ordinal openings."""
    del columns
    return [min(1.0, len(_STEP.findall(text or "")) / steps) for text in texts_of(completions)]


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """Closed fenced code blocks of `text` as (language, code), in order."""
    blocks: list[tuple[str, str]] = []
    language: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if language is None and stripped.startswith("```"):
            language, lines = stripped.strip("`").split(" ")[0].lower(), []
        elif language is not None and stripped == "```":
            blocks.append((language, "\n".join(lines) + "\n"))
            language = None
        elif language is not None:
            lines.append(line)
    return blocks


def code_format_reward(
    completions: Sequence[Any],
    *,
    code_language: str = "python",
    language: Sequence[str | None] | None = None,
    prompts: Sequence[Any] | None = None,
    think_prefilled: bool | None = None,
    **columns: Any,
) -> Rewards:
    """`format`, and the answer holds a code block of the language; a `language` column wins per row."""
    del columns
    count = len(completions)
    wanted = list(language) if language is not None and len(language) == count else [None] * count
    begun = prefilled(prompts, count, think_prefilled)
    rewards: Rewards = []
    for text, pre, name in zip(texts_of(completions), begun, wanted, strict=True):
        parts = format_parts(text, pre) if text is not None else None
        languages = {block[0] for block in fenced_blocks(parts[1])} if parts else set()
        rewards.append(float(bool(languages & _same_language(name or code_language))))
    return rewards


def _same_language(name: str) -> set[str]:
    """Fence labels of a language."""
    labels = {
        "python": {"python", "python3", "py"},
        "javascript": {"javascript", "js"},
        "cpp": {"cpp", "c++"},
    }
    return labels.get(name.lower(), {name.lower()})
