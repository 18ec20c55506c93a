"""Which rows of an optimizer step go through the model together: pure functions on row lengths.

A row has two sides: a prompt, padded on the left, and a completion, padded on the right (SFT's rows are all
completion). A part of k rows costs k x (longest prompt + longest completion) tokens, padding included, and
something for being one more forward and backward. All ranks see all lengths and so come to the same parts
with the same number of rows: their collectives stay in step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

PROMPT, COMPLETION, SCORED, LIVE = range(4)
"""Columns of a rank's rows: tokens of the prompt, of the completion, of the loss; 1 if it has a gradient."""


@dataclass(frozen=True)
class Part:
    """Rows of this rank that are forwarded together, and the widths their two sides are cut to."""

    rows: Ints  # (k,) places in the rank's window
    prompt: int
    completion: int
    scored: int  # tokens of the loss in this part, over all ranks

    @property
    def padded(self) -> int:
        return len(self.rows) * (self.prompt + self.completion)


def make_parts(
    table: Ints, rank: int, *, budget: int, part_cost: int, skip: bool = True, largest: int | None = None
) -> list[Part]:
    """Split a window of rows into parts of least cost; at least one part, so that every rank takes part.

    Args:
        table: (ranks, rows, 4), columns as named above; equal on all ranks.
        rank: whose parts to return.
        budget: most tokens of a part, padding included; a single longer row is a part of its own.
        part_cost: what one more part costs, in tokens.
        skip: leave out the rows without a gradient. A rank with fewer live rows than another fills up with
            its shortest others, which add exactly zero.
        largest: a fixed number of rows per part instead of `budget` and `part_cost`.

    Returns:
        The parts, longest rows first: the first forward shows whether memory suffices. Their number and their
        numbers of rows are equal on all ranks.
    """
    chosen = _chosen(table, skip)  # (ranks, m)
    lengths = np.take_along_axis(table, chosen[:, :, None], axis=1)  # (ranks, m, 4)
    cuts = _every(lengths.shape[1], largest) if largest else _cheapest(lengths, budget, part_cost)
    return [
        Part(
            rows=chosen[rank, start:end],
            prompt=int(lengths[rank, start:end, PROMPT].max()),
            completion=max(1, int(lengths[rank, start:end, COMPLETION].max())),
            scored=int(lengths[:, start:end, SCORED].sum()),
        )
        for start, end in cuts
    ]


def _chosen(table: Ints, skip: bool) -> Ints:
    """(ranks, m): each rank's rows to forward, longest first."""
    total = table[:, :, PROMPT] + table[:, :, COMPLETION]
    if skip:
        # Live rows first, then the shortest of the others; equal numbers on all ranks.
        order = np.lexsort((total, 1 - table[:, :, LIVE]), axis=1)
        most = max(1, int(table[:, :, LIVE].sum(axis=1).max()))
        order = order[:, :most]
    else:
        order = np.broadcast_to(np.arange(table.shape[1]), table.shape[:2])
    longest_first = np.argsort(-np.take_along_axis(total, order, axis=1), axis=1, kind="stable")
    return np.take_along_axis(order, longest_first, axis=1).astype(np.int64)


def _every(rows: int, largest: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + largest, rows)) for start in range(0, rows, largest))


def _cheapest(lengths: Ints, budget: int, part_cost: int) -> list[tuple[int, int]]:
    """Cuts of least total cost over sorted rows, by dynamic programming: best[i] is the cost from row i on.

    Ranks run in step, so a part costs what it costs the rank where it is widest.
    """
    rows = lengths.shape[1]
    best = np.zeros(rows + 1)
    ends = np.zeros(rows, dtype=np.int64)
    for start in range(rows - 1, -1, -1):
        prompts = np.maximum.accumulate(lengths[:, start:, PROMPT], axis=1)
        completions = np.maximum.accumulate(lengths[:, start:, COMPLETION], axis=1)
        widths = (prompts + np.maximum(completions, 1)).max(axis=0)  # (rows - start,)
        tokens = widths * np.arange(1, rows - start + 1)
        fits = tokens <= budget
        fits[0] = True
        costs = np.where(fits, tokens + part_cost + best[start + 1 :], np.inf)
        ends[start] = start + 1 + int(np.argmin(costs))
        best[start] = costs[ends[start] - start - 1]
    cuts, start = [], 0
    while start < rows:
        cuts.append((start, int(ends[start])))
        start = int(ends[start])
    return cuts
