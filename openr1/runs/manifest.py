"""manifest.json: one run's state, attempts, versions, lineage and result."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import re
import shlex
import subprocess
import sys
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


NOT_TO_REPEAT = {"--fresh", "--json", "--quiet", "--debug"}
SECRET = re.compile(r"(hub|api|access|auth)[-_]?token|secret|password|api[-_]?key", re.IGNORECASE)


def command_line() -> str | None:
    """What the person typed, as it can be given again to continue; None when no `openr1` command runs here.

    Values of options that look like secrets are left out, so that none lies in a manifest.
    """
    program = Path(sys.argv[0])
    if program.name not in ("openr1", "__main__.py") or (
        program.name == "__main__.py" and program.parent.name != "openr1"
    ):
        return None
    kept: list[str] = []
    hide = False
    for word in sys.argv[1:]:
        if hide and not word.startswith("--"):
            word = "…"
        name, equals, _ = word.partition("=")
        hide = name.startswith("--") and bool(SECRET.search(name))
        if hide and equals:
            word, hide = f"{name}=…", False
        if word not in NOT_TO_REPEAT:
            kept.append(word)
    return shlex.join(["openr1", *kept])


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
            f"the manifest is cut off or broken and cannot be read: {error}",
            where=str(path),
            fix="start over with --fresh",
        ) from None
    if not isinstance(loaded, dict) or not isinstance(loaded.get("format", 0), int):
        raise EnvironmentProblem(
            "this is not a manifest of openr1", where=str(path), fix="start over with --fresh"
        )
    if loaded.get("format", 0) > FORMAT:
        raise EnvironmentProblem(
            "this run was written by a newer openr1", where=str(path), fix="pip install --upgrade openr1"
        )
    return loaded


def update(run: Path, **fields: Any) -> dict[str, Any]:
    """Change some fields, whole or not at all."""
    manifest = (read(run) or new({})) | fields
    write_json(run / "manifest.json", manifest)
    return manifest
