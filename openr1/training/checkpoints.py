"""Which checkpoints are whole. A checkpoint counts once its seal, written last, agrees with its files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from openr1.runs.files import write_json

SEAL = "openr1-complete.json"


def seal(checkpoint: Path) -> None:
    """Flush a checkpoint's files to the disk, then write down their names and sizes.

    The order is what makes the seal mean something: after a kill or a power cut either the seal is missing,
    or everything it lists is there.
    """
    sizes = {}
    for path in sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != SEAL):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        sizes[str(path.relative_to(checkpoint))] = path.stat().st_size
    write_json(checkpoint / SEAL, {"files": sizes})


def is_whole(checkpoint: Path) -> bool:
    """True when the seal is there and every file it lists has the size it had."""
    try:
        sizes = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["files"]
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def step_of(checkpoint: Path) -> int:
    """`checkpoint-120` -> 120; -1 for a folder that is no checkpoint."""
    tail = checkpoint.name.removeprefix("checkpoint-")
    return int(tail) if tail.isdigit() else -1


def by_step(folder: Path) -> list[Path]:
    """The checkpoint folders, whole or not, oldest step first."""
    found = (p for p in folder.glob("checkpoint-*") if p.is_dir() and step_of(p) >= 0)
    return sorted(found, key=step_of)


def newest_whole(folder: Path) -> tuple[Path | None, list[Path]]:
    """The newest whole checkpoint, and the broken ones that are newer."""
    broken: list[Path] = []
    for checkpoint in reversed(by_step(folder)):
        if is_whole(checkpoint):
            return checkpoint, broken
        broken.append(checkpoint)
    return None, broken


def rotate(folder: Path, keep: int | None) -> Iterator[Path]:
    """Remove the oldest whole checkpoints beyond `keep`, and broken ones older than the newest whole.

    Yields the removed folders. A folder is renamed before it is emptied, so that a kill in between leaves
    nothing that looks like a checkpoint.
    """
    whole = [c for c in by_step(folder) if is_whole(c)]
    old = whole[:-keep] if keep else []
    if whole:
        old += [c for c in by_step(folder) if c not in whole and step_of(c) < step_of(whole[-1])]
    for checkpoint in old:
        doomed = checkpoint.with_name(f".removing-{checkpoint.name}")
        checkpoint.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        yield checkpoint
