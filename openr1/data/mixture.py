"""Several datasets as one: what a recipe says about them, checked. Pure, so that a dry run refuses nonsense.

Two spellings, with two meanings of the share:

    dataset_mixture:               # open-r1's: a weight is the share of that dataset's rows that is taken
      datasets: [{id, config, split, columns, weight}]
      seed: 0                      # shuffles each dataset before its rows are taken, and the whole
      test_split_size: 0.1
    datasets:                      # TRL's: fractions are shares of the mixture; as many rows as they allow
      - {path, name, split, columns, fraction}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from openr1.errors import RecipeError

# Both spellings of an entry's keys, and what they are called here.
KEYS = {
    "id": "name",
    "path": "name",
    "config": "config",
    "name": "config",
    "split": "split",
    "columns": "columns",
    "weight": "weight",
    "fraction": "fraction",
    "revision": "revision",
    "data_dir": "data_dir",
    "data_files": "data_files",
}
MIXTURE_KEYS = ("datasets", "seed", "test_split_size")


@dataclass(frozen=True)
class Part:
    """One dataset of a mixture."""

    name: str
    config: str | None = None
    split: str = "train"
    columns: tuple[str, ...] | None = None
    weight: float | None = None
    fraction: float | None = None
    revision: str | None = None
    data_dir: str | None = None
    data_files: Any = None


@dataclass(frozen=True)
class Mixture:
    """The datasets of a section, and how they are mixed."""

    parts: tuple[Part, ...]
    shuffles: bool  # open-r1 shuffles each dataset and the whole; TRL nothing
    seed: int = 0
    test_size: float | int | None = None


def mixture_of(values: Mapping[str, Any]) -> Mixture | None:
    """The section's mixture; None when it names one dataset.

    Raises:
        RecipeError: a mixture that cannot be meant; `where` names the key and the entry.
    """
    ours, theirs = values.get("dataset_mixture"), values.get("datasets")
    named = [k for k in ("dataset_name", "dataset_mixture", "datasets") if values.get(k)]
    if not (ours or theirs):
        return None
    if len(named) > 1:
        raise RecipeError(
            f"{' and '.join(named)} both name what to train on", where=named[0], fix="keep one of them"
        )
    if theirs:
        parts = _parts(theirs, "datasets", weights=False)
        return Mixture(parts, False, test_size=_test_size(values.get("test_split_size"), "test_split_size"))
    assert isinstance(ours, Mapping)
    for key in ours:
        if key not in MIXTURE_KEYS:
            raise _unknown(str(key), MIXTURE_KEYS, "dataset_mixture")
    seed = ours.get("seed") or 0
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise RecipeError(
            f"seed must be a whole number from 0, not {seed!r}", where="dataset_mixture.seed", fix="seed: 0"
        )
    size = _test_size(ours.get("test_split_size"), "dataset_mixture.test_split_size")
    size = size if size is not None else _test_size(values.get("test_split_size"), "test_split_size")
    return Mixture(_parts(ours.get("datasets"), "dataset_mixture.datasets", weights=True), True, seed, size)


def _parts(given: Any, key: str, weights: bool) -> tuple[Part, ...]:
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise RecipeError("a mixture needs a list of datasets", where=key, fix=f"{key}: [{{id: OWNER/NAME}}]")
    parts = tuple(_part(entry, f"{key}[{number}]", weights) for number, entry in enumerate(given, 1))
    shares = [p.fraction for p in parts]
    if any(s is not None for s in shares) and any(s is None for s in shares):
        raise RecipeError(
            "some datasets of the mixture have a fraction and others none", where=key, fix="give all or none"
        )
    total = sum(s for s in shares if s is not None)
    if shares[0] is not None and not total > 0:
        raise RecipeError(f"the fractions sum to {total:g}", where=key, fix="give at least one above 0")
    declared = [p for p in parts if p.columns is not None]
    for part in declared[1:]:
        if set(part.columns or ()) != set(declared[0].columns or ()):
            raise RecipeError(
                f"the columns of the mixture differ: {declared[0].name} has {_list(declared[0].columns)}, "
                f"{part.name} has {_list(part.columns)}",
                where=f"{key}[{parts.index(part) + 1}].columns",
                fix="give every dataset the same columns, or none: they are then found by name",
            )
    return parts


def _part(entry: Any, where: str, weights: bool) -> Part:
    if isinstance(entry, str):
        entry = {"id": entry}
    if not isinstance(entry, Mapping):
        raise RecipeError(
            f"a dataset of a mixture is a map, not {entry!r}", where=where, fix="{id: OWNER/NAME}"
        )
    found: dict[str, Any] = {}
    for key, value in entry.items():
        meant = KEYS.get(str(key))
        # `name` is the configuration in TRL's spelling; beside no `path` or `id` it can only be the dataset.
        if key == "name" and not {"id", "path"} & set(entry):
            meant = "name"
        if meant is None:
            raise _unknown(str(key), tuple(KEYS), where)
        found[meant] = value
    if not isinstance(found.get("name"), str):
        raise RecipeError(
            "a dataset of the mixture has no id", where=where, fix="add `id: OWNER/NAME` or a file"
        )
    if "weight" in found and "fraction" in found:
        raise RecipeError("weight and fraction are both given", where=where, fix="keep one of them")
    other, mine = ("fraction", "weight") if weights else ("weight", "fraction")
    if found.get(other) is not None:
        key = "datasets" if weights else "dataset_mixture"
        raise RecipeError(f"`{other}` belongs to `{key}`", where=where, fix=f"here it is `{mine}`")
    columns = found.get("columns")
    if columns is not None and (
        not isinstance(columns, Sequence)
        or isinstance(columns, str)
        or not all(isinstance(c, str) for c in columns)
    ):
        raise RecipeError("columns must be a list of names", where=f"{where}.columns")
    found["columns"] = tuple(columns) if columns else None
    if weights and "weight" not in found:
        found["weight"] = 1.0  # as upstream; an explicit null takes the rows in their order
    found["weight"] = _share(found.get("weight"), f"{where}.weight", most=1.0)
    found["fraction"] = _share(found.get("fraction"), f"{where}.fraction", most=math.inf)
    found["split"] = found.get("split") or "train"
    return Part(**found)


def _share(value: Any, where: str, most: float) -> float | None:
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    least_ok = number and (value > 0 if most == 1.0 else value >= 0)
    if not (least_ok and value <= most):
        what = (
            "the share of the dataset's rows that is taken: above 0, at most 1"
            if most == 1.0
            else "0 or more"
        )
        key = where.rpartition(".")[2]
        raise RecipeError(
            f"a {key} must be {what}; here is {value!r}",
            where=where,
            fix=f"{key}: 0.5 takes half of the rows" if most == 1.0 else f"{key}: 1",
        )
    return float(value)


def _test_size(value: Any, where: str) -> float | int | None:
    """Rows (from 1) or a share (below 1) that is held out."""
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value <= 0 or (value > 1 and value != int(value)):
        raise RecipeError(
            f"a held-out part is a number of rows, or a share between 0 and 1; here is {value!r}",
            where=where,
            fix="100, or 0.05",
        )
    return float(value) if value < 1 else int(value)


def _unknown(key: str, known: Sequence[str], where: str) -> RecipeError:
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(dict.fromkeys(known))}"
    return RecipeError(f"unknown key `{key}`", where=where, fix=hint)


def _list(columns: Sequence[str] | None) -> str:
    return ", ".join(columns or ())


def rows_taken(sizes: Sequence[int], mixture: Mixture) -> list[int]:
    """How many rows of each dataset go into the mixture.

    Weights: int(size x weight), as open-r1. Fractions, as TRL: shares of the largest mixture in which no
    dataset gives more rows than it has.

    Raises:
        RecipeError: a weight leaves a dataset no row.
    """
    if mixture.parts[0].fraction is not None:
        fractions = [part.fraction or 0.0 for part in mixture.parts]
        shares = [fraction / sum(fractions) for fraction in fractions]
        total = min(size / share for size, share in zip(sizes, shares, strict=True) if share > 0)
        return [round(share * total) for share in shares]
    taken = []
    for size, part in zip(sizes, mixture.parts, strict=True):
        count = size if part.weight is None else int(size * part.weight)
        if count == 0:
            raise RecipeError(
                f"a weight of {part.weight:g} leaves none of the {size:,} rows",
                where=part.name,
                fix="raise it",
            )
        taken.append(count)
    return taken
