"""The small files that steps leave, read by row number: only places are held in memory, 8 bytes per row."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NONE = -1


class LinesByRow:
    """A JSON lines file whose lines have a `row`; any may be read at any time.

    The file may be appended to meanwhile: what was there at the beginning is what is seen.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places = array("q")
        self._count = 0
        if path.exists():
            with path.open("rb") as file:
                self._scan(file)
        self._file = path.open("rb") if self._count else None

    def _scan(self, file: Any) -> None:
        place = 0
        for line in file:
            row = _row_of(line)
            if row is not None:
                while row >= len(self._places):
                    self._places.append(_NONE)
                self._count += self._places[row] == _NONE
                self._places[row] = place
            place += len(line)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, row: int) -> bool:
        return row < len(self._places) and self._places[row] != _NONE

    def get(self, row: int) -> dict[str, Any] | None:
        """The last line of a row."""
        if row not in self or self._file is None:
            return None
        self._file.seek(self._places[row])
        found: dict[str, Any] = json.loads(self._file.readline())
        return found

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every row's line, in the order of the rows."""
        for row in range(len(self._places)):
            line = self.get(row)
            if line is not None:
                yield line

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _row_of(line: bytes) -> int | None:
    """The row of a whole line; None for one that a kill cut off."""
    if not line.endswith(b"\n"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    row = found.get("row") if isinstance(found, dict) else None
    return row if isinstance(row, int) and row >= 0 else None
