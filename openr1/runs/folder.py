"""Find the folder a command continues, or make a new one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.errors import EnvironmentProblem, RecipeError, UsageError
from openr1.runs import manifest
from openr1.runs.files import explain_os_errors


def runs_root() -> Path:
    """Where runs lie: OPENR1_RUNS_DIR, else `runs/` in the current folder."""
    return Path(os.environ.get("OPENR1_RUNS_DIR") or "runs")


@dataclass(frozen=True)
class RunFolder:
    """One run's folder and the parts of it that have a name."""

    path: Path

    @property
    def resolved(self) -> Path:
        return self.path / "resolved.yaml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def manifest(self) -> dict[str, Any] | None:
        return manifest.read(self.path)

    @property
    def state(self) -> str | None:
        """created, running, interrupted, failed or finished; None when there is no run here."""
        found = self.manifest
        return str(found["state"]) if found else None

    def next_attempt(self, node: int = 0) -> Path:
        """A log folder of its own for this attempt, so that continuing never overwrites what was said.

        Nodes beside the first one count their attempts apart.
        """
        logs = self.path / "logs" / (f"node-{node}" if node else "")
        numbers = [int(p.name[8:]) for p in logs.glob("attempt-*") if p.name[8:].isdigit()]
        attempt = logs / f"attempt-{max(numbers, default=0) + 1}"
        with explain_os_errors(attempt):
            attempt.mkdir(parents=True)
        return attempt


def locate(
    name: str, hash_: str, *, root: Path | None = None, output_dir: str | None = None, fresh: bool = False
) -> RunFolder:
    """The folder for a run; nothing is written.

    Args:
        name: recipe and section, e.g. `tiny-cpu-sft`, or the user's `run_name`.
        hash_: hash of what was asked for; "" when the user named the run.
        root: where runs lie.
        output_dir: a folder the user chose; used as it is.
        fresh: take a folder that does not exist yet, by counting up.

    Raises:
        RecipeError: when the chosen folder holds a run of another configuration.
    """
    if output_dir:
        path = Path(output_dir)
        refuse_other(path, hash_, fresh)
        return RunFolder(path)
    base = (root or runs_root()) / (f"{name}-{hash_}" if hash_ else name)
    taken = [base, *sorted(base.parent.glob(f"{base.name}-*"), key=_counter)]
    taken = [p for p in taken if p == base or re.fullmatch(rf"{re.escape(base.name)}-\d+", p.name)]
    taken = [p for p in taken if p.exists()]
    if not taken:
        return RunFolder(base)
    if fresh:
        return RunFolder(base.with_name(f"{base.name}-{max(map(_counter, taken)) + 1}"))
    return RunFolder(max(taken, key=_counter))


def _counter(path: Path) -> int:
    tail = path.name.rsplit("-", 1)[-1]
    return int(tail) if tail.isdigit() and len(tail) < 8 else 1


def refuse_other(path: Path, hash_: str, fresh: bool = False) -> None:
    """Raises RecipeError when a folder holds something else than a run of this configuration."""
    found = manifest.read(path)
    if found and fresh:
        raise RecipeError(
            "--fresh needs a folder without a run",
            where=str(path),
            fix="choose another one, or leave it out",
        )
    if found and hash_ and found.get("hash") not in (None, hash_):
        raise RecipeError(
            "this folder holds a run of another configuration",
            where=str(path),
            fix=f"choose another name or folder, or --fresh; {path / 'resolved.yaml'} says more",
        )
    if path.is_dir() and not found and not _holds_only_other_nodes_logs(path):
        raise RecipeError(
            "this folder is not empty and holds no run", where=str(path), fix="choose another --output_dir"
        )


def _holds_only_other_nodes_logs(path: Path) -> bool:
    """A folder that is empty but for what nodes wrote that were here before the first one."""
    inside = list(path.iterdir())
    return inside in ([], [path / "logs"]) and all(
        log.name.startswith("node-") for log in (path / "logs").glob("*")
    )


def model_of(name: str) -> str:
    """A model as a person names it: a finished run or its folder becomes the path of its final weights.

    Hub ids, local models and `builtin:` names pass through.

    Raises:
        UsageError: when the run is there but has not finished, or is a pipeline with a model per section.
    """
    path = Path(name)
    for run in (path, runs_root() / name):
        if (run / "manifest.json").exists():
            if (run / "model" / "config.json").exists():
                return str(run / "model")
            raise UsageError(
                "this run has no final model yet", where=str(run), fix="give its command again to finish it"
            )
        sections = [found.parents[1] for found in run.glob("*/model/config.json")]
        trained = [section for section in sections if (section / "manifest.json").exists()]
        if trained and not (run / "config.json").exists():
            trained.sort(key=lambda section: (section / "model").stat().st_mtime, reverse=True)
            raise UsageError(
                "this is a pipeline, and each of its training sections has a model",
                where=str(run),
                fix="name one of them: " + ", ".join(map(str, trained)),
            )
    return name


def is_locked(run: RunFolder) -> bool:
    """Whether a living process works in this folder. Looks without leaving a trace."""
    try:
        with (run.path / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # falls when the file is closed
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Hold the run's lock; two commands in one folder would overwrite each other's checkpoints.

    The lock is the kernel's and falls with the process, also on kill -9.
    """
    with explain_os_errors(run.path):
        run.path.mkdir(parents=True, exist_ok=True)
        file = (run.path / ".lock").open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise EnvironmentProblem(
                f"this run is going on already (process {file.read().strip() or 'unknown'})",
                where=str(run.path),
                fix="wait for it, or stop it first",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
