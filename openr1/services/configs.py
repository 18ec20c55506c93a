"""`openr1 configs`: the recipes that come with openr1, and what a key means. Reads files, starts nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openr1.config.bounds import bounds_in_words
from openr1.config.catalogue import describe, fields_of, made_from
from openr1.config.checked import defaults_of
from openr1.config.header import Header, header_of
from openr1.config.names import RENAMED, all_keys, explain_unknown, keys_of, nearest
from openr1.config.own_types import own_types
from openr1.config.recipe import Recipe, Section, find, flat_stage, parse, shipped
from openr1.config.resolve import Resolved, resolve
from openr1.config.schema import STAGES, own_fields
from openr1.config.units import UNITS
from openr1.config.yaml_file import plain, read_text
from openr1.errors import OpenR1Error, UsageError
from openr1.hardware import Machine
from openr1.planning import PlanDoesNotFit, plan
from openr1.planning.calibration import load
from openr1.planning.context import capacity_bytes
from openr1.planning.find_shape import find_shape
from openr1.services.migrate import migrate

BUILTIN = "builtin:"
TINY = "made on the spot, far below 1 GiB"


@dataclass(frozen=True)
class Fit:
    """Whether one section can run on a machine: yes, no, or not known (None), and why in words."""

    section: str
    stage: str
    fits: bool | None
    words: str


@dataclass(frozen=True)
class Entry:
    """One recipe of the list."""

    name: str
    path: Path
    header: Header
    model: str | None
    fits: tuple[Fit, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "name": self.name,
            "path": str(self.path),
            **self.header.__dict__,
            "model": self.model,
            "sections": [fit.__dict__ for fit in self.fits],
        }


def list_recipes(machine: Machine) -> list[Entry]:
    """Every shipped recipe, with what it needs and whether it fits this machine; what needs least first."""
    entries = [_entry(name, path, machine) for name, path in shipped().items()]
    return sorted(entries, key=lambda entry: (entry.header.gpu_gb, entry.name))


def _entry(name: str, path: Path, machine: Machine) -> Entry:
    recipe = _parsed(path)
    resolved = [resolve(recipe, section) for section in recipe.sections]
    models = (one.values.get("model_name_or_path") for one in resolved)
    model = next((str(m) for m in models if m), None)
    return Entry(name, path, header_of(path), model, tuple(_fit(one, machine) for one in resolved))


def _parsed(path: Path) -> Recipe:
    return parse(path, flat_stage(path) or "pipeline")


def _fit(resolved: Resolved, machine: Machine) -> Fit:
    if resolved.stage in ("sft", "grpo"):
        return _training_fit(resolved, machine)
    return _sampling_fit(resolved, machine)


def _training_fit(resolved: Resolved, machine: Machine) -> Fit:
    name, stage = resolved.name, resolved.stage
    if str(resolved["model_name_or_path"]).startswith(BUILTIN):
        return Fit(name, stage, True, TINY)
    try:
        made = plan(stage, resolved.values, machine, explicit=resolved.explicit, calibration=load())
    except PlanDoesNotFit as refused:
        return Fit(name, stage, False, _too_large(refused))
    except OpenR1Error as error:
        return Fit(name, stage, False, error.what)
    if made.fits is None or made.peak is None:
        return Fit(name, stage, None, made.memory_reason)
    phase, peak = made.peak
    return Fit(name, stage, True, f"{peak / 2**30:.1f} GiB at most ({phase}), {made.processes_reason}")


def _too_large(refused: PlanDoesNotFit) -> str:
    """The leanest way's peak against what there is; `hw-profile --for` has the bytes by cause."""
    peak = max((sum(terms.values()) for terms in (refused.memory or {}).values()), default=0)
    if not peak or not refused.capacity_bytes:
        return refused.what
    return f"{peak / 2**30:.1f} GiB at least, {refused.capacity_bytes / 2**30:.1f} may be used"


def _sampling_fit(resolved: Resolved, machine: Machine) -> Fit:
    """Weights in the format they are served in against all the memory there is; the cache comes on top."""
    name, stage = resolved.name, resolved.stage
    model, capacity = resolved.values.get("model_name_or_path"), capacity_bytes(machine)
    if not model:
        return Fit(name, stage, None, "takes the model it is given")
    if str(model).startswith(BUILTIN):
        return Fit(name, stage, True, TINY)
    shape = find_shape(str(model))
    if shape.value is None or capacity is None:
        return Fit(name, stage, None, shape.reason if shape.value is None else "the memory here is not known")
    wanted = shape.value.served_bytes if machine.gpus else 4 * shape.value.params
    cards = max(1, len(machine.gpus)) * ((machine.nodes.value or 1) if machine.gpus else 1)
    there = capacity[0] * cards
    words = f"weights {wanted / 2**30:.1f} GiB, {there / 2**30:.1f} may be used"
    return Fit(name, stage, wanted < there, words)


def read_recipe(name: str) -> tuple[Path, str]:
    """A recipe's file and text.

    Raises:
        RecipeError: there is no such recipe, or it cannot be read.
    """
    path = find(name)
    return path, read_text(path)


def copy_recipe(name: str, target: str | None, *, force: bool = False) -> Path:
    """Copy a recipe into a file of one's own.

    Args:
        target: a file or a folder; the current folder when not given.

    Returns:
        The new file.

    Raises:
        RecipeError: there is no such recipe.
        UsageError: the target exists already and `force` is not set, or is no .yaml file.
    """
    path, text = read_recipe(name)
    new = target_of(path, target or ".")
    write_recipe(new, text, force=force)
    return new


def target_of(path: Path, target: str) -> Path:
    """The new file that a person means by a file's or a folder's name.

    Raises:
        UsageError: it is no .yaml file.
    """
    new = Path(target)
    if new.is_dir() or target.endswith(("/", os.sep)):
        return new / path.name
    if new.suffix not in (".yaml", ".yml"):
        raise UsageError(
            f"a recipe is a .yaml file, `{new}` is none", where="the target", fix=f"name it {new}.yaml"
        )
    return new


def migrated(name: str) -> tuple[Path, str]:
    """An old file, and its text in today's form.

    Raises:
        RecipeError: it is no recipe.
        UsageError: it has sections already.
    """
    path = find(name)
    return path, migrate(path)


def write_recipe(new: Path, text: str, *, force: bool) -> None:
    """Write a recipe's text, never over another file unless `force` is set.

    Raises:
        UsageError: the file exists, or cannot be written.
    """
    if new.exists() and not force:
        raise UsageError(f"{new} exists already", where=str(new), fix="name another file, or add --force")
    part = new.with_name(f".{new.name}.part")
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(new)
    except OSError as error:
        raise UsageError(
            f"the recipe cannot be written: {error.strerror}", where=str(new), fix="name another file"
        ) from error


@dataclass(frozen=True)
class Place:
    """Where a recipe sets a key."""

    where: str
    section: str
    value: Any


@dataclass(frozen=True)
class Meaning:
    """One key in one stage."""

    key: str
    stages: tuple[str, ...]
    owner: str
    """openr1, or TRL with its version."""
    type: str
    choices: tuple[Any, ...] | None
    default: Any
    default_reason: str
    help: str
    unit: str | None


@dataclass(frozen=True)
class Explained:
    """A key: its meanings (stages that agree share one), and where it is set."""

    key: str
    meanings: tuple[Meaning, ...]
    places: tuple[Place, ...] = field(default=())
    now: tuple[Place, ...] = ()
    """The value in effect in each section of the recipe asked about, and its origin."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "key": self.key,
            "meanings": [m.__dict__ for m in self.meanings],
            "set_in": [p.__dict__ for p in self.places],
            "in_effect": [p.__dict__ for p in self.now],
        }


def explain(key: str, recipe: str | None = None) -> Explained:
    """What a key means, and where it is set: in a recipe, or in the shipped ones when none is named.

    Raises:
        UsageError: no stage has such a key; names the nearest.
        RecipeError: the recipe is refused.
    """
    key = key.removeprefix("--").replace("-", "_")
    stages = [stage for stage in STAGES if key in keys_of(stage)]
    if not stages:
        raise UsageError(f"no key is called `{key}`", where="configs explain", fix=_meant(key))
    by_meaning: dict[tuple[Any, ...], list[str]] = {}
    for stage in stages:
        by_meaning.setdefault(_meaning(key, stage), []).append(stage)
    meanings = tuple(Meaning(key, tuple(found), *parts) for parts, found in by_meaning.items())
    files = [find(recipe)] if recipe else list(shipped().values())
    recipes = [_parsed(path) for path in files]
    places = tuple(place for one in recipes for place in _places(one, key))
    now = _in_effect(recipes[0], key) if recipe else ()
    return Explained(key, meanings, places, now)


def _meant(key: str) -> str:
    near = nearest(key, all_keys())
    if key in RENAMED or near:
        return explain_unknown(key, None)
    return "openr1 sft RECIPE --all-values lists the keys of a stage with their values"


def _meaning(key: str, stage: str) -> tuple[Any, ...]:
    """Owner, type, choices, default, why that default, help, unit; hashable, so that stages compare."""
    setting = defaults_of(stage)[key]
    default = setting.value
    shown = tuple(default) if isinstance(default, list) else default
    why = str(setting.origin).removeprefix("default: ")
    own = own_fields(stage)
    if key in own:
        return "openr1", own_types(stage)[key], None, shown, why, own[key], UNITS.get(key)
    known = fields_of(stage)[key]
    owner = f"TRL {made_from()['trl']}"
    bounds = bounds_in_words(key)
    kind = describe(known.kinds)
    if bounds:
        kind = kind.replace("number", f"number ({bounds})", 1)
    return owner, kind, known.choices, shown, why, known.help, UNITS.get(key)


def _places(recipe: Recipe, key: str) -> list[Place]:
    found = []
    if key in recipe.shared:
        loaded = recipe.shared[key]
        found.append(Place(recipe.place(loaded.line), "all sections", plain(loaded)))
    for section in recipe.sections:
        if key in section.values:
            loaded = section.values[key]
            found.append(Place(recipe.place(loaded.line), section.name, plain(loaded)))
    return found


def _in_effect(recipe: Recipe, key: str) -> tuple[Place, ...]:
    def one(section: Section) -> Place:
        setting = resolve(recipe, section).settings[key]
        return Place(str(setting.origin), section.name, setting.value)

    return tuple(one(section) for section in recipe.sections if key in keys_of(section.stage))
