"""Lists and maps that a cell holds as text: JSON, or what Python prints of them.

A CSV has no other way to hold a conversation, and SYNTHETIC-1 writes its `verification_info` so.
"""

from __future__ import annotations

import ast
import json
import warnings
from typing import Any


def structure_in(text: Any) -> list[Any] | dict[Any, Any] | None:
    """The list or map that a text spells; None for everything else. Executes nothing."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("[", "{"):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on the backslashes of formulas
                found = read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(found, (list, dict)):
            return found
    return None
