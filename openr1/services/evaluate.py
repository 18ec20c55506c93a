"""`openr1 eval`: one or several models on one or several tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openr1.config.catalogue import TRAINING_STAGES
from openr1.config.names import keys_of
from openr1.config.recipe import Recipe, Section, shipped
from openr1.config.resolve import Resolved, resolve
from openr1.errors import RecipeError, UsageError
from openr1.evaluation.estimate import Estimate, estimate
from openr1.evaluation.local_data import count_rows, file_for
from openr1.evaluation.protocol import PROTOCOLS, conditions_of, default_protocol
from openr1.evaluation.tasks import BUILTIN_PROBLEMS, LIGHTEVAL, Task, task_named
from openr1.hardware import Machine
from openr1.hardware.facts import Finding
from openr1.launch import supervise
from openr1.launch.command import module
from openr1.planning.calibration import fingerprint
from openr1.planning.speeds import Speed, record
from openr1.planning.speeds import load as load_speeds
from openr1.runs.folder import RunFolder, locked, runs_root
from openr1.sampling.weights import weights_signature
from openr1.services.engines import engines_of, sampling_plan
from openr1.services.hw_profile import the_machine
from openr1.services.lineage import MODEL, check_data_file, check_model, finished_run, placed
from openr1.services.prepare import Prepared, locate_run, prepare_section, resolved_chain
from openr1.services.recipes import overrides_for, recipe_for, section_of
from openr1.services.request import TO_COME, Asked, Listener
from openr1.services.stage import Outcome, execute

ENOUGH_TOKENS = 2_000
"""Fewer say little about speed."""
DEFAULT_MODEL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
WEIGHTS = "weights"
"""Among a run's parents: the signature of local weights, whatever their path is called."""


@dataclass(frozen=True)
class EvalModel:
    """A model under evaluation: its name in the table, and where its weights are.

    `to_come`: it is yet to be trained, and a dry run plans with the model at `path` in its place.
    """

    label: str
    path: str
    to_come: bool = False

    def as_dict(self) -> dict[str, str]:
        return {"label": self.label, "path": self.path}


def prepare(words: Sequence[str], asked: Asked, said: Sequence[str] = ()) -> Prepared:
    """What `openr1 eval WORDS…` would do; nothing is written.

    Args:
        words: task names, or one recipe.
        said: notices about the command line itself.
    """
    machine = the_machine(asked.simulate, asked.profile)
    recipe, section = _recipe(words, asked, machine)
    if words and recipe.path is None:
        asked = replace(asked, overrides={**asked.overrides, "tasks": (list(words), " ".join(words))})
    overrides = overrides_for(section, asked.overrides, keys_of("eval"), strict=True)
    resolved = resolve(recipe, section, overrides=overrides)
    resolved = with_default_protocol(resolved, machine)
    if not (resolved[MODEL] or resolved["server"] or _trained(recipe)):
        resolved = resolved.with_values("default", {MODEL: (DEFAULT_MODEL, "openr1: no model is named")})
    models, parents = _models(recipe, section, resolved, asked)
    resolved = replace(resolved, parents=parents)
    run = locate_run(recipe, resolved, asked)
    prepared = prepare_eval(resolved, models, run, machine, asked)
    if TO_COME in prepared.plan:
        to_come = ", ".join(prepared.plan[TO_COME])
        said = (*said, f"not trained yet: {to_come}; planned with the model that the recipe starts from")
    return replace(prepared, notices=(*said, *prepared.notices))


def run(words: Sequence[str], asked: Asked, listen: Listener) -> Outcome:
    """Evaluate, or continue, or show what has finished."""
    return execute(prepare(words, asked), listen)


def with_default_protocol(resolved: Resolved, machine: Machine) -> Resolved:
    """An eval section with the protocol of the machine's profile, where none was named.

    It is part of what the run is called: another machine's default asks other questions.
    """
    if resolved.settings["protocol"].origin.kind == "profile":  # chosen before, perhaps elsewhere
        return resolved
    return resolved.with_values("profile", {"protocol": default_protocol(str(machine.profile.value))})


def with_protocol(resolved: Resolved, machine: Machine) -> Resolved:
    """An eval section with its protocol chosen, and the protocol's values where nobody set others."""
    resolved = with_default_protocol(resolved, machine)
    base = PROTOCOLS[resolved["protocol"]]
    from_it = f"protocol {base.name}"
    values = {
        key: (getattr(base, key), from_it) for key in ("temperature", "top_p", "max_new_tokens", "prefill")
    }
    tasks = [task_named(name) for name in resolved["tasks"]]
    counts = {base.samples_of(task.name) for task in tasks}
    if len(counts) == 1:
        values["num_samples"] = (counts.pop(), from_it)
    return resolved.with_values("default", values)


def prepare_eval(
    resolved: Resolved, models: Sequence[EvalModel], run: Any, machine: Machine, asked: Asked
) -> Prepared:
    """Check tasks and files of a resolved eval section and prepare it.

    Raises:
        UsageError: no task, or an unknown one.
        RecipeError: the local file is not there, or what was asked for cannot work on this machine.
    """
    if not resolved["tasks"]:
        raise UsageError("no task is named", fix="openr1 eval math_500")
    tasks = []
    for name in resolved["tasks"]:
        with placed(resolved.where("tasks")):
            tasks.append(task_named(name))
    if len({task.name for task in tasks}) < len(tasks):
        raise UsageError(
            f"a task is named twice: {' '.join(resolved['tasks'])}",
            where=resolved.where("tasks"),
            fix="keep one",
        )
    if resolved["dataset"]:
        check_data_file(resolved["dataset"], resolved.where("dataset"))
        for task in tasks:
            if task.hub is not None:
                file_for(resolved["dataset"], task, tasks)
    resolved = with_protocol(resolved, machine)
    alone = replace(machine, nodes=Finding(1, "an evaluation works on one node"))
    sampling = sampling_plan(resolved, alone, [model.path for model in models], asked.gpus)
    bridge = ["lighteval"] if any(task.name.startswith(LIGHTEVAL) for task in tasks) else []
    estimates = [e for e in _estimates(resolved, tasks, models, machine, engines_of(sampling)) if e]
    listed = {
        "models": [model.as_dict() for model in models],
        "sampling": sampling,
        "set_by_person": sorted(resolved.explicit),
        "requires": [*sampling["requires"], *bridge],
        "estimate": [{"model": model.label, **e.as_dict()} for model, e in estimates],
    }
    to_come = [model.label for model in models if model.to_come]
    if to_come:
        listed[TO_COME] = to_come
    prepared = prepare_section(resolved, run, machine, asked, extra_plan=listed)
    notices = _said([e for _, e in estimates]) if run.state != "finished" else []
    notices = [*_chosen_for_you(resolved), *notices]
    return replace(prepared, notices=(*prepared.notices, *notices))


def _said(estimates: Sequence[Estimate]) -> list[str]:
    """One sentence per task: that of the model of which most is known, for all of them."""
    tasks: dict[str, list[Estimate]] = {}
    for one in estimates:
        tasks.setdefault(one.task, []).append(one)
    said = []
    for of_task in tasks.values():
        words = min(of_task, key=lambda e: (e.hours is None, e.tokens is None)).words()
        said.append(words if len(of_task) == 1 else f"{len(of_task)} models, each: {words}")
    return said


def _chosen_for_you(resolved: Resolved) -> list[str]:
    """What a person did not say and what changes the score: the protocol, the model."""
    said = []
    model, protocol = resolved.settings[MODEL], resolved.settings["protocol"]
    if model.origin.kind == "default" and model.value:
        said.append(f"no model is named: {model.value} (--model M takes another)")
    if protocol.origin.kind == "profile":
        said.append(f"protocol {protocol.value}, by the machine's profile: {protocol.origin.detail}")
    return said


def _estimates(
    resolved: Resolved, tasks: Sequence[Task], models: Sequence[EvalModel], machine: Machine, engines: int
) -> Iterator[tuple[EvalModel, Estimate]]:
    """What is known before it starts; nothing is loaded, so a Parquet file counts as the published number."""
    speeds = load_speeds(fingerprint(machine))
    for task in tasks:
        problems = BUILTIN_PROBLEMS if task.name.startswith("builtin:") else task.rows
        if resolved["dataset"] and task.hub is not None:
            problems = count_rows(file_for(resolved["dataset"], task, tasks)) or task.rows
        if problems is None:
            continue
        asked = conditions_of(task, resolved.values)
        for model in models:
            count = min(problems, resolved["limit"] or problems)
            yield model, estimate(asked, count, model.path, machine, engines, speeds)


def learn(prepared: Prepared, result: dict[str, Any]) -> None:
    """Keep speeds and lengths of a finished evaluation for the next estimate."""
    speeds = load_speeds(fingerprint(prepared.machine))
    new = [
        Speed(
            speeds.machine,
            "sampling",
            score["path"],
            score["tokens_per_second"],
            score["task"],
            score["mean_tokens"],
            score["conditions"]["max_new_tokens"],
        )
        for score in result.get("scores", [])
        if score.get("tokens_per_second") and score.get("tokens_drawn", 0) >= ENOUGH_TOKENS
    ]
    if new:
        record(speeds, new)


def rescore(name: str, listen: Listener) -> dict[str, Any]:
    """Grade a finished run's samples again.

    Raises:
        UsageError: no such run, or one without scores.
    """
    path = Path(name)
    for candidate in (path, runs_root() / name):
        if (candidate / "results.json").is_file():
            path = candidate
            break
    else:
        raise UsageError(
            f"no finished evaluation `{name}`",
            where="--rescore",
            fix="openr1 runs ls shows what is there; name a run of openr1 eval",
        )
    folder = RunFolder(path)
    with locked(folder):
        log = folder.next_attempt() / "rank-0.log"
        return supervise.run(module("openr1.evaluation.rescore", path), log, listen)


def _recipe(words: Sequence[str], asked: Asked, machine: Machine) -> tuple[Recipe, Section]:
    """Task names need no file; a file or a shipped recipe's name is a recipe."""
    recipes = [asked.recipe] if asked.recipe else [w for w in words if _is_recipe(w)]
    if recipes and len(words) > 1:
        raise UsageError(
            f"one recipe or some tasks, not both: {' '.join(words)}",
            where="the command line",
            fix=f"openr1 eval {recipes[0]}",
        )
    if recipes:
        recipe, _ = recipe_for("eval", replace(asked, recipe=recipes[0]), machine)
        return recipe, section_of(recipe, "eval", asked.section)
    for word in words:
        if Path(word).exists():
            raise UsageError(
                f"`{word}` is a {'folder' if Path(word).is_dir() else 'file'}, not a task",
                where="the command line",
                fix=f"openr1 eval TASK --model {word}"
                if Path(word).is_dir()
                else f"openr1 eval TASK --dataset {word}",
            )
        with placed("the command line"):
            task_named(word)
    section = Section("eval", "eval", {}, 0)
    return Recipe("eval", None, {}, (section,)), section


def _is_recipe(word: str) -> bool:
    return word.endswith((".yaml", ".yml")) or word in shipped()


def _models(
    recipe: Recipe, section: Section, resolved: Resolved, asked: Asked
) -> tuple[list[EvalModel], dict[str, str]]:
    """What to evaluate: the named model, or the results of the recipe's training sections."""
    name = resolved[MODEL]
    if resolved["server"]:  # the weights are the servers' business
        return [EvalModel(str(name or "server").rpartition("/")[2], str(name or "server"))], {}
    trained = _trained(recipe)
    if resolved.settings[MODEL].origin.kind == "command line" or not trained:
        model = str(name)
        source = check_model(model, resolved.where(MODEL))
        signature = weights_signature(source)
        return [EvalModel(label_of(model), source)], {WEIGHTS: signature} if signature else {}
    found: list[tuple[str, Resolved, str | None]] = []
    parents: dict[str, str] = {}
    for part in trained:
        chain = resolved_chain(recipe, part, asked)
        done = finished_run(recipe.name, part.name, chain.hash)
        if done is None and asked.dry_run:
            found.append((part.name, chain, None))
            parents[part.name] = chain.hash
            continue
        if done is None:
            raise UsageError(
                f"section {part.name} of this recipe is not trained yet",
                where=str(recipe.path),
                fix=f"openr1 pipeline {recipe.word}   or name a model: --model MODEL",
            )
        found.append((part.name, chain, str(done.model)))
        parents[part.name] = chain.hash
    return models_of(resolved, found), parents


def _trained(recipe: Recipe) -> list[Section]:
    return [section for section in recipe.sections if section.stage in TRAINING_STAGES]


def models_of(resolved: Resolved, trained: Sequence[tuple[str, Resolved, str | None]]) -> list[EvalModel]:
    """The models of an eval section: what the first training section started from, and every result.

    Args:
        trained: (section name, resolved section, path of its final weights), in recipe order; no path for
            one that has yet to be trained, for which a dry run takes the base model.

    Raises:
        RecipeError: `of:` names a section that trains nothing here.
    """
    base = EvalModel("base", check_model(str(trained[0][1][MODEL]), trained[0][1].where(MODEL)))
    everything = [base, *(EvalModel(name, path or base.path, path is None) for name, _, path in trained)]
    if resolved["of"] is None:
        return everything
    by_label = {model.label: model for model in everything}
    for name in resolved["of"]:
        if name not in by_label:
            raise RecipeError(
                f"`of: {name}` names no training section before this one",
                where=resolved.where("of"),
                fix=f"it may hold: {', '.join(by_label)}",
            )
    return [by_label[name] for name in resolved["of"]]


def label_of(model: str) -> str:
    """A short name for a model in a table: a run's or folder's own name, or the hub id's last part."""
    path = Path(model)
    return path.parent.name if path.name == "model" else path.name
