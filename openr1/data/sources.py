"""The raw rows of a dataset: from the hub, a copy of a hub dataset on this machine, a file or a folder.

Needs the datasets library; child processes only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.data.broken import LINES, broken_row, check_file
from openr1.errors import EnvironmentProblem, OpenR1Error, RecipeError

if TYPE_CHECKING:
    from datasets import Dataset

FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
# Only an empty cell is nothing; pandas would also take an answer that is "NA", "null" or "None" for nothing.
WORDS_STAY: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}
UNREACHED = {
    "ConnectionError",
    "OfflineModeIsEnabled",
    "LocalEntryNotFoundError",
    "ConnectError",
    "TimeoutException",
}


def rows_of(
    name: str,
    config: str | None,
    split: str,
    revision: str | None = None,
    *,
    gated: bool = False,
    **where: Any,
) -> Dataset:
    """The raw rows of one split.

    Args:
        name: hub id, local file or local folder.
        config: configuration of a hub dataset or folder.
        split: split, or a slice of it in the library's spelling (`train[:100]`). A file has one, whatever
            it is called.
        revision: branch, tag or commit of a hub dataset.
        gated: its owners are known to want their terms accepted, which no hub can say when it is not reached.
        where: the library's `data_dir` and `data_files`.

    Raises:
        RecipeError: no such dataset, configuration or split; a broken row, with its line.
        EnvironmentProblem: the hub cannot be reached, and no copy is here; or it refuses access.
    """
    path = Path(name).expanduser()
    if path.is_file() or path.suffix in FORMATS:
        return _file(path, split)
    where = {key: value for key, value in where.items() if value}
    if path.is_dir():
        return _folder(path, config, split, where)
    return _hub(name, config, split, revision, where, gated)


def _file(path: Path, split: str) -> Dataset:
    from datasets import load_dataset

    if not path.exists():
        raise RecipeError("no such dataset file", where=str(path), fix="check the path")
    kind = FORMATS.get(path.suffix)
    if kind is None:
        raise RecipeError(
            f"a dataset file ends in {', '.join(FORMATS)}, not `{path.suffix}`", where=str(path)
        )
    check_file(path)
    part = re.search(r"\[.*\]$", split)
    try:
        more = WORDS_STAY if kind == "csv" else {}
        return load_dataset(kind, data_files=str(path), split=f"train{part[0] if part else ''}", **more)
    except Exception as error:
        text = _first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        if "corresponds to no data" in text:
            raise RecipeError(
                "the dataset has no rows", where=str(path), fix="name a file with rows"
            ) from error
        raise broken_row(path) or RecipeError(
            f"the dataset cannot be read: {text}", where=str(path), fix=f"is it really {kind}?"
        ) from error


def _folder(path: Path, config: str | None, split: str, where: dict[str, Any]) -> Dataset:
    from datasets import load_dataset

    files = sorted(p for p in path.rglob("*") if p.suffix in LINES and p.is_file())
    for file in files:
        check_file(file)
    all_csv = {p.suffix for p in path.rglob("*") if p.suffix in FORMATS} == {".csv"}
    try:
        return load_dataset(str(path), config, split=split, **where, **(WORDS_STAY if all_csv else {}))
    except Exception as error:
        broken = next((b for b in map(broken_row, files) if b), None)
        raise broken or _explain(error, str(path), split) from error


def _hub(
    name: str, config: str | None, split: str, revision: str | None, where: dict[str, Any], gated: bool
) -> Dataset:
    from datasets import load_dataset

    try:
        # The library would fall back on whatever revision it has prepared before; ask first.
        commit = _commit(name, revision) if revision else None
        return load_dataset(name, config, split=split, revision=commit, **where)
    except Exception as error:
        no_access = refused(error, name, gated)
        if no_access is None and not _unreached(error):
            raise _explain(error, name, split, revision) from error
        copy = local_copy(name, revision)
        if copy is None:
            raise no_access or _not_here(name, revision, gated) from error
    return _folder(copy, config, split, where)


def _commit(name: str, revision: str) -> str | None:
    """The commit that a branch or tag names today."""
    from huggingface_hub import HfApi

    return HfApi().dataset_info(name, revision=revision, timeout=30).sha


def local_copy(name: str, revision: str | None) -> Path | None:
    """The folder of a hub dataset that was downloaded or copied to this machine's hub cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None


def _not_here(name: str, revision: str | None, gated: bool) -> EnvironmentProblem:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"
    at = f" --revision {revision}" if revision else ""
    kept = sorted(p.name for p in (folder / "snapshots").glob("*")) if folder.exists() else []
    here = f" (here are: {', '.join(kept)})" if kept else ""
    what = f"revision {revision} of the dataset {name}" if revision else f"the dataset {name}"
    fetch = f"hf download {name} --repo-type dataset{at}; then copy its {folder.name} folder to {folder}"
    if gated:
        return EnvironmentProblem(
            f"{what} is not on this machine{here}, the hub cannot be reached, and the dataset is gated",
            where=name,
            fix=f"{accept(name)}. Where the hub can be reached: {fetch}. Or name a local file",
        )
    return EnvironmentProblem(
        f"{what} is not on this machine{here} and the hub cannot be reached",
        where=name,
        fix=f"where the hub can be reached: {fetch}. "
        "Or connect, set HF_ENDPOINT to a mirror, or name a local file",
    )


def accept(name: str) -> str:
    """What to do, and where, before a gated dataset can be had."""
    return (
        f"accept its owners' terms at https://huggingface.co/datasets/{name}, then log in with a token "
        "of that account (https://huggingface.co/settings/tokens): `hf auth login`, or HF_TOKEN"
    )


def refused(error: Exception, name: str, gated: bool) -> OpenR1Error | None:
    """What 401 and 403 mean: a token that is none, or terms that were not accepted. None for other errors."""
    kinds, response = {cls.__name__ for cls in type(error).__mro__}, _response(error)
    status = getattr(response, "status_code", None)
    if status == 401 and "Invalid credentials" in response.headers.get("X-Error-Message", ""):
        return EnvironmentProblem(
            f"the hub does not accept the token that is set (dataset {name}, status 401)",
            where=name,
            fix="`hf auth login` with a valid token, or HF_TOKEN; `hf auth whoami` says whose it is",
        )
    if "is a gated dataset" in str(error) or "GatedRepoError" in kinds or (gated and status in (401, 403)):
        return EnvironmentProblem(
            f"the dataset {name} is gated: its owners want their terms accepted",
            where=name,
            fix=f"{accept(name)}. Or name a local file",
        )
    # A 401 of the hub's own says that there is no such dataset, or that it is private.
    if status == 403 or (status == 401 and not kinds & {"RepositoryNotFoundError", "DatasetNotFoundError"}):
        return EnvironmentProblem(
            f"the hub refuses access to the dataset {name} (status {status})",
            where=name,
            fix=f"if it is gated or private, {accept(name)}. Or name a local file",
        )
    return None


def _response(error: BaseException | None) -> Any:
    """The hub's answer behind an error or what caused it; None where it gave none."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return response
        error = error.__cause__ or error.__context__
    return None


def _unreached(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that the hub was not reached."""
    seen: BaseException | None = error
    while seen is not None:
        if {cls.__name__ for cls in type(seen).__mro__} & UNREACHED:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _listed(text: str) -> str:
    """The names in the list at the end of the library's message: `['train', 'test']` -> "train, test"."""
    found = re.findall(r"\[([^\]]*)\]", text)
    return ", ".join(re.findall(r"['\"]([^'\"]+)['\"]", found[-1])) if found else ""


def _explain(error: Exception, name: str, split: str, revision: str | None = None) -> OpenR1Error:
    """The datasets library's many exceptions as the few things that can be wrong."""
    text = " ".join(str(error).split()) or type(error).__name__
    kinds = {cls.__name__ for cls in type(error).__mro__}
    if "RevisionNotFoundError" in kinds:
        return RecipeError(
            f"the dataset {name} has no revision `{revision}`", where=name, fix="check dataset_revision"
        )
    if "EmptyDatasetError" in kinds or "any data file" in text:
        return RecipeError(
            "the folder holds no data files" if Path(name).is_dir() else "the dataset holds no data files",
            where=name,
            fix=f"put {', '.join(FORMATS)} files there, or name one",
        )
    if "DatasetNotFoundError" in kinds or "RepositoryNotFoundError" in kinds:
        return RecipeError(
            f"no dataset `{name}`: {_first_line(error)}",
            where=name,
            fix="check the spelling, or `hf auth login` if it is private or gated",
        )
    if "Unknown split" in text:
        return RecipeError(
            f"the dataset has no split `{split.partition('[')[0]}`",
            where=name,
            fix=f"it has: {_listed(text)}",
        )
    if "BuilderConfig" in text or "Config name is missing" in text:
        return RecipeError(
            f"the dataset has no such configuration: {_first_line(error)}",
            where=name,
            fix=f"set dataset_config to one of: {_listed(text)}",
        )
    if "Unrecognized instruction format" in text:
        return RecipeError(
            f"`{split}` is no split", where=name, fix="write a split's name, or a slice of it: train[:1000]"
        )
    if isinstance(error, ValueError) or "DatasetGenerationError" in kinds:
        cause = error.__cause__
        why = _first_line(cause) if isinstance(cause, Exception) else _first_line(error)
        return RecipeError(f"the dataset cannot be loaded: {why}", where=name, fix="mend it, or name another")
    return EnvironmentProblem(
        f"the dataset cannot be loaded: {type(error).__name__}: {_first_line(error)}",
        where=name,
        fix=f'python -c "import datasets; datasets.load_dataset({name!r})" shows all of it',
    )
