"""`openr1 eval` without its two processes: prepare as the command does, evaluate here. A test of seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from openr1.evaluation.run import evaluate
from openr1.runs import resolved_file
from openr1.runs.child import Child
from openr1.runs.folder import RunFolder
from openr1.services.evaluate import prepare
from openr1.services.prepare import Prepared
from openr1.services.request import Asked
from tests.sampling.fake_server import FakeServer, serving


class Told(Child):
    """A child that keeps what it says."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.said: list[str] = []
        send = self.events.send

        def listen(event: str, **fields: Any) -> None:
            if event == "notice":
                self.said.append(fields["text"])

        self.events.send = listen  # type: ignore[method-assign]
        del send


def prepared(*words: str, **keys: Any) -> Prepared:
    gpus = keys.pop("gpus", None)
    simulate = keys.pop("simulate", None)
    asked = Asked(overrides={k: (v, str(v)) for k, v in keys.items()}, gpus=gpus, simulate=simulate)
    return prepare(words, asked)


def evaluated(*words: str, **keys: Any) -> tuple[list[dict[str, Any]], list[str], Path]:
    """Scores with everything in results.json, what was said, and the run's folder (`folder=` names one)."""
    folder = keys.pop("folder", None)
    found = prepared(*words, **keys)
    if folder is not None:
        found = replace(found, run=RunFolder(Path(folder)))
    found.run.path.mkdir(parents=True, exist_ok=True)
    resolved_file.write(found.run.resolved, found.resolved, found.plan)
    child = Told(found.run)
    child.config = resolved_file.read(found.run.resolved)
    evaluate(child)
    scores = json.loads((found.run.path / "results.json").read_text())["scores"]
    return scores, [*found.notices, *child.said], found.run.path


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@contextmanager
def canned(answers: Callable[[str, int], str | dict[str, Any]], **kwargs: Any) -> Iterator[FakeServer]:
    """A server that answers `answers(question, how often it was asked before)`."""
    seen: dict[str, int] = {}

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        question = next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")
        count = seen.get(question, 0)
        seen[question] = count + 1
        said = answers(question, count)
        return {"text": said, "tokens": 10} if isinstance(said, str) else said

    with serving(answer, **kwargs) as server:
        yield server
