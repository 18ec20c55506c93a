"""Which section builds on which, and where the results of earlier ones lie."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from openr1.config.catalogue import TRAINING_STAGES
from openr1.config.origins import Origin, Setting
from openr1.config.recipe import Recipe, Section
from openr1.config.resolve import Resolved
from openr1.errors import OpenR1Error, RecipeError, UsageError
from openr1.runs import manifest
from openr1.runs.folder import RunFolder, model_of, runs_root

MODEL = "model_name_or_path"
DATA_SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")
FOLDER_SUFFIXES = (*DATA_SUFFIXES, ".arrow", ".txt", ".gz", ".zst", ".zip")  # more is read from a folder
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def parent_of(recipe: Recipe, section: Section) -> Section | None:
    """The training section whose result this training or generate section starts from; None for the first.

    Raises:
        RecipeError: `from:` names a section that is not there, comes later, or trains nothing.
    """
    earlier = [s for s in recipe.sections[: recipe.sections.index(section)] if s.stage in TRAINING_STAGES]
    named = section.values.get("from")
    if named is None:
        return earlier[-1] if earlier else None
    for candidate in earlier:
        if candidate.name == named.value:
            return candidate
    names = ", ".join(s.name for s in earlier) or "none"
    raise RecipeError(
        f"`from: {named.value}` names no training section before this one",
        where=recipe.place(named.line),
        fix=f"earlier training sections: {names}",
    )


def data_from(recipe: Recipe, section: Section, resolved: Resolved) -> Section | None:
    """The generate section whose export this training section learns from (`dataset_name: {from: NAME}`).

    Raises:
        RecipeError: it names no generate section before this one.
    """
    named = resolved["dataset_name"] if section.stage in TRAINING_STAGES else None
    if not isinstance(named, dict):
        return None
    earlier = [s for s in recipe.sections[: recipe.sections.index(section)] if s.stage == "generate"]
    for candidate in earlier:
        if candidate.name == named["from"]:
            return candidate
    raise RecipeError(
        f"`from: {named['from']}` names no generate section before this one",
        where=resolved.where("dataset_name"),
        fix=f"earlier generate sections: {', '.join(s.name for s in earlier) or 'none'}",
    )


def builds_on(
    recipe: Recipe, section: Section, resolved: Resolved, overrides: Mapping[str, object]
) -> list[Section]:
    """The sections whose results a training or generate section takes: its model's, then its data's."""
    model = None if starts_elsewhere(section, overrides) else parent_of(recipe, section)
    return [found for found in (model, data_from(recipe, section, resolved)) if found is not None]


def starts_elsewhere(section: Section, overrides: Mapping[str, object]) -> bool:
    """True when a person gave this very section its model; a shared model is the first section's."""
    return MODEL in section.values or MODEL in overrides


def start_from(resolved: Resolved, parent: Resolved, run: RunFolder) -> Resolved:
    """The section with its parent's final weights as its model."""
    setting = Setting(str(run.model), Origin("pipeline", f"result of section {parent.name}"))
    return replace(
        resolved,
        settings={**resolved.settings, MODEL: setting},
        parents={**resolved.parents, parent.name: parent.hash},
    )


def learn_from(resolved: Resolved, source: Resolved, run: RunFolder) -> Resolved:
    """The section with the export of a generate section as its dataset."""
    setting = Setting(str(run.path / "dataset"), Origin("pipeline", f"export of section {source.name}"))
    return replace(
        resolved,
        settings={**resolved.settings, "dataset_name": setting},
        parents={**resolved.parents, source.name: source.hash},
    )


def take(resolved: Resolved, source: Resolved, run: RunFolder) -> Resolved:
    """The section with the result of one that it builds on, model or data."""
    taken = learn_from if source.stage == "generate" else start_from
    return taken(resolved, source, run)


def check_exported(resolved: Resolved) -> None:
    """Raises RecipeError when the generate section that this one learns from has exported nothing."""
    origin = resolved.settings["dataset_name"].origin if "dataset_name" in resolved.settings else None
    if origin and origin.kind == "pipeline" and not Path(str(resolved["dataset_name"])).is_dir():
        raise RecipeError(
            f"the {resolved.name} section learns from a generate section that has exported nothing",
            where=str(Path(str(resolved["dataset_name"])).parent),
            fix="its counts say where everything was lost; loosen that rule",
        )


def finished_run(recipe: str, section: str, hash_: str) -> RunFolder | None:
    """A finished run of this section, alone or in a pipeline."""
    root = runs_root()
    alone = root.glob(f"{recipe}-{section}-{hash_}*")
    piped = root.glob(f"{recipe}-*/{section}")
    for path in sorted([*alone, *piped], reverse=True):
        found = manifest.read(path)
        if found and found.get("hash") == hash_ and found["state"] == "finished":
            return RunFolder(path)
    return None


def untrained(recipe: Recipe, parent: Resolved) -> RunFolder:
    """Where the parent's result will lie, for a dry run before it is trained."""
    return RunFolder(runs_root() / f"{recipe.name}-{parent.name}-{parent.hash}")


def need_finished(recipe: Recipe, parent: Resolved, section: Section) -> RunFolder:
    """The parent's finished run.

    Raises:
        UsageError: it is not there; says how to make it.
    """
    run = finished_run(recipe.name, parent.name, parent.hash)
    if run is None and parent.stage == "generate":
        raise UsageError(
            f"the {section.name} section learns from the {parent.name} section, which has not finished",
            where=str(recipe.path),
            fix=f"openr1 generate {recipe.word}   or all at once: openr1 pipeline {recipe.word}",
        )
    if run is None:
        raise UsageError(
            f"the {section.name} section starts from the {parent.name} section's model, "
            "which is not trained yet",
            where=str(recipe.path),
            fix=f"openr1 {parent.stage} {recipe.word}   or all at once: openr1 pipeline {recipe.word}   "
            f"or another start: --{MODEL} MODEL",
        )
    return run


def check_data(resolved: Resolved) -> None:
    """What a training section learns from: one dataset, or a mixture that makes sense.

    Raises:
        RecipeError: neither, both, or one that cannot be meant.
    """
    from openr1.data.mixture import mixture_of

    try:
        mixture = mixture_of(resolved.values)
    except RecipeError as error:
        key = str(error.where or "").partition("[")[0].partition(".")[0]
        if key in resolved.settings:
            error.where = f"{resolved.where(key)}, {error.where}"
        raise
    if mixture is None:
        if not resolved["dataset_name"]:
            raise RecipeError(
                "no dataset is named", where=resolved.recipe, fix="set dataset_name, or --dataset_name"
            )
        if resolved.settings["dataset_name"].origin.kind != "pipeline":  # which may have yet to be made
            check_dataset(resolved["dataset_name"], resolved.where("dataset_name"))
        return
    for part in mixture.parts:
        key = "datasets" if resolved["datasets"] else "dataset_mixture"
        check_dataset(part.name, resolved.where(key))


def check_dataset(name: str | None, where: str) -> None:
    """A dataset that looks like a local file must be there, and a built-in one must exist.

    Raises:
        RecipeError: it is not.
    """
    if not name:
        return
    if name.startswith("builtin:"):
        from openr1.data.tiny_task import parse_task

        with placed(where):
            parse_task(name)
    elif Path(name).exists() or name.startswith((".", "/", "~")) or Path(name).suffix in DATA_SUFFIXES:
        check_data_file(name, where)
    elif not HUB_ID.fullmatch(name):
        raise RecipeError(
            f"no dataset `{name}`: neither a file, nor a name that the hub could have",
            where=where,
            fix="check the path, or give a hub id (owner/name)",
        )


def check_data_file(name: str, where: str) -> None:
    """A local dataset must be a file that is not empty, of a kind that can be read, or a folder of such.

    Raises:
        RecipeError: it is not.
    """
    path = Path(name)
    kinds = ", ".join(DATA_SUFFIXES)
    if not path.exists():
        raise RecipeError(f"no such dataset file: {name}", where=where, fix="check the path")
    if path.is_dir():
        if not any(p.name.endswith(FOLDER_SUFFIXES) or p.suffix == ".py" for p in path.rglob("*")):
            raise RecipeError(
                f"the folder `{name}` holds no data files", where=where, fix=f"name a file: {kinds}"
            )
    elif path.suffix not in DATA_SUFFIXES:
        raise RecipeError(
            f"a dataset file ends in {kinds}, not `{path.suffix or path.name}`: {name}",
            where=where,
            fix="convert it, or rename it to what it is",
        )
    elif path.is_file() and path.stat().st_size == 0:
        raise RecipeError(f"the dataset file {name} is empty", where=where, fix="name a file with rows")


@contextlib.contextmanager
def placed(where: str) -> Iterator[None]:
    """Give an error that knows no place the place of the value it is about."""
    try:
        yield
    except OpenR1Error as error:
        error.where = error.where or where
        raise


def check_model(name: str, where: str) -> str:
    """The model as the children load it; a path that is none is refused here, before anything starts.

    Raises:
        RecipeError: a path that does not exist, or a folder without a model.
        UsageError: an unfinished run.
    """
    if name.startswith("builtin:"):
        from openr1.data.tiny_model import parse_model

        with placed(where):
            parse_model(name)
        return name
    source = model_of(name)
    path = Path(source)
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1 or path.exists()
    if looks_like_path and not path.is_dir():
        raise RecipeError(
            f"no model at `{name}`", where=where, fix="check the path, or give a hub id (owner/name)"
        )
    if path.is_dir() and not (path / "config.json").exists():
        raise RecipeError(
            f"the folder `{name}` holds no model (no config.json)",
            where=where,
            fix="name the folder with the weights",
        )
    if not path.is_dir() and not HUB_ID.fullmatch(name):
        raise RecipeError(
            f"no model `{name}`: neither a folder, nor a name that the hub could have",
            where=where,
            fix="check the path, or give a hub id (owner/name)",
        )
    return source
