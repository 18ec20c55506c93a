"""Samples that failed, with reasons. What is listed is not done: the same command tries it again."""

from __future__ import annotations

import time
from pathlib import Path

from openr1.runs.files import append_line, explain_os_errors, mend_tail, read_lines, write_whole
from openr1.sampling.requests import Failure, Request


class Quarantine:
    """A JSON lines file: key, task, row, index, time, and the fields of `requests.Failure`.

    While a run goes on it is appended to, so that an interrupted run keeps what it knew; `settle` leaves the
    failures of this attempt, which has tried the older ones again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explain_os_errors(path):
            mend_tail(path)
            self._older = path.stat().st_size if path.exists() else 0

    def __bool__(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0

    def rows(self) -> set[int]:
        """The problems of which a sample is listed."""
        return {line["row"] for line in read_lines(self.path)}

    def add(self, request: Request, key: str, failure: Failure) -> None:
        row = {"key": key, "task": request.task, "row": request.row, "index": request.index}
        append_line(self.path, {**row, "time": round(time.time(), 3), **failure.as_dict()})

    def settle(self) -> None:
        """All samples have been tried: drop what earlier attempts had listed."""
        if not self:
            return
        with explain_os_errors(self.path), self.path.open("rb") as file:
            file.seek(self._older)
            mine = file.read().decode()
        if mine:
            write_whole(self.path, mine)
        else:
            self.path.unlink()
        self._older = 0

    def reasons(self) -> dict[str, int]:
        """Failures by kind."""
        found: dict[str, int] = {}
        for line in read_lines(self.path):
            found[line["kind"]] = found.get(line["kind"], 0) + 1
        return found


def in_words(reasons: dict[str, int]) -> str:
    """`2 server error, 1 too long`"""
    ordered = sorted(reasons.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{count:,} {kind}" for kind, count in ordered)
