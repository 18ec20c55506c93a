"""A training stage in this process: the command's own way to a resolved file, then the child's own work.

The real command takes seconds to start; what is in between is tested in test_sft.py and test_grpo.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openr1.cli.common import asked_from
from openr1.hardware import detect
from openr1.runs import resolved_file
from openr1.runs.child import Child
from openr1.runs.folder import RunFolder
from openr1.services.prepare import prepare_stage

MODEL = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64", "--threads", "1")


class Heard:
    """Events of a child that has no parent."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def send(self, event: str, **fields: Any) -> None:
        self.events.append({"event": event, **fields})

    @property
    def notices(self) -> str:
        return "\n".join(e["text"] for e in self.events if e["event"] == "notice")


def child_of(stage: str, folder: Path, *words: object) -> tuple[Child, Heard]:
    """A child process's view of what `openr1 STAGE WORDS` would start, in this process."""
    _, asked = asked_from([str(w) for w in (*MODEL, *words)])
    prepared = prepare_stage(stage, asked, detect())
    run = RunFolder(folder / "run")
    resolved_file.write(run.resolved, prepared.resolved, prepared.plan)
    (run.path / "manifest.json").write_text('{"format": 1, "state": "running"}')
    child = Child(run)
    heard = Heard()
    child.events = heard  # type: ignore[assignment]
    child.config = resolved_file.read(run.resolved)
    return child, heard


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
