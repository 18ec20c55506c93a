"""Scores as rows of tables: ours with intervals, lighteval's own, pairs, and what a generation kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openr1.language import label, translate
from openr1.runs.listing import Entry
from openr1.runs.report import draw
from openr1.runs.report.markup import trusted
from openr1.runs.words import percent


@dataclass(frozen=True)
class Pair:
    """Two evaluations on the same problems, as `services.report` compared them.

    Args:
        where: task and section.
        first, second: what they are called.
        difference, low, high: second minus first, as shares of one.
        p_value: of that difference under chance alone.
        problems, asked: problems both answered, and those the first did.
        why_not: instead of figures, why they cannot be compared.
    """

    where: str
    first: str
    second: str
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0
    p_value: float = 1.0
    better: int = 0
    worse: int = 0
    problems: int = 0
    asked: int = 0
    why_not: str | None = None

    @property
    def distinguishable(self) -> bool:
        """Whether chance alone gives a difference this large less often than once in twenty."""
        return self.p_value < 0.05


def score_tables(scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "title": f"{task} ({section})",
            "svg": trusted(_intervals(rows, f"{section}{task}")) if draw.can_draw() else None,
            "rows": [
                {
                    "model": row.get("model"),
                    "accuracy": percent(row["accuracy"]),
                    "interval": interval(row),
                    "tokens": _count(row.get("mean_tokens")),
                    "truncated": percent(row["truncated"]) if _is_number(row.get("truncated")) else "–",
                    "again": f"± {196 * row['other_run']:.1f}" if _is_number(row.get("other_run")) else "–",
                }
                for row in rows
            ],
            "several": any(_is_number(row.get("other_run")) for row in rows),
            "note": _protocol(rows),
        }
        for (section, task), rows in by_section(scores).items()
    ]


def foreign_tables(entry: Entry) -> list[dict[str, Any]]:
    """lighteval's own metrics, with its own errors."""
    return [
        {
            "title": f"{score.get('model')} · {score.get('task')} ({score['section']})",
            "rows": [
                {"name": name, "value": _four(value), "error": _four(score["errors"].get(name))}
                for name, value in score["metrics"].items()
            ],
            "note": f"lighteval · {score.get('problems')} {label('problems')} · {score.get('protocol')}",
        }
        for score in entry.foreign
    ]


def funnel(result: dict[str, Any]) -> list[dict[str, str]]:
    """What a generation kept at every step: step, problems, completions, and their share of the first."""
    steps = result.get("funnel")
    whole = [s for s in steps if isinstance(s, dict)] if isinstance(steps, list) else []
    whole = [s for s in whole if _is_number(s.get("problems")) and _is_number(s.get("samples"))]
    return [
        {
            "step": label(str(step.get("step"))),
            "problems": f"{step['problems']:,}",
            "samples": f"{step['samples']:,}",
            "share": percent(step["samples"] / whole[0]["samples"]) if whole[0]["samples"] else "–",
        }
        for step in whole
    ]


def _four(value: Any) -> str:
    return f"{value:.4f}" if _is_number(value) else "–"


def by_section(scores: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for score in scores:
        found.setdefault((str(score["section"]), str(score.get("task"))), []).append(score)
    return found


def _intervals(rows: Sequence[dict[str, Any]], name: str) -> str:
    drawn = []
    for place, row in enumerate(rows):
        low, high = _ends(row) or (row["accuracy"], row["accuracy"])
        drawn.append((str(row.get("model")), row["accuracy"], low, high, row.get("colour", place % 6 + 1)))
    return draw.interval_svg(drawn, name)


def _ends(score: dict[str, Any]) -> tuple[float, float] | None:
    ends = score.get("interval")
    if isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends)):
        return ends[0], ends[1]
    return None


def interval(score: dict[str, Any]) -> str:
    ends = _ends(score)
    return f"[{100 * ends[0]:.1f} – {100 * ends[1]:.1f}]" if ends else ""


def _protocol(rows: Sequence[dict[str, Any]]) -> str:
    row = rows[0]
    problems, samples = row.get("problems"), row.get("samples")
    one = f"{problems} problems, 1 answer to each"
    counts = translate(one if samples == 1 else f"{problems} problems, {samples} answers to each")
    return f"{counts} · {row.get('protocol')} · {label('intervals:')} {row.get('interval_method')}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> str:
    return f"{value:.0f}" if _is_number(value) else "–"


def pair_row(pair: Pair) -> dict[str, Any]:
    return {
        "where": pair.where,
        "who": f"{pair.first} → {pair.second}",
        "why_not": translate(pair.why_not) if pair.why_not else None,
        "difference": f"{100 * pair.difference:+.1f}",
        "interval": f"[{100 * pair.low:+.1f} – {100 * pair.high:+.1f}]",
        "verdict": "" if pair.distinguishable else translate("not distinguishable"),
        "p": "< 0.001" if pair.p_value < 0.001 else f"{pair.p_value:.3f}",
        "moved": f"{pair.better} / {pair.worse}",
        "problems": f"{pair.problems} / {pair.asked}" if pair.asked > pair.problems else pair.problems,
    }
