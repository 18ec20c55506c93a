"""The append-only files of finished samples: what is in them is done, after a kill -9 too."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from openr1.runs.files import clean, explain_os_errors, mend_tail

SHARD_BYTES = 256 << 20
"""A shard that is longer than this is left as it is, and the next one is begun."""
SYNC_S = 5.0
"""Seconds of samples that a power cut may cost; a kill costs none that was written."""
_OFFSET_BITS = 40


class KeyTable:
    """Keys of 16 hex digits, each with a number: two flat arrays, some 25 bytes per key.

    Open addressing with linear probing, at most two thirds full. A set of as many strings takes five times
    the memory, which counts where a run has millions of samples.
    """

    def __init__(self) -> None:
        self._keys, self._values = array("Q", bytes(8 << 10)), array("Q", bytes(8 << 10))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> int | None:
        number = _as_number(key)
        place = self._place(number)
        return self._values[place] if self._keys[place] else None

    def add(self, key: str, value: int) -> bool:
        """Keep the first value of a key; returns whether this was it."""
        number = _as_number(key)
        place = self._place(number)
        if self._keys[place]:
            return False
        self._keys[place], self._values[place] = number, value
        self._count += 1
        if 3 * self._count > 2 * len(self._keys):
            self._grow()
        return True

    def _place(self, number: int) -> int:
        keys, mask = self._keys, len(self._keys) - 1
        place = number & mask
        while keys[place] and keys[place] != number:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        keys, values = self._keys, self._values
        self._keys, self._values = array("Q", bytes(16 * len(keys))), array("Q", bytes(16 * len(keys)))
        for number, value in zip(keys, values, strict=True):
            if number:
                place = self._place(number)
                self._keys[place], self._values[place] = number, value


def _as_number(key: str) -> int:
    """64 bits, never 0, which marks a free place."""
    if len(key) != 16:
        key = hashlib.sha256(key.encode()).hexdigest()[:16]
    return int(key, 16) or 1


class Ledger:
    """One JSON line per sample, by key. A line that a kill cut off is drawn again.

    A row: key, task, row, index, model, protocol, and the fields of `requests.Completion`. Of all rows only
    their keys and places are held in memory. Shards: `ledger.jsonl`, `ledger-2.jsonl`, …
    """

    def __init__(self, path: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.path, self.shard_bytes = path, shard_bytes
        self._places = KeyTable()
        self._counts: Counter[tuple[Any, Any]] = Counter()
        self._out: io.FileIO | None = None
        self._readers: dict[int, Any] = {}
        self._synced = time.monotonic()
        with explain_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.shards = shards_of(path)
            for number, shard in enumerate(self.shards):
                mend_tail(shard)
                for offset, row in _numbered(shard):
                    if "key" in row and self._places.add(row["key"], number << _OFFSET_BITS | offset):
                        self._counts[row.get("model"), row.get("protocol")] += 1
            self._end = self.shards[-1].stat().st_size if self.shards[-1].exists() else 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def count(self, model: str, protocol: str) -> int:
        """Samples of one model, asked in one way."""
        return self._counts[model, protocol]

    def add(self, rows: Iterable[dict[str, Any]]) -> int:
        """Append the rows whose key is not there yet, all of them or, on a full disk, none; returns how many.

        Raises:
            EnvironmentProblem: the disk is full, or the file cannot be written.
        """
        new: dict[str, tuple[tuple[Any, Any], bytes]] = {}
        for row in rows:
            if row["key"] not in self._places and row["key"] not in new:
                line = (json.dumps(clean(row), ensure_ascii=False) + "\n").encode()
                new[row["key"]] = ((row.get("model"), row.get("protocol")), line)
        if not new:
            return 0
        with explain_os_errors(self.shards[-1]):
            self._append(b"".join(line for _, line in new.values()))
        start = self._end
        for key, (counted, line) in new.items():
            self._counts[counted] += 1
            self._places.add(key, (len(self.shards) - 1) << _OFFSET_BITS | start)
            start += len(line)
        self._end = start
        if self._end > self.shard_bytes:
            self._next_shard()
        return len(new)

    def get(self, key: str) -> dict[str, Any] | None:
        """A finished sample."""
        place = self._places.get(key)
        if place is None:
            return None
        number = place >> _OFFSET_BITS
        with explain_os_errors(self.shards[number]):
            if number not in self._readers:
                self._readers[number] = self.shards[number].open("rb")
            self._readers[number].seek(place & ((1 << _OFFSET_BITS) - 1))
            row: dict[str, Any] = json.loads(self._readers[number].readline())
        return row

    def rows(self) -> Iterator[dict[str, Any]]:
        """All finished samples, in the order they finished."""
        for number, shard in enumerate(self.shards):
            for offset, row in _numbered(shard):
                if "key" in row and self._places.get(row["key"]) == number << _OFFSET_BITS | offset:
                    yield row

    def close(self) -> None:
        """Let go of the files; they are opened again when needed."""
        if self._out:
            self._out.close()
            self._out = None
        for reader in self._readers.values():
            reader.close()
        self._readers = {}

    def _append(self, data: bytes) -> None:
        if self._out is None:
            self._out = self.shards[-1].open("ab", buffering=0)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._out.write(rest) :]
        except OSError:
            self._out.truncate(self._end)
            raise
        if time.monotonic() - self._synced > SYNC_S:
            os.fsync(self._out.fileno())
            self._synced = time.monotonic()

    def _next_shard(self) -> None:
        if self._out:
            os.fsync(self._out.fileno())
            self._out.close()
            self._out = None
        self.shards.append(self.path.with_name(f"{self.path.stem}-{len(self.shards) + 1}{self.path.suffix}"))
        self._end = 0


def shards_of(path: Path) -> list[Path]:
    """The first shard, and those there are after it, in order."""
    pattern = re.compile(rf"{re.escape(path.stem)}-(\d+){re.escape(path.suffix)}")
    found = {int(m[1]): p for p in path.parent.iterdir() if (m := pattern.fullmatch(p.name))}
    return [path, *(found[number] for number in sorted(found))]


def _numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The whole rows of a file, each with the place it begins at."""
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                yield offset, row
            offset += len(line)
