"""What may stand in a page: text that hides nothing, and our own markup. A page shows and does nothing."""

from __future__ import annotations

import unicodedata
from typing import Any


def visible(value: Any) -> Any:
    """Text with what one cannot see made visible: control characters, terminal escapes, changes of writing
    direction. Applied to everything the templates print."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    if value.isprintable() and value.isascii():
        return value
    return "".join(map(_shown, value))


def _shown(char: str) -> str:
    code = ord(char)
    if char in "\n\t" or code > 0xFFFF:
        return char
    if unicodedata.category(char) in ("Cc", "Cf", "Cs") and char != "\u200d":  # that one joins emoji
        return f"⟨{code:02X}⟩"
    return char


def trusted(html: str) -> Any:
    """Our style sheet and drawings, which the templates must not escape: drawings escape their own text."""
    from markupsafe import Markup

    return Markup(html)
