"""The append-only file of finished samples: what is in it is done, after a kill -9 too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from openr1.runs.files import clean, explain_os_errors, mend_tail, read_lines


class Ledger:
    """One JSON line per sample, by key. A line that a kill cut off is drawn again.

    A row: key, task, row, index, model, protocol, and the fields of `requests.Completion`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explain_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            mend_tail(path)
        self.done = {row["key"] for row in read_lines(path) if "key" in row}

    def add(self, rows: Iterable[dict[str, Any]]) -> int:
        """Append the rows whose key is not there yet; returns how many."""
        new: dict[str, dict[str, Any]] = {}
        for row in rows:
            if row["key"] not in self.done:
                new.setdefault(row["key"], row)
        text = "".join(json.dumps(clean(row), ensure_ascii=False) + "\n" for row in new.values())
        with explain_os_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(text)
        self.done.update(new)
        return len(new)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All finished samples, in the order they finished."""
        seen = set()
        for row in read_lines(self.path):
            if row.get("key") not in seen:
                seen.add(row.get("key"))
                yield row
