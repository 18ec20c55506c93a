"""Broken files are told by their line, whatever their size, before a library reads them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from openr1.data.broken import BLOCK, MAX_LINE_BYTES, broken_row, check_file, long_line
from openr1.data.sources import rows_of
from openr1.errors import RecipeError
from openr1.evaluation.local_data import count_rows

CSV = [
    ('a,b\n1,2\n3\n5,6\n', 3, "has 1 fields, the header has 2 (a, b)"),
    ('a,b\n1,2\n\n3,4,5\n', 4, "has 3 fields"),
    ('a,b\n"1\nmore",2\n3\n', 4, "has 1 fields"),  # a line break inside quotes is no row
    ('a,b\n1,2\n"3,4\n5,6\n', 3, "cannot be read"),  # a quote that is never closed
    ('a,a\n1,2\n', 1, "two columns are called `a`"),
    ('a;b\n1;2\n', 1, "parted by ';', not by commas"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "said"), CSV)
def test_a_broken_csv_row(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "d.csv"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        check_file(path)
    assert said in caught.value.what
    assert caught.value.where == f"{path}:{line}"
    assert caught.value.fix


@pytest.mark.parametrize("text", ["a,b\n1,2\n", 'a,b\n"1,\n""x""",2\n', "\ufeffa,b\r\n1,2\r\n", "a,b"])
def test_csv_that_is_whole(tmp_path: Path, text: str) -> None:
    path = tmp_path / "d.csv"
    path.write_text(text, encoding="utf-8", newline="")
    check_file(path)


def test_words_of_a_csv_that_pandas_takes_for_nothing(tmp_path: Path) -> None:
    rows = [("NA", "null"), ("None", "nan"), ("N/A", "1")]
    text = "prompt,completion\n" + "".join(f"{a},{b}\n" for a, b in rows)
    for name in ("d.csv", "folder/train.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        found = rows_of(str(path if name == "d.csv" else path.parent), None, "train")
        assert [(r["prompt"], r["completion"]) for r in found] == rows


def test_json_lines_in_another_encoding_and_with_a_key_twice(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n{"prompt": "\xe9"}\n')
    with pytest.raises(RecipeError, match="not text") as caught:
        rows_of(str(path), None, "train")
    assert caught.value.where == f"{path}:2" and caught.value.fix
    path.write_text('{"prompt": "a"}\n{"prompt": "a", "prompt": "b"}\n')
    with pytest.raises(RecipeError, match="`prompt` stands twice") as caught:
        rows_of(str(path), None, "train")
    assert caught.value.where == f"{path}:2" and caught.value.fix


def test_csv_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes("a,b\n1,é\n".encode("latin-1"))
    with pytest.raises(RecipeError, match="not text in UTF-8"):
        check_file(path)


@pytest.mark.parametrize(("lines", "number"), [((4, 3), None), ((4, 5), 2), ((9, 3), 1), ((4, 4, 4, 8), 4)])
@pytest.mark.parametrize("end", ["\n", ""])
def test_the_first_line_that_is_too_long(
    tmp_path: Path, lines: tuple[int, ...], number: int | None, end: str
) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join("x" * n for n in lines) + end)
    assert long_line(path, 4) == number


def test_a_line_longer_than_a_block(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"x" * 5 + b"\n" + b"y" * (3 * BLOCK) + b"\n")
    assert long_line(path, 3 * BLOCK) is None
    assert long_line(path, 3 * BLOCK - 1) == 2


def test_a_line_of_two_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    with path.open("wb") as file:
        file.write(b'{"prompt": "a", "completion": "b"}\n{"prompt": "')
        file.truncate(2 << 30)  # a hole: takes no disk, and is read as zeros
    tracemalloc.start()
    with pytest.raises(RecipeError) as caught:
        check_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.what == "line 2 is longer than 256 MB"
    assert caught.value.where == f"{path}:2"
    assert peak < 8 * BLOCK


def test_a_small_bound(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "short"}\n{"text": "a good deal longer"}\n')
    with pytest.raises(RecipeError, match="line 2 is longer than 20 bytes"):
        check_file(path, max_line=20)
    check_file(path)


def test_other_kinds_are_left_to_their_library(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    path.write_bytes(b"PAR1")
    check_file(path)
    assert broken_row(path) is None


def test_counting_problems_for_a_plan_reads_no_endless_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert count_rows(path) == 2
    with path.open("rb+") as file:
        file.truncate(MAX_LINE_BYTES + 100)
    assert count_rows(path) is None
