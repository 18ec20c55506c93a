"""A row as the model sees it: its text in pieces, each learnt or masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

MASKED = -100  # torch's `ignore_index`, in the labels


def pieces(
    ids: Sequence[int], labels: Sequence[int], decode: Callable[[list[int]], str]
) -> list[dict[str, Any]]:
    """Runs of tokens that are all learnt or all masked.

    Args:
        ids, labels: one row's, of the same length; a label of -100 is masked.
        decode: token ids to text, special tokens included.

    Returns:
        [{text, learnt, tokens}], which joined is the whole row.
    """
    runs = groupby(zip(ids, labels, strict=True), key=lambda pair: pair[1] != MASKED)
    found = []
    for learnt, run in runs:
        tokens = [token for token, _ in run]
        found.append({"text": decode(tokens), "learnt": learnt, "tokens": len(tokens)})
    return found


def shown_rows(total: int, count: int) -> list[int]:
    """Which rows are shown: evenly over the dataset, the first among them."""
    return [index * total // count for index in range(count)] if (count := min(count, total)) else []
