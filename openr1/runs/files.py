"""Small files that must be whole or not there at all, and JSON lines that may have been cut off."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from openr1.errors import EnvironmentProblem, OpenR1Error

TAIL_BLOCK = 1 << 20


def write_whole(path: Path, text: str | Iterable[str]) -> None:
    """Write a file so that a reader, or a kill -9, sees the old text or the new one and nothing between.

    Args:
        text: all of it, or its parts as they are made.
    """
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.writelines((text,) if isinstance(text, str) else text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)  # a full disk needs its room
            raise


def write_json(path: Path, value: Any) -> None:
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append one JSON line. NaN and infinity, which JSON lacks, become null and text."""
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(clean(row), ensure_ascii=False, default=str) + "\n")


def clean(value: Any) -> Any:
    """A value that any JSON reader takes: NaN as null, infinities as text, lone surrogates replaced."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole rows of a JSON lines file; a last line cut off by a kill is left out."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def mend_tail(path: Path) -> None:
    """Cut a JSON lines file back to its last whole line, so that appending continues it rightly."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return
        while end > 0:  # backwards in blocks: the file may be larger than the memory
            start = max(0, end - TAIL_BLOCK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                file.truncate(start + found + 1)
                return
            end = start
        file.truncate(0)


def keep_rows(path: Path, keep: Any) -> None:
    """Rewrite a JSON lines file with the rows for which `keep(row)` holds."""
    if path.exists():
        rows = (row for row in read_lines(path) if keep(row))
        write_whole(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals into errors a person can act on."""
    try:
        yield
    except OSError as error:
        raise os_problem(error, path) from error


def os_problem(error: OSError, path: Path | str) -> OpenR1Error:
    """A full disk, a missing permission or a wrong path, in words."""
    where = str(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentProblem(
            "the disk is full",
            where=where,
            fix="free some space, then give the same command again to continue",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EnvironmentProblem(
            f"cannot write there: {error.strerror}",
            where=where,
            fix="choose another place with --output_dir, or OPENR1_RUNS_DIR for all runs",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return EnvironmentProblem(
            "a file stands where a folder is needed", where=where, fix="choose another --output_dir"
        )
    return EnvironmentProblem(
        f"cannot write there: {error.strerror or error}",
        where=where,
        fix="choose another place with --output_dir, or OPENR1_RUNS_DIR for all runs",
    )
