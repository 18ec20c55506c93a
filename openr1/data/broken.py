"""Which line of a local data file is broken. Standard library only; memory stays bounded, whatever the file.

The datasets library says "an error occurred while generating the dataset", fills short CSV rows with nothing,
and reads a line of any length into memory.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, BinaryIO

from openr1.errors import RecipeError

MAX_LINE_BYTES = 256 * 1024 * 1024
"""Longest line that is read. The longest trace of a public dataset is below 1 MB."""
BLOCK = 1 << 20
NO_TEXT = "this row is not text (JSON Lines is UTF-8)"
SAVE_AS = "save the file as UTF-8, or is this another kind of file?"
LINES = (".jsonl", ".csv")
"""Suffixes of files that are read line by line."""


def check_file(file: Path, *, max_line: int = MAX_LINE_BYTES) -> None:
    """What must be true of a file before a library may read it.

    Raises:
        RecipeError: it is empty, a line is too long, a CSV row is broken, or the first row of a JSONL file is
            no object (a list or a bare text there would be read as a `text` column).
    """
    if file.stat().st_size == 0:
        raise RecipeError("the dataset file is empty", where=str(file), fix="name a file with rows")
    if file.suffix in LINES:
        long = long_line(file, max_line)
        if long:
            raise RecipeError(
                f"line {long} is longer than {_size(max_line)}",
                where=f"{file}:{long}",
                fix="is a line break missing? One row is one line",
            )
    line = undecodable_line(file) if file.suffix == ".jsonl" else None
    if line:
        raise RecipeError(NO_TEXT, where=f"{file}:{line}", fix=SAVE_AS)
    found = broken_row(file, rows=1) if file.suffix == ".jsonl" else broken_row(file)
    if found:
        raise found


def _size(count: int) -> str:
    return f"{count // 2**20} MB" if count >= 2**20 else f"{count:,} bytes"


def long_line(file: Path, limit: int) -> int | None:
    """The number of the first line with more than `limit` bytes, from 1. Reads blocks, never a whole line."""
    number, length = 1, 0
    with file.open("rb") as source:
        while block := source.read(BLOCK):
            start = 0
            while (end := block.find(b"\n", start)) >= 0:
                if length + end - start > limit:
                    return number
                number, length, start = number + 1, 0, end + 1
            length += len(block) - start
            if length > limit:
                return number
    return None


def undecodable_line(file: Path) -> int | None:
    """The number of the first line that is not UTF-8, from 1. Its lines are no longer than may be read."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


class Twice(ValueError):
    """A key that stands twice in an object."""


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise Twice(next(name for name in found if names.count(name) > 1))
    return found


def broken_row(file: Path, rows: int | None = None) -> RecipeError | None:
    """The first line (of `rows`, or of all) that is broken, as an error; None for files of other kinds."""
    if file.suffix == ".jsonl":
        with file.open("rb") as lines:
            return _broken_json(file, lines, rows)
    if file.suffix == ".json":
        return _broken_whole(file)
    return _broken_csv(file) if file.suffix == ".csv" else None


def _broken_whole(file: Path) -> RecipeError | None:
    """A `.json` file is one list, or JSON Lines under another name; the place where it is neither."""
    if file.stat().st_size > MAX_LINE_BYTES:
        return None  # the library has its own say
    data = file.read_bytes()
    try:
        json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError:
        return RecipeError(
            "this file is not text (JSON is UTF-8)", where=str(file), fix="is it another kind?"
        )
    except RecursionError:
        return RecipeError("the values are nested too deeply", where=str(file))
    except json.JSONDecodeError as error:
        if data.lstrip()[:1] == b"{":
            with file.open("rb") as lines:
                return _broken_json(file, lines, None)
        what = f"this file is not JSON: {error.msg}"
        return RecipeError(what, where=f"{file}:{error.lineno}", fix="mend that line")
    return None


def _broken_json(file: Path, lines: BinaryIO, rows: int | None) -> RecipeError | None:
    seen = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = json.loads(line.removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=_no_key_twice)
        except UnicodeDecodeError:
            return RecipeError(NO_TEXT, where=where, fix=SAVE_AS)
        except Twice as error:
            return RecipeError(
                f"the key `{error}` stands twice in this row", where=where, fix="keep one of the two"
            )
        except (ValueError, RecursionError) as error:
            return RecipeError(f"this row is not JSON: {error}", where=where, fix="mend or remove the row")
        if not isinstance(row, dict):
            return RecipeError(
                "a row must be a JSON object", where=where, fix='write it as {"prompt": …, "completion": …}'
            )
        seen += 1
        if seen == rows:
            break
    return None


def _broken_csv(file: Path) -> RecipeError | None:
    """A row with another number of fields than the header, or a quote that is never closed."""
    before = csv.field_size_limit(MAX_LINE_BYTES)
    begun = 1  # the line on which the current record began
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            header: list[str] | None = None
            for row in reader:
                begun_here, begun = begun, reader.line_num + 1
                if not row:
                    continue
                if header is None:
                    header = row
                    if len(row) == 1 and (other := next((c for c in ";\t|" if c in row[0]), None)):
                        return RecipeError(
                            f"the columns are parted by {other!r}, not by commas",
                            where=f"{file}:{begun_here}",
                            fix="save the file with commas between the columns",
                        )
                    if repeated := next((name for name in row if row.count(name) > 1), None):
                        return RecipeError(
                            f"two columns are called `{repeated}`",
                            where=f"{file}:{begun_here}",
                            fix="rename one of them",
                        )
                elif len(row) != len(header):
                    return RecipeError(
                        f"this row has {len(row)} fields, the header has {len(header)} ({', '.join(header)})",
                        where=f"{file}:{begun_here}",
                        fix='mend the row; a field with a comma or a line break is written "in quotes"',
                    )
    except csv.Error as error:
        return RecipeError(
            f"the row that begins here cannot be read: {error}",
            where=f"{file}:{begun}",
            fix='is a quote never closed? A quote inside a field is written twice ("")',
        )
    except UnicodeDecodeError:
        return RecipeError(
            "the rows are not text in UTF-8", where=f"{file}:{begun}", fix="save the file as UTF-8"
        )
    finally:
        csv.field_size_limit(before)
    return None
