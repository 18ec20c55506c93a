"""How long the rows are in tokens, and what of them is lost. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

BARS = "▁▂▃▄▅▆▇█"
FIRST_BIN = 64


def lengths_report(
    lengths: Sequence[int],
    *,
    max_length: int | None,
    packing: str | None,
    unlearnt: Collection[int] = (),
) -> dict[str, Any]:
    """What training keeps of rows of these lengths.

    Args:
        lengths: tokens of every row, whole.
        max_length: longest sequence the trainer sees; None: any.
        packing: packing strategy (`bfd` cuts, `bfd_split` and `wrapped` split), None without packing.
        unlearnt: rows of which nothing that is learnt lies within max_length; the trainer drops them.

    Returns:
        rows, tokens, median, p95, longest {row (from 1), tokens}, histogram [{up_to, rows}], max_length,
        packing; cut_rows, split_rows and dropped_rows; lost_tokens and lost (their share).
    """
    limit = max_length
    long = [i for i, n in enumerate(lengths) if limit is not None and n > limit]
    splits = packing in ("bfd_split", "wrapped")
    dropped = set() if packing else set(unlearnt)
    cut = [] if splits else [i for i in long if i not in dropped]
    lost = sum(lengths[i] - (limit or 0) for i in cut) + sum(lengths[i] for i in dropped)
    total = sum(lengths)
    ordered = sorted(lengths)
    longest = max(range(len(lengths)), key=lengths.__getitem__) if lengths else 0
    return {
        "rows": len(lengths),
        "tokens": total,
        "median": ordered[len(ordered) // 2] if ordered else 0,
        "p95": ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)] if ordered else 0,
        "longest": {"row": longest + 1, "tokens": ordered[-1] if ordered else 0},
        "histogram": histogram(lengths),
        "max_length": limit,
        "packing": packing,
        "cut_rows": len(cut),
        "split_rows": len(long) if splits else 0,
        "dropped_rows": len(dropped),
        "lost_tokens": lost,
        "lost": lost / total if total else 0.0,
    }


def histogram(lengths: Sequence[int]) -> list[dict[str, int]]:
    """Rows by length, in bins that double: up to 64 tokens, 128, 256, … to the longest row."""
    bins: list[dict[str, int]] = []
    if not lengths:
        return bins
    low, high = 0, FIRST_BIN
    while low < max(lengths):
        bins.append({"up_to": high, "rows": sum(low < n <= high for n in lengths)})
        low, high = high, high * 2
    while len(bins) > 1 and bins[0]["rows"] == 0:
        bins.pop(0)
    return bins


def words(report: dict[str, Any]) -> list[str]:
    """The report in a few lines."""
    longest = report["longest"]
    said = [
        (
            f"{report['rows']:,} rows, {report['tokens']:,} tokens; a row has {report['median']:,} (median), "
            f"{report['p95']:,} (95 % below), at most {longest['tokens']:,} (row {longest['row']:,})"
        ),
        f"lengths  {bars(report['histogram'])}",
    ]
    limit = report["max_length"]
    if report["split_rows"]:
        said.append(
            f"{_rows(report['split_rows'])} longer than max_length {limit:,}: split over several sequences, "
            "no token is lost"
        )
    if report["lost_tokens"]:
        parts = []
        if report["cut_rows"]:
            parts.append(f"{_rows(report['cut_rows'])} longer than max_length {limit:,} and cut there")
        if report["dropped_rows"]:
            parts.append(f"{_rows(report['dropped_rows'])} dropped, for the answer begins after max_length")
        said.append(
            f"{100 * report['lost']:.1f} % of the tokens are lost: {'; '.join(parts)}. "
            "A larger max_length, or packing with bfd_split, keeps them"
        )
    return said


def _rows(count: int) -> str:
    return f"{count:,} row is" if count == 1 else f"{count:,} rows are"


def bars(bins: Sequence[dict[str, int]]) -> str:
    """A histogram in one line: `≤64 ▁ 2 %  ≤128 █ 70 %`."""
    total = sum(b["rows"] for b in bins)
    most = max((b["rows"] for b in bins), default=0)
    shown = []
    for one in bins:
        bar = BARS[round((len(BARS) - 1) * one["rows"] / most)] if most else BARS[0]
        shown.append(f"≤{one['up_to']:,} {bar} {100 * one['rows'] / total:.0f} %")
    return "  ".join(shown)
