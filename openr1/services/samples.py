"""`openr1 samples`: what a run's models wrote, with what was asked, what was right and what was found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.config.names import nearest
from openr1.errors import OpenR1Error, UsageError
from openr1.runs import manifest
from openr1.runs.files import read_lines
from openr1.runs.folder import runs_root
from openr1.runs.listing import entry, find
from openr1.runs.report.samples import verdict_of

if TYPE_CHECKING:
    from openr1.generation.verify import Judged

VERDICTS = ("right", "wrong", "no_answer", "truncated", "gold_unparsable", "timeout", "error")
NOT_JUDGED = "not judged"
LEDGER = re.compile(r"ledger(-\d+)?\.jsonl")  # raw samples, shard by shard


@dataclass(frozen=True)
class Sample:
    """One completion. What a kind of run does not have is None.

    Args:
        file: where it stands, in the run.
        row, index: problem and sample.
        scores, step: rewards by name, and the optimizer step (GRPO).
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
    step: int | None = None


@dataclass(frozen=True)
class Found:
    """The samples asked for, and how many there are of each verdict."""

    samples: list[Sample]
    matching: int
    files: dict[str, dict[str, int]]
    """File -> verdict -> count, of all its samples; what was not graded counts as `not judged`."""

    @property
    def verdicts(self) -> dict[str, int]:
        """Verdict -> count over all files; adds up to `total`."""
        counted: Counter[str] = Counter()
        for of_file in self.files.values():
            counted.update(of_file)
        return dict(counted.most_common())

    @property
    def total(self) -> int:
        return sum(self.verdicts.values())


def samples(
    run: str,
    *,
    wrong: bool = False,
    verdict: str | None = None,
    row: int | None = None,
    contains: str | None = None,
    limit: int | None = 5,
) -> Found:
    """Read a run's samples.

    Args:
        run: a run or pipeline folder, or its name under runs/.
        wrong: those that are not right.
        verdict: those of one verdict.
        row: those of one problem; logged completions of GRPO have no number and are left out.
        contains: those whose file name (model and task) contains this.
        limit: how many to hand out; None: all.

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
    matching = 0
    counts: dict[str, Counter[str]] = {}
    for file in files:
        counted = counts.setdefault(str(file.relative_to(folder)), Counter())
        for sample in _read(folder, file):
            if row is not None and sample.row != row:
                continue
            counted[sample.verdict or NOT_JUDGED] += 1
            if (wrong and sample.verdict in ("right", None)) or (verdict and sample.verdict != verdict):
                continue
            matching += 1
            if limit is None or len(chosen) < limit:
                chosen.append(sample)
    return Found(chosen, matching, {name: dict(c.most_common()) for name, c in counts.items() if c})


def sample_files(folder: Path) -> list[Path]:
    """Files of samples in a run, or in the sections of a pipeline.

    What came last is first, so that a reader meets the trained model before the one it began as.
    """
    found = entry(folder)
    places = [folder] if found is None else [run.path for run in reversed(found.runs)]
    return [
        file
        for place in places
        for file in [*_by_age(place), place / "samples.jsonl"]
        if file.is_file() and not LEDGER.fullmatch(file.name)
    ]


def _by_age(run: Path) -> list[Path]:
    """The files of `samples/`: those of an evaluation in its order, the last model first; then the others."""
    files = sorted((run / "samples").glob("*.jsonl"))
    try:
        result = (manifest.read(run) or {}).get("result")
    except OpenR1Error:
        result = None
    scores = result.get("scores") if isinstance(result, dict) else None
    listed = [str(s.get("samples_file")) for s in scores or () if isinstance(s, dict)]
    names = [Path(name).name for name in reversed(listed)]
    return sorted(files, key=lambda f: names.index(f.name) if f.name in names else len(names))


def _folder(run: str) -> Path:
    """A run, one of its sections, or any folder that holds samples."""
    for path in (Path(run), runs_root() / run):
        if run and path.is_dir():
            return path
    try:
        return find(run).path
    except UsageError as error:
        root = runs_root()
        near = nearest(run, sorted(p.name for p in root.iterdir() if p.is_dir())) if root.is_dir() else None
        if near is None or "did you mean" in (error.fix or ""):
            raise
        raise UsageError(error.what, where=error.where, fix=f"did you mean {near}?") from None


def _read(folder: Path, file: Path) -> Iterator[Sample]:
    from openr1.generation.verify import VERDICTS, Verdicts

    name = str(file.relative_to(folder))
    verdicts = Verdicts(file.parent / VERDICTS)
    for number, row in enumerate(read_lines(file)):
        if "generations" in row:
            yield from _generated(name, number, row, verdicts.get(number))
        else:
            yield _one(name, row)


def _one(name: str, row: dict[str, Any]) -> Sample:
    """A graded answer of an evaluation, or a logged completion of GRPO, judged by its accuracy reward."""
    text = row.get("text", row.get("completion", ""))
    scores = row.get("rewards")
    verdict, reason = row.get("verdict"), row.get("reason")
    if verdict is None and isinstance(scores, dict):
        verdict = verdict_of(scores)
        reason = "reward accuracy" if verdict else None
    return Sample(
        file=name,
        row=row.get("row"),
        index=row.get("index"),
        problem=_as_text(row.get("problem", row.get("prompt", ""))),
        gold=_or_none(row.get("gold", row.get("solution"))),
        extracted=_or_none(row.get("extracted")),
        verdict=verdict,
        reason=reason,
        text=_as_text(text),
        tokens=row.get("tokens"),
        finish_reason=row.get("finish_reason"),
        scores=scores,
        step=row.get("step"),
    )


def _generated(name: str, number: int, row: dict[str, Any], judged: Judged | None) -> Iterator[Sample]:
    """The completions of one row of `openr1 generate`, with its verification's verdicts where there are."""
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
            judged.extracted[index] if judged else None,
            judged.verdicts[index] if judged else None,
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
