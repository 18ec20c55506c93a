"""`openr1 eval`: one or several models on one or several tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openr1.config.names import keys_of
from openr1.config.recipe import Recipe, Section, shipped
from openr1.config.resolve import Resolved, resolve
from openr1.errors import RecipeError, UsageError
from openr1.evaluation.tasks import task_named
from openr1.hardware import Machine
from openr1.services.hw_profile import the_machine
from openr1.services.lineage import MODEL, check_data_file, check_model, finished_run, placed
from openr1.services.recipes import overrides_for, recipe_for, section_of
from openr1.services.request import Asked, Listener
from openr1.services.stage import (
    Outcome,
    Prepared,
    execute,
    locate_run,
    prepare_section,
    resolved_chain,
)

DEFAULT_MODEL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"


@dataclass(frozen=True)
class EvalModel:
    """A model under evaluation: its name in the table, and where its weights are."""

    label: str
    path: str

    def as_dict(self) -> dict[str, str]:
        return {"label": self.label, "path": self.path}


def prepare(words: Sequence[str], asked: Asked) -> Prepared:
    """What `openr1 eval WORDS…` would do; nothing is written.

    Args:
        words: task names, or one recipe.
    """
    machine = the_machine(asked.simulate, asked.profile)
    recipe, section = _recipe(words, asked, machine)
    if words and recipe.path is None:
        asked = replace(asked, overrides={**asked.overrides, "tasks": (list(words), " ".join(words))})
    overrides = overrides_for(section, asked.overrides, keys_of("eval"), strict=True)
    resolved = resolve(recipe, section, overrides=overrides)
    models, parents = _models(recipe, section, resolved, asked)
    resolved = replace(resolved, parents=parents)
    run = locate_run(recipe, resolved, asked)
    return prepare_eval(resolved, models, run, machine, asked)


def run(words: Sequence[str], asked: Asked, listen: Listener) -> Outcome:
    """Evaluate, or continue, or show what has finished."""
    return execute(prepare(words, asked), listen)


def prepare_eval(
    resolved: Resolved, models: Sequence[EvalModel], run: Any, machine: Machine, asked: Asked
) -> Prepared:
    """Check tasks and files of a resolved eval section and prepare it.

    Raises:
        UsageError: no task, or an unknown one.
        RecipeError: the local file is not there.
    """
    if not resolved["tasks"]:
        raise UsageError("no task is named", fix="openr1 eval math_500")
    for name in resolved["tasks"]:
        with placed(resolved.where("tasks")):
            task_named(name)
    if resolved["dataset"]:
        check_data_file(resolved["dataset"], resolved.where("dataset"))
    listed = {"models": [model.as_dict() for model in models]}
    return prepare_section(resolved, run, machine, asked, extra_plan=listed)


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
    trained = [s for s in recipe.sections if s.stage in ("sft", "grpo")]
    if resolved.settings[MODEL].origin.kind == "command line" or not trained:
        model = str(name or DEFAULT_MODEL)
        source = check_model(model, resolved.where(MODEL))
        return [EvalModel(label_of(model), source)], {}
    found, parents = [], {}
    for part in trained:
        chain = resolved_chain(recipe, part, asked)
        done = finished_run(recipe.name, part.name, chain.hash)
        if done is None:
            raise UsageError(
                f"section {part.name} of this recipe is not trained yet",
                where=str(recipe.path),
                fix=f"openr1 pipeline {recipe.path}   or name a model: --model MODEL",
            )
        found.append((part.name, chain, done.model))
        parents[part.name] = chain.hash
    return models_of(resolved, [(n, c, str(p)) for n, c, p in found]), parents


def models_of(resolved: Resolved, trained: Sequence[tuple[str, Resolved, str]]) -> list[EvalModel]:
    """The models of an eval section: what the first training section started from, and every result.

    Args:
        trained: (section name, resolved section, path of its final weights), in recipe order.

    Raises:
        RecipeError: `of:` names a section that trains nothing here.
    """
    base = EvalModel("base", check_model(str(trained[0][1][MODEL]), trained[0][1].where(MODEL)))
    everything = [base, *(EvalModel(name, path) for name, _, path in trained)]
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
