"""Which local file holds a task's problems, when `--dataset` names a file or a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from openr1.data.broken import MAX_LINE_BYTES, long_line
from openr1.errors import RecipeError
from openr1.evaluation.tasks import Task

SUFFIXES = (".jsonl", ".parquet", ".json", ".csv")


def file_for(dataset: str, task: Task, tasks: Sequence[Task]) -> Path:
    """The file of one task: the named one, or in a folder `TASK.jsonl`, `SPLIT.jsonl`, or the only file.

    Args:
        dataset: what `--dataset` says.
        tasks: all tasks of the evaluation; one file cannot serve two.

    Raises:
        RecipeError: nothing, or more than one file, that could be meant.
    """
    path = Path(dataset)
    files = [t for t in tasks if t.hub is not None]
    if not path.is_dir():
        if len(files) > 1:
            raise RecipeError(
                f"one file cannot be the problems of {len(files)} tasks ({', '.join(t.name for t in files)})",
                where=dataset,
                fix="name a folder with one file per task: math_500.jsonl, gsm8k.jsonl, …",
            )
        return path
    found = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.stat().st_size > 0)
    names = {name.replace(":", "_") for name in (task.name, task.name.partition(":")[0])}
    named = [p for p in found if p.stem in names or p.parent.name in names]
    for candidates in (
        [p for p in named if p.stem.startswith(task.split)] or named,
        [p for p in found if p.stem.startswith(task.split)] if len(files) == 1 else [],
        found if len(files) == 1 else [],
    ):
        if len(candidates) == 1:
            return candidates[0]
    listed = ", ".join(p.name for p in found[:6]) or "no data file"
    raise RecipeError(
        f"which file of this folder holds {task.name}? It has: {listed}",
        where=dataset,
        fix=f"name it {task.name.replace(':', '_')}.jsonl, or name the file itself with --dataset",
    )


def count_rows(path: Path) -> int | None:
    """Rows of a JSON Lines file, and of a JSON list; None for what needs a library to count, and for a file
    with a line so long that loading it will be refused."""
    if path.suffix == ".jsonl":
        if long_line(path, MAX_LINE_BYTES):
            return None
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    if path.suffix == ".json":
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return None
        return len(rows) if isinstance(rows, list) else None
    return None
