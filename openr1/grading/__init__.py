"""Is this answer right? A verdict, never a guess."""

from __future__ import annotations

from .extract import Extraction, extract, read_gold
from .grader import Grader, default_workers, shared_grader
from .verdict import Graded, Item, Verdict

__all__ = [
    "Extraction",
    "Graded",
    "Grader",
    "Item",
    "Verdict",
    "default_workers",
    "extract",
    "read_gold",
    "shared_grader",
]
