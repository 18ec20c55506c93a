"""Numbers as people read them, with their units."""

from __future__ import annotations


def gib(size: int | None) -> str:
    """Bytes as GiB; unknown stays unknown."""
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"


def duration(seconds: float) -> str:
    """`75` -> "1 min 15 s", `4000` -> "1 h 07 min", `400_000` -> "4 d 15 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 72 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def percent(share: float) -> str:
    """`0.957` -> "95.7 %"."""
    return f"{100 * share:.1f} %"


def short(value: float) -> str:
    """A metric in at most five characters or so."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
