"""`openr1 bench`: the published tables, what was measured here beside them, and what the rest would cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from openr1.config.names import keys_of, nearest
from openr1.config.recipe import Recipe, Section
from openr1.config.resolve import resolve
from openr1.errors import ComponentFailed, DoesNotFit, OpenR1Error, RecipeError, UsageError
from openr1.evaluation.compare import results_of
from openr1.evaluation.estimate import estimate, total
from openr1.evaluation.protocol import Conditions, conditions_of, differences
from openr1.evaluation.published import (
    DEEPSEEK,
    LATEST,
    OPEN_R1,
    QUOTED,
    SEED,
    SIZES,
    Published,
    Standing,
    pick,
    published,
    published_standing,
    run_standing,
)
from openr1.evaluation.tasks import TASKS
from openr1.planning.calibration import fingerprint
from openr1.planning.speeds import load as load_speeds
from openr1.runs import manifest
from openr1.runs.folder import runs_root
from openr1.services import evaluate
from openr1.services.hw_profile import the_machine
from openr1.services.request import Asked, Listener

PROTOCOL = "r1-paper"
"""What DeepSeek's column was taken with; `--protocol` says otherwise."""
ORGANISATION = "deepseek-ai"
PREFIX = "bench"


@dataclass(frozen=True)
class Ours:
    """One score of ours, and the run that holds it."""

    run: str
    score: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        kept = ("accuracy", "interval", "other_run", "problems", "samples", "protocol", "truncated")
        return {"run": self.run, **{key: self.score.get(key) for key in kept}}


@dataclass(frozen=True)
class Cell:
    """One model on one benchmark.

    Args:
        ours: what was measured here.
        seed, latest: open-r1's of 2025-02-06 and the latest.
        deepseek: DeepSeek's.
        against: whose score the standing compares with DeepSeek's, "ours" or "open-r1".
        cost: what running it here would take; None where it is there in the way asked for, or cannot be run.
    """

    model: str
    benchmark: str
    ours: Ours | None
    seed: Published | None
    latest: Published | None
    deepseek: Published | None
    against: str | None = None
    standing: Standing | None = None
    cost: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "benchmark": self.benchmark,
            "ours": self.ours.as_dict() if self.ours else None,
            "seed": self.seed.score if self.seed else None,
            "latest": self.latest.score if self.latest else None,
            "deepseek": self.deepseek.score if self.deepseek else None,
            "against": self.against,
            "standing": asdict(self.standing) if self.standing else None,
            "cost": self.cost,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Bench:
    """The table asked for; `rows` are the published numbers in it."""

    rows: list[Published]
    cells: list[Cell]
    protocol: str
    machine: str
    asked: Asked = field(default_factory=Asked)
    places: Mapping[str, str] = field(default_factory=dict)
    """Where weights are, by the published name; the others are on the hub."""

    @property
    def missing(self) -> list[Cell]:
        """What could be run here and has not been, in this way."""
        return [cell for cell in self.cells if cell.cost is not None]

    @property
    def without_a_task(self) -> list[str]:
        """Benchmarks whose published numbers are here, and no task of openr1's that would measure them."""
        return list(dict.fromkeys(cell.benchmark for cell in self.cells if cell.benchmark not in TASKS))

    def as_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "machine": self.machine,
            "cells": [cell.as_dict() for cell in self.cells],
            "to_run": total([cell.cost for cell in self.missing if cell.cost]),
            "published": [asdict(row) for row in self.rows],
        }


def bench(
    asked: Asked,
    *,
    models: str | None = None,
    benchmarks: str | None = None,
    runs: Sequence[str] = (),
    weights: Sequence[str] = (),
) -> Bench:
    """The published table with ours beside it, limited to models (by parts of their names) and benchmarks.

    Args:
        asked: keys of an eval section for what would be run, and the machine.
        runs: take ours from these runs only; else from all under runs/.
        weights: `NAME=PATH`, where a model's weights are.

    Raises:
        UsageError: a name that matches nothing; says the nearest.
    """
    everything = published()
    rows = _only(everything, "benchmark", benchmarks, exact=True)
    rows = _only(rows, "model", models, exact=False)
    machine = the_machine(asked.simulate, asked.profile)
    values = _values(asked)
    places = _places(weights, everything)
    ours = _ours(runs, places)
    engines = asked.gpus or max(1, len(machine.gpus))
    speeds = load_speeds(fingerprint(machine))
    cells = []
    names = dict.fromkeys(row.model for row in rows)
    for model in names:
        for benchmark in dict.fromkeys(row.benchmark for row in rows):
            cell = _cell(everything, model, benchmark, ours, values["protocol"])
            if benchmark in TASKS:
                conditions = conditions_of(TASKS[benchmark], values)
                count = min(SIZES[benchmark], values["limit"] or SIZES[benchmark])
                if not any(_is_it(one.score, conditions, values) for one in ours.get((model, benchmark), [])):
                    place = places.get(model, f"{ORGANISATION}/{model}")
                    cost = estimate(conditions, count, place, machine, engines, speeds)
                    cell = replace(cell, cost=cost.as_dict())
            cells.append(cell)
    return Bench(rows, cells, values["protocol"], str(machine.profile.value), asked, places)


def run_missing(
    asked: Asked,
    listen: Listener,
    *,
    models: str | None = None,
    benchmarks: str | None = None,
    weights: Sequence[str] = (),
) -> Bench:
    """Run what is missing, one evaluation after the other; one that fails does not end the others.

    Raises:
        UsageError: the machine is a simulated one.
        ComponentFailed: some failed; all others are done, and the same command continues.
    """
    if asked.simulate:
        raise UsageError(
            f"{asked.simulate} is simulated: nothing can run on it",
            where="--simulate",
            fix="openr1 bench --list shows what it would take there; or leave --simulate out",
        )
    before = bench(asked, models=models, benchmarks=benchmarks, weights=weights)
    failed = []
    for cell in before.missing:
        try:
            if cell.cost and cell.cost["too_large"]:
                raise too_large(cell.model, cell.cost["too_large"])
            evaluate.run([cell.benchmark], _asked_for(cell, before), listen)
        except OpenR1Error as error:
            if error.code == 130:
                raise
            failed.append(f"{cell.model} on {cell.benchmark}: {error.what}")
    after = bench(asked, models=models, benchmarks=benchmarks, weights=weights)
    if failed:
        raise ComponentFailed(
            f"{len(failed)} of {len(before.missing)} evaluations failed: {'; '.join(failed)}",
            fix="the others are kept; mend it and give the same command again",
        )
    return after


def jobs(found: Bench) -> list[dict[str, Any]]:
    """What `--run` would start, by name."""
    return [
        {
            "name": run_name(c.model, c.benchmark, found.protocol, found.asked.overrides),
            "model": c.model,
            "words": _words(c, found),
            **(c.cost or {}),
        }
        for c in found.missing
    ]


def run_name(model: str, benchmark: str, protocol: str, overrides: Mapping[str, tuple[Any, str]]) -> str:
    """The run's folder, by which its score is found again: `bench_math_500_MODEL_r1-paper`.

    What was set otherwise than the protocol says stands behind it as four hex digits.
    """
    changed = {
        key: text for key, (_, text) in sorted(overrides.items()) if key not in ("protocol", "threads")
    }
    mark = hashlib.sha256(json.dumps(changed).encode()).hexdigest()[:4] if changed else ""
    return "_".join(filter(None, [PREFIX, benchmark.replace(":", "-"), model, protocol, mark]))


def _asked_for(cell: Cell, found: Bench) -> Asked:
    asked = found.asked
    name = run_name(cell.model, cell.benchmark, found.protocol, asked.overrides)
    place = found.places.get(cell.model, f"{ORGANISATION}/{cell.model}")
    given: dict[str, tuple[Any, str]] = {
        "protocol": (found.protocol, found.protocol),
        "model_name_or_path": (place, place),
        "run_name": (name, name),
    }
    return replace(asked, recipe=None, overrides={**given, **asked.overrides})


def _words(cell: Cell, found: Bench) -> list[str]:
    """The evaluation of a cell as a command line, without `openr1`."""
    asked = _asked_for(cell, found)
    words = ["eval", cell.benchmark, *(f"--{key}={text}" for key, (_, text) in asked.overrides.items())]
    words += ["--gpus", str(asked.gpus)] if asked.gpus else []
    return [*words, "--profile", asked.profile] if asked.profile else words


def too_large(model: str, why: str) -> DoesNotFit:
    """The refusal of a model whose weights a machine cannot hold."""
    return DoesNotFit(
        f"{model} cannot run here: {why}", fix="leave it out with --models, or take a larger machine"
    )


def _is_it(score: Mapping[str, Any], asked: Conditions, values: Mapping[str, Any]) -> bool:
    """Whether a score was taken in the way asked for; a model's short context may have lowered the length."""
    had = score["conditions"]
    length = min(asked.max_new_tokens, had["max_new_tokens"])
    few = values["limit"] is not None or values.get("dataset")
    whole = few or score["problems"] == SIZES[score["task"]]
    same = had["max_new_tokens"] == asked.max_new_tokens or score.get("asked_tokens") == asked.max_new_tokens
    return bool(whole and same and not differences(had, asked.as_dict(length)))


def _values(asked: Asked) -> dict[str, Any]:
    """The eval keys given, checked, over those of the benchmark's protocol."""
    unknown = [key for key in asked.overrides if key not in keys_of("eval")]
    section = Section("bench", "eval", {}, 0)
    if unknown or asked.overrides:
        resolved = resolve(Recipe("bench", None, {}, (section,)), section, overrides=asked.overrides)
        values = {key: resolved[key] for key in resolved.settings}
    else:
        values = {"protocol": None, "limit": None}
    return values | {"protocol": values["protocol"] or PROTOCOL}


def _cell(
    rows: list[Published],
    model: str,
    benchmark: str,
    ours: Mapping[tuple[str, str], list[Ours]],
    protocol: str,
) -> Cell:
    seed = pick(rows, model, benchmark, OPEN_R1, SEED)
    latest = pick(rows, model, benchmark, OPEN_R1, LATEST)
    deepseek = pick(rows, model, benchmark, DEEPSEEK)
    quoted = pick(rows, model, benchmark, QUOTED)
    found = ours.get((model, benchmark), [])
    alike = [one for one in found if one.score["protocol"].startswith(f"{protocol}-v")]
    best = (alike or found)[-1] if found else None
    notes = [f"{row.source} {row.date[:7]} prints {row.score}: {row.note}"
             for row in (seed, latest, deepseek, quoted) if row and row.note]  # fmt: skip
    against, standing = None, None
    if deepseek and best:
        against, standing = "ours", run_standing(best.score, deepseek)
    elif deepseek and (latest or seed):
        other = latest or seed
        assert other
        against, standing = "open-r1", published_standing(other, deepseek)
    return Cell(model, benchmark, best, seed, latest, deepseek, against, standing, None, tuple(notes))


def _ours(runs: Sequence[str], places: Mapping[str, str]) -> dict[tuple[str, str], list[Ours]]:
    """Scores of finished evaluations by (model, benchmark), oldest first."""
    names = {row.model for row in published()}
    found: dict[tuple[str, str], list[Ours]] = {}
    for folder in _folders(runs):
        if (manifest.read(folder) or {}).get("state") != "finished":
            continue
        for score in results_of(folder):
            model = _model_of(score, folder, names, places)
            if model and score["task"] in SIZES and "metrics" not in score:
                found.setdefault((model, score["task"]), []).append(Ours(str(folder), score))
    return found


def _folders(runs: Sequence[str]) -> list[Path]:
    """Run folders with results; those named, or all under runs/, in the order they were finished."""
    if runs:
        chosen = []
        for name in runs:
            path = next((p for p in (Path(name), runs_root() / name) if p.is_dir()), None)
            if path is None:
                raise UsageError(f"no run `{name}`", where="--from", fix="openr1 runs ls shows what is there")
            chosen += (
                [path]
                if (path / "results.json").exists()
                else [p.parent for p in path.glob("*/results.json")]
            )
        return chosen
    root = runs_root()
    files = [*root.glob("*/results.json"), *root.glob("*/*/results.json")]
    return [file.parent for file in sorted(files, key=lambda file: file.stat().st_mtime)]


def _model_of(
    score: Mapping[str, Any], folder: Path, names: set[str], places: Mapping[str, str]
) -> str | None:
    """The published model that a score is of: by hub id, by folder name, or by the name of a bench run."""
    if folder.name.startswith(f"{PREFIX}_"):
        return max((n for n in names if f"_{n}_" in folder.name), key=len, default=None)
    for name, place in places.items():
        if score["path"] == place:
            return name
    tail = str(score["path"]).rstrip("/").rpartition("/")[2]
    return tail if tail in names else None


def _places(weights: Sequence[str], rows: Sequence[Published]) -> dict[str, str]:
    """`NAME=PATH` by the published name.

    Raises:
        UsageError: not of that form, or a name that is none or several models.
    """
    names = sorted({row.model for row in rows})
    places = {}
    for pair in weights:
        word, equals, path = pair.partition("=")
        found = [n for n in names if word.lower() in n.lower()] if word else []
        exact = [n for n in names if n.lower() == word.lower()]
        if not equals or not path or len(exact or found) != 1:
            raise UsageError(
                f"`{pair}` names no one model and its weights",
                where="--weights",
                fix=f"--weights NAME=PATH; names: {', '.join(names)}",
            )
        places[(exact or found)[0]] = path
    return places


def _only(rows: list[Published], field_name: str, wanted: str | None, *, exact: bool) -> list[Published]:
    if wanted is None:
        return rows
    have = sorted({str(getattr(row, field_name)) for row in rows})
    kept: set[str] = set()
    for word in (w.strip() for w in wanted.split(",") if w.strip()):
        found = [n for n in have if n.lower() == word.lower()]  # a whole name is that one alone
        if not (found or exact):
            found = [n for n in have if word.lower() in n.lower()]
        if not found:
            near = nearest(word, have)
            raise UsageError(
                f"no {field_name} `{word}` in the published tables",
                fix=f"did you mean {near}?" if near else f"there are: {', '.join(have)}",
            )
        kept.update(found)
    return [row for row in rows if getattr(row, field_name) in kept]


def speed(asked: Asked, model: str | None, listen: Listener) -> dict[str, Any]:
    """Measure sampling and training of a model's shape on this machine, by doing a little of both.

    The figures go where estimates are made from: `planning.speeds`, and the planner's store of step times.

    Raises:
        OpenR1Error: whatever ended one of the two.
    """
    from openr1.services.speed import measure

    if asked.overrides:
        key = next(iter(asked.overrides))
        raise RecipeError(f"`--{key}` says nothing to --speed", where=f"--{key}", fix="--speed --model MODEL")
    return measure(asked, model, listen)
