"""The exported dataset: a folder of Parquet files with a card, as `load_dataset` and the hub take it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.errors import RecipeError
from openr1.generation.layouts import Chosen, Layout, Row, rows_in
from openr1.generation.samples import removed_on_failure
from openr1.runs.files import clean, explain_os_errors

if TYPE_CHECKING:
    import pyarrow

CHUNK = 1000  # rows that are typed, and written, together

Rows = Callable[[], Iterator[Row]]
Card = Callable[[dict[str, int], dict[str, str]], str]


def export(
    problems: Callable[[], Iterator[Chosen]],
    layouts: Sequence[Layout],
    folder: Path,
    card: Card,
) -> dict[str, int]:
    """Write a folder with one configuration per layout, whole or not at all.

    Args:
        problems: makes the chosen problems anew each time it is called; they are read twice per layout, since
            the types of all rows must be known before the first is written.
        folder: what it is called in the end; an older one gives way.
        card: the card's text from the rows and the file of each layout.

    Returns:
        Rows per layout; {} where nothing is left, and then no folder.

    Raises:
        RecipeError: a column whose rows are of different types.
    """
    draft = folder.with_name(f".{folder.name}")
    with explain_os_errors(folder), removed_on_failure(draft):
        shutil.rmtree(draft, ignore_errors=True)
        counts: dict[str, int] = {}
        files: dict[str, str] = {}
        for layout in layouts:

            def rows(layout: Layout = layout) -> Iterator[Row]:
                for chosen in problems():
                    yield from rows_in(layout, chosen)

            counts[layout], files[layout] = _write(rows, draft / layout)
        shutil.rmtree(folder, ignore_errors=True)
        if not any(counts.values()):
            return {}
        (draft / "README.md").write_text(card(counts, files), encoding="utf-8")
        draft.rename(folder)
    return counts


def _write(rows: Rows, folder: Path) -> tuple[int, str]:
    """One Parquet file; returns its rows and its name ("" without rows).

    The name holds a hash of the contents, since `datasets` caches what it has loaded from a folder under the
    folder's name and its card: two exports, or one made anew, would be taken for each other (datasets 5.2,
    LocalDatasetModuleFactory).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(rows)
    if schema is None:
        return 0, ""
    folder.mkdir(parents=True)
    path = folder / "train.parquet"
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for chunk in _chunks(rows()):
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
            count += len(chunk)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    name = f"train-00000-of-00001-{digest.hexdigest()[:16]}.parquet"
    path.rename(folder / name)
    return count, name


def _schema(rows: Rows) -> pyarrow.Schema | None:
    """The types of all rows together; what is nothing but null becomes text. None without rows."""
    import pyarrow as pa

    schemas = []
    for chunk in _chunks(rows()):
        try:
            schemas.append(pa.Table.from_pylist(chunk).schema)
            merged = pa.unify_schemas(schemas[-2:], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise RecipeError(
                f"a column has rows of different types: {error}",
                fix="mend it in the dataset, so that it is text in every row",
            ) from error
        schemas = [merged]
    return pa.schema([_field(field) for field in schemas[0]]) if schemas else None


def _field(field: Any) -> Any:
    """Columns that are null throughout get the type that a filled one would have."""
    import pyarrow as pa

    known = {"correctness_llama": pa.list_(pa.bool_()), "correctness_math_verify": pa.list_(pa.bool_())}
    known |= {"correctness_count": pa.int64(), "pass_rate": pa.float64()}
    if pa.types.is_null(field.type) or (
        pa.types.is_list(field.type) and pa.types.is_null(field.type.value_type)
    ):
        return field.with_type(
            known.get(field.name, pa.string() if pa.types.is_null(field.type) else field.type)
        )
    return field


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := [clean(row) for row in islice(rows, CHUNK)]:
        yield chunk


def push(folder: Path, hub_id: str, private: bool, listen: Callable[[str], None]) -> str:
    """Upload the folder as a dataset of the hub; returns its address.

    Raises:
        EnvironmentProblem: not logged in, no right, no network; the folder stays as it is.
    """
    from huggingface_hub import HfApi

    from openr1.errors import EnvironmentProblem

    api = HfApi()
    try:
        created = api.create_repo(hub_id, repo_type="dataset", private=private, exist_ok=True)
        listen(f"uploading to {created.repo_id} ({'private' if private else 'public'})")
        api.upload_folder(
            repo_id=created.repo_id,
            repo_type="dataset",
            folder_path=str(folder),
            commit_message="openr1 generate",
        )
    except Exception as error:  # the hub's many errors; none of them may cost the dataset
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EnvironmentProblem(
            f"the upload failed: {first}",
            where=hub_id,
            fix=f"hf auth login; then openr1 generate --from RUN --only export --hub_dataset_id {hub_id}; "
            f"the dataset is in {folder}",
        ) from error
    return f"https://huggingface.co/datasets/{created.repo_id}"
