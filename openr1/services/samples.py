"""`openr1 samples`: what a run's models wrote, with what was asked, what was right and what was found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.config.names import nearest
from openr1.errors import UsageError
from openr1.runs.files import read_lines
from openr1.runs.folder import runs_root

VERDICTS = ("right", "wrong", "no_answer", "truncated", "gold_unparsable", "timeout", "error")
LEDGER = re.compile(r"ledger(-\d+)?\.jsonl")  # raw samples, shard by shard


@dataclass(frozen=True)
class Sample:
    """One completion. What a kind of run does not have is None.

    Args:
        file: where it stands, in the run.
        row, index: problem and sample.
        scores: rewards by name (GRPO).
    """

    file: str
    row: int | None
    index: int | None
    problem: str
    gold: str | None
    extracted: str | None
    verdict: str | None
    reason: str | None
    text: str
    tokens: int | None
    finish_reason: str | None
    scores: dict[str, Any] | None = None


@dataclass(frozen=True)
class Found:
    """The samples asked for, and how many there are of each verdict."""

    samples: list[Sample]
    matching: int
    verdicts: dict[str, int]


def samples(
    run: str,
    *,
    wrong: bool = False,
    verdict: str | None = None,
    row: int | None = None,
    contains: str | None = None,
    limit: int = 5,
) -> Found:
    """Read a run's samples.

    Args:
        run: a run or pipeline folder, or its name under runs/.
        wrong: those that are not right.
        verdict: those of one verdict.
        row: those of one problem.
        contains: those whose file name (model and task) contains this.
        limit: how many to hand out.

    Raises:
        UsageError: no such run, no samples in it, or no such verdict.
    """
    if verdict is not None and verdict not in VERDICTS:
        near = nearest(verdict, VERDICTS)
        raise UsageError(
            f"no verdict `{verdict}`",
            where="--verdict",
            fix=f"did you mean {near}?" if near else f"verdicts: {', '.join(VERDICTS)}",
        )
    folder = _folder(run)
    files = [f for f in sample_files(folder) if contains is None or contains in f.name]
    if not files:
        raise UsageError(
            "this run holds no samples" if contains is None else f"no samples of `{contains}` in this run",
            where=str(folder),
            fix="eval, generate and grpo runs keep samples; name one of theirs",
        )
    chosen: list[Sample] = []
    matching, verdicts = 0, Counter[str]()
    for file in files:
        for sample in _read(folder, file):
            if row is not None and sample.row != row:
                continue
            if sample.verdict:
                verdicts[sample.verdict] += 1
            if (wrong and sample.verdict in ("right", None)) or (verdict and sample.verdict != verdict):
                continue
            matching += 1
            if len(chosen) < limit:
                chosen.append(sample)
    return Found(chosen, matching, dict(verdicts.most_common()))


def sample_files(folder: Path) -> list[Path]:
    """Files of samples in a run, or in the sections of a pipeline."""
    places = [folder, *sorted(p for p in folder.iterdir() if (p / "manifest.json").exists())]
    return [
        file
        for place in places
        for file in [*sorted((place / "samples").glob("*.jsonl")), place / "samples.jsonl"]
        if file.is_file() and not LEDGER.fullmatch(file.name)
    ]


def _folder(run: str) -> Path:
    for path in (Path(run), runs_root() / run):
        if path.is_dir():
            return path
    have = sorted(p.name for p in runs_root().iterdir() if p.is_dir()) if runs_root().is_dir() else []
    near = nearest(run, have)
    raise UsageError(f"no run `{run}`", fix=f"did you mean {near}?" if near else "name a run's folder")


def _read(folder: Path, file: Path) -> Iterator[Sample]:
    name = str(file.relative_to(folder))
    for number, row in enumerate(read_lines(file)):
        if "generations" in row:
            yield from _generated(name, number, row)
        else:
            yield _one(name, number, row)


def _one(name: str, number: int, row: dict[str, Any]) -> Sample:
    """A graded answer of an evaluation, or a logged completion of GRPO."""
    text = row.get("text", row.get("completion", ""))
    return Sample(
        file=name,
        row=row.get("row", number),
        index=row.get("index"),
        problem=_as_text(row.get("problem", row.get("prompt", ""))),
        gold=_or_none(row.get("gold", row.get("solution"))),
        extracted=_or_none(row.get("extracted")),
        verdict=row.get("verdict"),
        reason=row.get("reason"),
        text=_as_text(text),
        tokens=row.get("tokens"),
        finish_reason=row.get("finish_reason"),
        scores=row.get("rewards"),
    )


def _generated(name: str, number: int, row: dict[str, Any]) -> Iterator[Sample]:
    """The completions of one row of `openr1 generate`."""
    problem = next((row[k] for k in ("problem", "question", "prompt", "instruction") if k in row), "")
    gold = next((row[k] for k in ("answer", "solution") if k in row), None)
    finishes = row.get("finish_reasons") or []
    lengths = row.get("tokens") or []
    for index, text in enumerate(row["generations"]):
        finish = finishes[index] if index < len(finishes) else None
        tokens = lengths[index] if isinstance(lengths, list) and index < len(lengths) else None
        yield Sample(
            name,
            number,
            index,
            _as_text(problem),
            _or_none(gold),
            None,
            None,
            None,
            _as_text(text),
            tokens,
            finish,
        )


def _as_text(value: Any) -> str:
    """Text, or the last turn of a conversation."""
    if isinstance(value, Sequence) and not isinstance(value, str) and value and isinstance(value[-1], dict):
        return str(value[-1].get("content", ""))
    return str(value)


def _or_none(value: Any) -> str | None:
    return None if value is None else _as_text(value)
