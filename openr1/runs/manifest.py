"""manifest.json: one run's state, attempts, versions, lineage and result."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

from openr1 import __version__
from openr1.errors import EnvironmentProblem
from openr1.runs.files import write_json

FORMAT = 1
PACKAGES = [
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "deepspeed",
    "peft",
    "vllm",
    "lighteval",
    "distilabel",
    "math-verify",
]


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def new(fields: dict[str, Any]) -> dict[str, Any]:
    """A manifest for a run that has not started."""
    return {
        "format": FORMAT,
        "openr1": __version__,
        "state": "created",
        "created": now(),
        "versions": versions(),
        "git": git_commit(),
        "attempts": [],
        "result": None,
        **fields,
    }


def versions() -> dict[str, str]:
    """Python and the packages that decide what a run computes; absent ones are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the folder one stands in (`+` when there are changes), or None outside a repository."""
    try:
        head = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() or None if head.returncode == 0 else None


def read(run: Path) -> dict[str, Any] | None:
    """The manifest of a run folder; None when there is none.

    Raises:
        EnvironmentProblem: when it was written by a newer openr1 or is no manifest.
    """
    path = run / "manifest.json"
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        raise EnvironmentProblem(
            f"the manifest cannot be read: {error}", where=str(path), fix="start over with --fresh"
        ) from None
    if not isinstance(loaded, dict) or int(loaded.get("format", 0)) > FORMAT:
        raise EnvironmentProblem(
            "this run was written by a newer openr1", where=str(path), fix="pip install --upgrade openr1"
        )
    return loaded


def update(run: Path, **fields: Any) -> dict[str, Any]:
    """Change some fields, whole or not at all."""
    manifest = (read(run) or new({})) | fields
    write_json(run / "manifest.json", manifest)
    return manifest
