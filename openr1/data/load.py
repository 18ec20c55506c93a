"""Load a dataset from the hub, a local file, a folder, or a built-in task (child processes only)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.data import tiny_task
from openr1.data.columns import Row, grpo_mapper, sft_mapper
from openr1.errors import EnvironmentProblem, OpenR1Error, RecipeError

if TYPE_CHECKING:
    from datasets import Dataset

BUILTIN_ROWS = 20_000
FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def training_set(stage: str, values: dict[str, Any]) -> tuple[Dataset, dict[str, Any]]:
    """The rows a training stage learns from, in TRL's layout.

    Args:
        stage: "sft" or "grpo".
        values: the section's resolved values.

    Returns:
        The dataset, and facts about it: name, rows, fingerprint, the column mapping in words.

    Raises:
        RecipeError: no dataset named, not found, empty, or without the columns the stage needs.
        EnvironmentProblem: the hub cannot be reached.
    """
    name = values["dataset_name"]
    if not name:
        raise RecipeError("no dataset is named", fix="set dataset_name in the recipe, or --dataset_name")
    if tiny_task.is_builtin(name):
        dataset, mapping = _builtin(stage, name, values), "built-in"
    else:
        raw = rows_of(name, values["dataset_config"], values["dataset_train_split"])
        if values["limit"]:
            raw = raw.select(range(min(values["limit"], len(raw))))
        dataset, mapping = _mapped(stage, name, raw, values)
    if len(dataset) == 0:
        raise RecipeError("the dataset is empty", where=name, fix="name another dataset, split or limit")
    return dataset, {
        "name": name,
        "rows": len(dataset),
        "fingerprint": fingerprint(dataset),
        "columns": mapping,
    }


def _builtin(stage: str, name: str, values: dict[str, Any]) -> Dataset:
    from datasets import Dataset

    rows_of = tiny_task.sft_rows if stage == "sft" else tiny_task.grpo_rows
    rows = rows_of(tiny_task.parse_task(name), values["seed"], values["limit"] or BUILTIN_ROWS)
    if values["system_prompt"]:
        for row in rows:
            prompt: Any = row["prompt"]
            prompt.insert(0, {"role": "system", "content": values["system_prompt"]})
    return Dataset.from_list(rows)


def _mapped(stage: str, name: str, raw: Dataset, values: dict[str, Any]) -> tuple[Dataset, str]:
    columns = list(raw.column_names)
    if not columns:
        raise RecipeError("the dataset is empty", where=name)
    try:
        if stage == "sft":
            mapper, words = sft_mapper(columns, values["system_prompt"], values["dataset_prompt_column"])
            drop = columns
        else:
            mapper, words = grpo_mapper(
                columns,
                values["system_prompt"],
                values["dataset_prompt_column"],
                values["dataset_solution_column"],
            )
            # Rewards may read the other columns; `messages` and `completion` would change what TRL does.
            drop = [c for c in columns if c in ("messages", "completion", "images", "image")]
    except RecipeError as error:
        error.where = error.where or name
        raise
    mapped = raw.map(_checked(mapper, name), with_indices=True, remove_columns=drop)
    return mapped, words


def _checked(mapper: Callable[[Row], Row], name: str) -> Callable[[Row, int], Row]:
    """The mapper; a row that it refuses is named by its number, from 1."""

    def row_of(row: Row, index: int) -> Row:
        try:
            return mapper(row)
        except RecipeError as error:
            error.where = f"{name}, row {index + 1}"
            raise

    return row_of


def rows_of(name: str, config: str | None, split: str, revision: str | None = None) -> Dataset:
    """The raw rows of one split; `revision` is a commit of a hub dataset."""
    from datasets import load_dataset

    path = Path(name)
    local = path.exists() or path.suffix in FORMATS
    if local and not path.exists():
        raise RecipeError("no such dataset file", where=name, fix="check the path")
    try:
        if path.is_file():
            kind = FORMATS.get(path.suffix)
            if kind is None:
                raise RecipeError(
                    f"a dataset file ends in {', '.join(FORMATS)}, not `{path.suffix}`", where=name
                )
            if path.stat().st_size == 0:
                raise RecipeError("the dataset file is empty", where=name, fix="name a file with rows")
            first = broken_row(path, rows=1)  # a list or a bare text there would be read as a `text` column
            if first:
                raise first
            return load_dataset(kind, data_files=str(path), split="train")
        return load_dataset(name, config, split=split, revision=revision)
    except OpenR1Error:
        raise
    except Exception as error:
        raise _explain(error, name, path if path.is_file() else None) from error


def _explain(error: Exception, name: str, file: Path | None) -> OpenR1Error:
    """The datasets library's many exceptions as the few things that can be wrong."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if file is not None:
        if "corresponds to no data" in text:
            return RecipeError("the dataset has no rows", where=str(file), fix="name a file with rows")
        kind = FORMATS[file.suffix]
        return broken_row(file) or RecipeError(
            f"the dataset cannot be read: {text}", where=str(file), fix=f"is it really {kind}?"
        )
    kinds = {cls.__name__ for cls in type(error).__mro__}
    if kinds & {"ConnectionError", "OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectError"}:
        return EnvironmentProblem(
            f"the dataset {name} is not on this machine and the hub cannot be reached",
            where=name,
            fix="connect, set HF_ENDPOINT to a mirror, or give a local .jsonl or .parquet file",
        )
    if "is a gated dataset" in text:
        return EnvironmentProblem(
            f"the dataset {name} is gated: its owners want their terms accepted",
            where=name,
            fix=f"accept them at https://huggingface.co/datasets/{name}, then `hf auth login`, or HF_TOKEN",
        )
    if "DatasetNotFoundError" in kinds or isinstance(error, FileNotFoundError):
        return RecipeError(
            f"no dataset `{name}`: {text}",
            where=name,
            fix="check the spelling, or `hf auth login` if it is private",
        )
    if isinstance(error, ValueError):
        other = "name another split, or one file of the dataset" if text.startswith("Unknown split") else None
        return RecipeError(f"the dataset cannot be loaded: {text}", where=name, fix=other)
    return EnvironmentProblem(f"the dataset cannot be loaded: {type(error).__name__}: {text}", where=name)


def broken_row(file: Path, rows: int | None = None) -> RecipeError | None:
    """The first line (of `rows`, or of all) of a JSONL file that is no JSON object, as an error."""
    if file.suffix != ".jsonl":
        return None
    seen = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except UnicodeDecodeError:
                return RecipeError(
                    "this row is not text (JSON Lines is UTF-8)",
                    where=f"{file}:{number}",
                    fix="is this another kind of file?",
                )
            except ValueError as error:
                return RecipeError(
                    f"this row is not JSON: {error}", where=f"{file}:{number}", fix="mend or remove the row"
                )
            if not isinstance(row, dict):
                return RecipeError(
                    "a row must be a JSON object",
                    where=f"{file}:{number}",
                    fix='write it as {"prompt": …, "completion": …}',
                )
            seen += 1
            if seen == rows:
                break
    return None


def fingerprint(dataset: Dataset) -> str:
    """A short hash of the rows themselves; the library's own changes with the way they were loaded."""
    digest = hashlib.sha256(f"{len(dataset)}".encode())
    step = max(1, len(dataset) // 1000)
    for index in range(0, len(dataset), step):
        digest.update(json.dumps(dataset[index], sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]
