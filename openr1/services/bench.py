"""`openr1 bench`: the published numbers, with source, date and the sampling error they carry."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openr1.config.names import nearest
from openr1.errors import UsageError

TABLE = Path(__file__).parent.parent / "evaluation" / "published.csv"


@dataclass(frozen=True)
class Published:
    """One number as somebody printed it: percent right, mean over `samples` answers per problem."""

    source: str
    date: str
    model: str
    benchmark: str
    samples: int
    score: float


@dataclass(frozen=True)
class Bench:
    """The numbers asked for."""

    rows: list[Published]

    def as_dict(self) -> dict[str, Any]:
        return {"published": [asdict(row) for row in self.rows]}


def published() -> list[Published]:
    """Every published number in the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [
            Published(
                r["source"], r["date"], r["model"], r["benchmark"], int(r["samples"]), float(r["score"])
            )
            for r in csv.DictReader(file)
        ]


def bench(*, models: str | None = None, benchmarks: str | None = None) -> Bench:
    """The published table, limited to models (by parts of their names) and benchmarks.

    Raises:
        UsageError: a name that matches nothing; says the nearest.
    """
    rows = published()
    rows = _only(rows, "benchmark", benchmarks, exact=True)
    return Bench(_only(rows, "model", models, exact=False))


def _only(rows: list[Published], field: str, wanted: str | None, *, exact: bool) -> list[Published]:
    if wanted is None:
        return rows
    have = sorted({str(getattr(row, field)) for row in rows})
    kept: set[str] = set()
    for word in (w.strip() for w in wanted.split(",") if w.strip()):
        found = [n for n in have if (n.lower() == word.lower() if exact else word.lower() in n.lower())]
        if not found:
            near = nearest(word, have)
            raise UsageError(
                f"no {field} `{word}` in the published tables",
                fix=f"did you mean {near}?" if near else f"there are: {', '.join(have)}",
            )
        kept.update(found)
    return [row for row in rows if getattr(row, field) in kept]
