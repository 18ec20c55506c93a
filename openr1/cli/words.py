"""Words for a screen: numbers (`runs.words`, which pages share), and text that is safe to print."""

from __future__ import annotations

from openr1.runs.words import duration, gib, percent, short

__all__ = ["duration", "gib", "harmless", "harmless_lines", "percent", "short"]


def harmless(text: str) -> str:
    """A model's text on one line of a terminal: control characters and escapes become dots."""
    return "".join(c if c.isprintable() else "·" for c in " ".join(text.split()))


def harmless_lines(text: str) -> str:
    """A model's text with its line breaks and tabs; other control characters and direction marks as dots."""
    return "".join(c if c in "\n\t" or c.isprintable() else "·" for c in text.replace("\r\n", "\n"))
