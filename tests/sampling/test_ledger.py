"""The ledger: shards, torn tails, a full disk, and keys that take little room."""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import Any

import pytest

from openr1.errors import EnvironmentProblem
from openr1.runs.files import mend_tail
from openr1.sampling.ledger import KeyTable, Ledger


def row(number: int, text: str = "") -> dict[str, Any]:
    return {
        "key": f"{number * 2654435761 % 2**64:016x}",
        "row": number,
        "text": text,
        "model": "m",
        "protocol": "p",
    }


def test_a_table_of_keys_is_a_set_with_numbers_in_little_room() -> None:
    rng = random.Random(0)
    keys = [f"{rng.getrandbits(64):016x}" for _ in range(50_000)]
    table = KeyTable()
    assert all(table.add(key, number) for number, key in enumerate(keys))
    assert not table.add(keys[7], 99)
    assert len(table) == 50_000
    assert [table.get(key) for key in keys] == list(range(50_000))
    assert f"{rng.getrandbits(64):016x}" not in table and "short" not in table
    assert table.add("short", 3) and table.get("short") == 3
    assert 16 * len(table._keys) < 48 * len(table)  # bytes


def test_shards_are_continued_and_read_as_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl", shard_bytes=400)
    for number in range(12):
        ledger.add([row(number, "x" * 60)])
    ledger.close()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["l-2.jsonl", "l-3.jsonl", "l-4.jsonl", "l.jsonl"]
    again = Ledger(tmp_path / "l.jsonl", shard_bytes=400)
    assert [r["row"] for r in again.rows()] == list(range(12))
    assert again.count("m", "p") == 12 and again.count("m", "other") == 0
    found = again.get(row(5)["key"])
    assert found and found["row"] == 5
    assert again.add([row(3), row(12)]) == 1
    assert [r["row"] for r in Ledger(tmp_path / "l.jsonl").rows()] == list(range(13))


@pytest.mark.parametrize("torn", [b'{"key": "half', b"\x00\x00\x00", b'{"key": 1}{'])
def test_a_torn_tail_is_mended_and_drawn_again(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "l.jsonl"
    Ledger(path).add([row(0), row(1)])
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    ledger = Ledger(path)
    assert path.read_bytes() == whole and len(ledger) == 2
    ledger.add([row(2)])
    assert [r["row"] for r in Ledger(path).rows()] == [0, 1, 2]


def test_a_long_torn_line_is_cut_without_reading_the_file(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_bytes(b'{"a": 1}\n' + b"x" * 3_000_000)
    mend_tail(path)
    assert path.read_bytes() == b'{"a": 1}\n'
    path.write_bytes(b"x" * 3_000_000)
    mend_tail(path)
    assert path.read_bytes() == b""


def test_a_full_disk_in_the_middle_of_a_row_leaves_none_of_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl")
    ledger.add([row(0)])
    whole = ledger.path.read_bytes()
    real = ledger._out

    class Full:
        def write(self, data: bytes) -> int:
            assert real
            if len(data) < 40:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real.write(data[:30]) or 0

        def truncate(self, size: int) -> int:
            assert real
            return real.truncate(size)

        def fileno(self) -> int:
            assert real
            return real.fileno()

    ledger._out = Full()  # type: ignore[assignment]
    with pytest.raises(EnvironmentProblem, match="disk is full"):
        ledger.add([row(1)])
    assert ledger.path.read_bytes() == whole and row(1)["key"] not in ledger
    ledger._out = real
    assert ledger.add([row(1)]) == 1
    assert [r["row"] for r in Ledger(ledger.path).rows()] == [0, 1]
