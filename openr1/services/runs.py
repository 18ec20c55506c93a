"""`openr1 runs`: what lies in the runs folder; show one; remove one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.errors import EnvironmentProblem, UsageError
from openr1.runs.files import explain_os_errors
from openr1.runs.folder import RunFolder, is_locked, runs_root
from openr1.runs.listing import Entry, find, scan, size
from openr1.runs.report.lineage import PAGE, Node, lineage
from openr1.runs.report.story import command_of, tell

PARTS = ("checkpoints", "model", "start", "samples", "logs")


@dataclass(frozen=True)
class Listed:
    """One line of the list: a run or a pipeline, and its bytes."""

    entry: Entry
    size: int

    @property
    def command(self) -> str | None:
        """What continues it; None for what has finished or cannot be read."""
        if self.entry.state in ("finished", "running", "unreadable"):
            return None
        return _command(self.entry)

    def as_dict(self) -> dict[str, Any]:
        entry = self.entry
        return {
            "run": entry.name,
            "path": str(entry.path),
            "kind": entry.kind,
            "state": entry.state,
            "problem": entry.problem,
            "fix": entry.fix,
            "best": entry.best,
            "bytes": self.size,
            "changed": entry.changed.isoformat(timespec="seconds"),
            "seconds": round(entry.seconds, 1),
            "command": self.command,
            "sections": [
                {"section": run.path.name, "stage": run.kind, "state": run.state} for run in entry.sections
            ],
        }


@dataclass(frozen=True)
class Shown:
    """One run in full."""

    listed: Listed
    command: str | None
    parts: dict[str, int]
    nodes: list[Node]

    def as_dict(self) -> dict[str, Any]:
        entry = self.listed.entry
        page = entry.path / PAGE
        return {
            **self.listed.as_dict(),
            "command": self.command,
            "parts": self.parts,
            "scores": entry.scores,
            "lineage": [{"label": n.label, "stage": n.stage, "state": n.state} for n in self.nodes],
            "manifests": {run.path.name: run.manifest for run in entry.runs},
            "report": str(page) if page.exists() else None,
        }


@dataclass(frozen=True)
class Removal:
    """What `runs rm` is about to remove, and which other runs began from it."""

    entry: Entry
    size: int
    dependents: tuple[Entry, ...]


def _command(entry: Entry) -> str | None:
    """The command that made or continues a run; None where too little of it is there to say."""
    begun = [run for run in entry.runs if run.manifest.get("stage")]
    return command_of(entry, tell(begun[0], samples=False)) if begun else None


def ls() -> list[Listed]:
    """Everything in the runs folder, what changed last first."""
    return [Listed(entry, size(entry.path)) for entry in scan()]


def show(name: str) -> Shown:
    """One run: state, scores, where its bytes are, where it comes from.

    Raises:
        UsageError: no such run.
    """
    entry = find(name)
    parts: dict[str, int] = {}
    for run in entry.runs:
        for part in PARTS:
            parts[part] = parts.get(part, 0) + size(run.path / part)
    total = size(entry.path)
    parts = {part: count for part, count in parts.items() if count}
    parts["the rest"] = total - sum(parts.values())
    return Shown(Listed(entry, total), _command(entry), parts, lineage(entry))


def plan_removal(name: str) -> Removal:
    """What removing a run would remove; removes nothing.

    Raises:
        UsageError: no such run, or a link to one.
        EnvironmentProblem: it is going on.
    """
    entry = find(name)
    if entry.path.is_symlink():
        raise UsageError(
            "this is a link, not a run folder", where=str(entry.path), fix=f"remove the link: rm {entry.path}"
        )
    _refuse_running(entry)
    inside = {run.path.resolve() for run in entry.runs}
    hashes = {run.hash for run in entry.runs if run.hash}
    others = [run for e in scan() for run in e.runs if run.path.resolve() not in inside]
    dependents = [run for run in others if _starts_from(run, entry, hashes)]
    return Removal(entry, size(entry.path), tuple(dependents))


def _starts_from(run: Entry, entry: Entry, hashes: set[str]) -> bool:
    """Whether a run reads this one's weights: by their path, or as a parent that lies in no other place."""
    model = run.manifest.get("model")
    if isinstance(model, str) and "/" in model:
        return Path(model).resolve().is_relative_to(entry.path.resolve())
    parents = run.manifest.get("parents")
    return isinstance(parents, dict) and bool(hashes & set(map(str, parents.values()))) and not model


def _refuse_running(entry: Entry) -> None:
    for run in entry.runs:
        if is_locked(RunFolder(run.path)):
            raise EnvironmentProblem(
                "this run is going on", where=str(run.path), fix="stop it first (Ctrl-C where it was started)"
            )


def remove(removal: Removal) -> None:
    """Remove a run's folder. It is renamed first, so that a half removed one is never taken for a run.

    Raises:
        EnvironmentProblem: it has been started meanwhile, or the system refuses.
    """
    _refuse_running(removal.entry)
    path = removal.entry.path.resolve()
    aside = path.with_name(f".removed-{path.name}")
    with explain_os_errors(path):
        if aside.exists():
            shutil.rmtree(aside)
        path.rename(aside)
        shutil.rmtree(aside)


def root() -> Path:
    """Where runs lie."""
    return runs_root()
