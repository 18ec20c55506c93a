"""What lies in a runs folder: single runs, and pipelines with their sections. Reads, never writes."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from openr1.errors import OpenR1Error, UsageError
from openr1.runs import manifest
from openr1.runs.folder import RunFolder, is_locked, runs_root

MARKS = ("manifest.json", "resolved.yaml", "logs")  # what a run folder has from its first moments on


@dataclass(frozen=True)
class Entry:
    """One run, or a pipeline with its sections.

    Args:
        state: running, killed, interrupted, failed, finished, created; `half written` without a manifest;
            `unreadable` with the reason in `problem`.
    """

    path: Path
    state: str
    manifest: dict[str, Any] = field(default_factory=dict)
    sections: tuple[Entry, ...] = ()
    problem: str | None = None

    @property
    def name(self) -> str:
        """As it can be named in a command: below the runs folder, else its path."""
        with contextlib.suppress(ValueError):
            return str(self.path.resolve().relative_to(runs_root().resolve()))
        return str(self.path)

    @property
    def kind(self) -> str:
        return "pipeline" if self.sections else str(self.manifest.get("stage") or "?")

    @property
    def fix(self) -> str | None:
        """What to do about `problem`."""
        if self.state == "half written":
            return f"the command that began it begins anew; openr1 runs rm {self.name} removes it"
        if self.state != "unreadable":
            return None
        if "newer openr1" in (self.problem or ""):
            return "pip install --upgrade openr1"
        shows, removes = (
            f"openr1 report {self.name} shows what it holds",
            f"openr1 runs rm {self.name} removes it",
        )
        return f"{shows}; {removes}; its command with --fresh runs it anew"

    @property
    def runs(self) -> tuple[Entry, ...]:
        """The sections of a pipeline, or the run itself."""
        return self.sections or (self,)

    @property
    def hash(self) -> str | None:
        found = self.manifest.get("hash")
        return found if isinstance(found, str) else None

    @property
    def command(self) -> str | None:
        """The command that continues it, or shows it when it has finished."""
        for run in self.runs:
            if isinstance(run.manifest.get("command"), str):
                return str(run.manifest["command"])
        return None

    @property
    def scores(self) -> list[dict[str, Any]]:
        """Scores of evaluations, each with the name of its section."""
        return [s for s in self._all_scores() if isinstance(s.get("accuracy"), int | float)]

    @property
    def foreign(self) -> list[dict[str, Any]]:
        """Scores that lighteval took: `metrics` and `errors` under its own names."""
        found = [s for s in self._all_scores() if isinstance(s.get("metrics"), dict)]
        return [s | {"errors": s["errors"] if isinstance(s.get("errors"), dict) else {}} for s in found]

    def _all_scores(self) -> Iterator[dict[str, Any]]:
        for run in self.runs:
            result = run.manifest.get("result")
            scores = result.get("scores") if isinstance(result, dict) else None
            for score in scores if isinstance(scores, list) else ():
                if isinstance(score, dict):
                    yield {"section": run.manifest.get("section") or run.path.name, **score}

    @property
    def best(self) -> dict[str, Any] | None:
        """The highest score."""
        return max(self.scores, key=lambda s: s["accuracy"], default=None)

    @property
    def changed(self) -> datetime.datetime:
        """When something last happened: the end or start of the last attempt, else the folder's time."""
        stamps = []
        for run in self.runs:
            attempts = run.manifest.get("attempts")
            for attempt in attempts if isinstance(attempts, list) else ():
                if isinstance(attempt, dict):
                    stamps += [attempt.get("started"), attempt.get("ended")]
            stamps.append(run.manifest.get("created"))
        times = [t for t in map(_time, stamps) if t]
        if times:
            return max(times)
        with contextlib.suppress(OSError):
            return datetime.datetime.fromtimestamp(self.path.stat().st_mtime, datetime.timezone.utc)
        return datetime.datetime.now(datetime.timezone.utc)

    @property
    def seconds(self) -> float:
        found = [run.manifest.get("seconds") for run in self.runs]
        return sum(float(s) for s in found if isinstance(s, int | float))


def _time(text: object) -> datetime.datetime | None:
    try:
        found = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)


def scan(root: Path | None = None) -> list[Entry]:
    """Everything in a runs folder, what changed last first."""
    entries = [found for path in _folders(root or runs_root()) if (found := entry(path))]
    return sorted(entries, key=lambda e: e.changed, reverse=True)


def _folders(path: Path) -> Iterator[Path]:
    try:
        inside = sorted(p for p in path.iterdir() if not p.name.startswith(".") and p.is_dir())
    except OSError:
        return
    yield from inside


def entry(path: Path) -> Entry | None:
    """A folder as a run or a pipeline; None when it is neither."""
    if any((path / mark).exists() for mark in MARKS):
        return _run(path)
    sections = [_run(p) for p in _folders(path) if any((p / mark).exists() for mark in MARKS)]
    if not sections:
        return None
    sections.sort(key=lambda s: str(s.manifest.get("created") or "~"))
    return Entry(path, _state_of(path, sections), sections=tuple(sections))


def _run(path: Path) -> Entry:
    try:
        found = manifest.read(path)
    except OpenR1Error as error:
        return Entry(path, "unreadable", problem=error.what)
    locked = is_locked(RunFolder(path))
    if found is None:
        return Entry(path, "running" if locked else "half written", problem="it has no manifest yet")
    state = str(found.get("state") or "unreadable")
    if state == "running" and not locked:
        state = "killed"
    return Entry(path, state, found)


def _state_of(path: Path, sections: list[Entry]) -> str:
    """A pipeline is what its unfinished section is; with none it has finished when it said so."""
    for state in ("running", "failed", "killed", "interrupted", "half written", "unreadable", "created"):
        if any(s.state == state for s in sections):
            return state
    return "finished" if _whole_json(path / "pipeline.json") else "interrupted"


def _whole_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def find(name: str, root: Path | None = None) -> Entry:
    """The run a person means: a path, a name in the runs folder, or the beginning of one.

    Raises:
        UsageError: there is none, or several.
    """
    root = root or runs_root()
    for path in (Path(name).expanduser(), root / name):
        found = entry(path) if name and path.is_dir() else None
        if found:
            return found
    entries = scan(root)
    names = [e.name for e in entries]
    beginning = [e for e in entries if name and (e.name.startswith(name) or e.hash == name)]
    if len(beginning) == 1:
        return beginning[0]
    if beginning:
        listed = ", ".join(e.name for e in beginning)
        raise UsageError(f"`{name}` may be several runs", fix=f"name one of: {listed}")
    if name and Path(name).is_dir():
        raise UsageError("this folder holds no run", where=name, fix="openr1 runs ls shows what is there")
    near = get_close_matches(name, names, n=1)
    raise UsageError(
        f"no run `{name}`",
        where=str(root),
        fix=f"did you mean {near[0]}?" if near else "openr1 runs ls shows what is there",
    )


def newest(*, samples: bool = False, root: Path | None = None) -> Entry:
    """What was run last.

    Args:
        samples: of what holds samples.

    Raises:
        UsageError: there is nothing.
    """
    root = root or runs_root()
    for found in scan(root):
        if not samples or any(_has_samples(run.path) for run in found.runs):
            return found
    what = "no run holds samples" if samples else "no run is here"
    raise UsageError(what, where=str(root), fix="openr1 pipeline tiny-cpu makes one; or name a run's folder")


def _has_samples(path: Path) -> bool:
    return any((path / "samples").glob("*.jsonl")) or (path / "samples.jsonl").is_file()


def size(path: Path) -> int:
    """Bytes of the files in a folder; links are not followed. What vanishes meanwhile counts as nothing."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118  (many files: be quick)
    return total
