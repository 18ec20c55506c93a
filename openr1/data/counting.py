"""How many rows a section will train on, before anything is loaded: its run time hangs on them.

Local files are counted without reading a dataset in; a few datasets of the hub are known from their cards.
Only a plan leans on these figures: a run counts what it has loaded.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.data.known_rows import known_rows
from openr1.data.mixture import Part, mixture_of, rows_taken
from openr1.errors import RecipeError

MOST_COUNTED_BYTES = 1 << 28  # of a larger file this much is read, and the rest is taken to be like it
# Mathematics in the tokenizers of Qwen and Llama is 2.5-3.5 bytes a token (each digit is one): a time that
# comes of it is rather too long than too short.
BYTES_PER_TOKEN = 3
TRAIN = "train"


@dataclass(frozen=True)
class Counted:
    """The rows of a dataset, and their text in bytes (None: not known)."""

    rows: int
    text_bytes: int | None = None

    def taking(self, rows: int) -> Counted:
        """As many of these rows, of average length."""
        rows = max(0, min(rows, self.rows))
        text = None if self.text_bytes is None else round(self.text_bytes * rows / max(1, self.rows))
        return Counted(rows, text)

    def packed(self, max_length: int | None, strategy: str | None) -> int | None:
        """Rows after packing to `max_length` tokens; None where the text is not known.

        TRL's `bfd` cuts what is longer; every other strategy makes several rows of it.
        """
        if self.text_bytes is None or not max_length:
            return None
        filled = max(1, math.ceil(self.text_bytes / BYTES_PER_TOKEN / max_length))
        return min(self.rows, filled) if strategy == "bfd" else filled


def counted(values: Mapping[str, Any]) -> Counted | None:
    """The rows that a section trains on; None where a part of its data cannot be counted from here.

    Args:
        values: the section's resolved values.
    """
    mixture = mixture_of(values)
    if mixture is None:
        part = Part(
            str(values.get("dataset_name") or ""),
            values.get("dataset_config"),
            str(values.get("dataset_train_split") or TRAIN),
        )
        whole, held_out = _part(part), values.get("eval_split_size") or values.get("test_split_size")
    else:
        parts = [found for part in mixture.parts if (found := _part(part)) is not None]
        if len(parts) < len(mixture.parts):
            return None
        try:
            taken = rows_taken([part.rows for part in parts], mixture)
        except RecipeError:  # said by the loading itself, with the dataset's name
            return None
        shares = [part.taking(rows) for part, rows in zip(parts, taken, strict=True)]
        texts = [share.text_bytes for share in shares]
        text = None if None in texts else sum(t for t in texts if t is not None)
        whole, held_out = Counted(sum(share.rows for share in shares), text), mixture.test_size
    if whole is None:
        return None
    if held_out:
        out = float(held_out)
        whole = whole.taking(whole.rows - round(out * whole.rows if out < 1 else out))
    return whole.taking(int(values["limit"])) if values.get("limit") else whole


def _part(part: Part) -> Counted | None:
    if not part.name or "[" in part.split or part.data_dir or part.data_files:
        return None
    path = Path(part.name).expanduser()
    if path.is_file():
        return _file(path)
    if path.is_dir():
        return _folder(path) if part.config is None and part.split == TRAIN else None
    rows = known_rows(part.name, part.config, part.split)
    return None if rows is None else Counted(rows)


def _folder(path: Path) -> Counted | None:
    """The files of one kind, without those whose names say another split."""
    files = sorted(p for p in path.rglob("*") if p.suffix in COUNTS and p.is_file())
    named = [p for p in files if TRAIN in p.name]
    parts = [_file(p) for p in named or files]
    if not parts or len({p.suffix for p in named or files}) > 1:
        return None
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Counted(sum(p.rows for p in known), sum(p.text_bytes or 0 for p in known))


def _file(path: Path) -> Counted | None:
    count = COUNTS.get(path.suffix)
    return count(path) if count else None


def _lines(path: Path) -> Counted:
    lines, read, last = 0, 0, b"\n"
    with path.open("rb") as file:
        while read < MOST_COUNTED_BYTES and (chunk := file.read(1 << 20)):
            lines, read, last = lines + chunk.count(b"\n"), read + len(chunk), chunk
    size = path.stat().st_size
    return Counted(round((lines + (not last.endswith(b"\n"))) * size / max(1, read)), size)


def _csv(path: Path) -> Counted | None:
    """Records, not lines: a cell may hold several."""
    size, rows = path.stat().st_size, -1  # the first names the columns
    before = csv.field_size_limit(MOST_COUNTED_BYTES)  # a trace may be longer than the module's 128 KiB
    try:
        with path.open("rb") as file:
            lines = (line.decode("utf-8", errors="replace") for line in iter(file.readline, b""))
            for _ in csv.reader(lines):
                rows += 1
                if rows and file.tell() >= MOST_COUNTED_BYTES:
                    return Counted(round(rows * size / file.tell()), size)
    except csv.Error:  # said with its line when it is loaded
        return None
    finally:
        csv.field_size_limit(before)
    return Counted(max(0, rows), size)


def _json(path: Path) -> Counted | None:
    """A list of rows, or JSON lines under that name."""
    with path.open("rb") as file:
        is_list = file.read(1024).lstrip().startswith(b"[")
    if not is_list:
        return _lines(path)
    size = path.stat().st_size
    if size > MOST_COUNTED_BYTES:
        return None
    try:
        rows = json.loads(path.read_bytes())
    except ValueError:  # said with its line when it is loaded
        return None
    return Counted(len(rows), size) if isinstance(rows, list) else None


def _parquet(path: Path) -> Counted | None:
    """From the file's own table of contents: nothing else of it is read."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        return None
    try:
        found = parquet.read_metadata(path)
    except (ArrowException, OSError):
        return None
    groups = (found.row_group(number) for number in range(found.num_row_groups))
    return Counted(found.num_rows, sum(group.total_byte_size for group in groups))


def _arrow(path: Path) -> Counted | None:
    """What the datasets library's `save_to_disk` writes, batch by batch without reading the values."""
    try:
        import pyarrow
    except ImportError:
        return None
    try:
        with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as stream:
            sizes = [(batch.num_rows, batch.nbytes) for batch in stream]
    except (pyarrow.ArrowException, OSError):
        return None
    return Counted(sum(rows for rows, _ in sizes), sum(size for _, size in sizes))


COUNTS = {".jsonl": _lines, ".json": _json, ".csv": _csv, ".parquet": _parquet, ".arrow": _arrow}
