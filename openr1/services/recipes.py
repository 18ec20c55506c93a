"""From a command line to a recipe: a file, a shipped name, some flags, or this machine's default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from openr1.config.recipe import Recipe, Section, find, parse
from openr1.errors import RecipeError, UsageError
from openr1.hardware import Machine
from openr1.services.request import Asked

ENOUGH_BY_FLAG = {"model_name_or_path", "dataset_name", "tasks"}


def default_recipe(machine: Machine) -> str:
    """The recipe a profile starts with when neither file nor flags say what to train."""
    return {"cpu": "tiny-cpu", "light": "qwen0.5b-light"}.get(str(machine.profile.value), "qwen1.5b-instruct")


def recipe_for(stage: str, asked: Asked, machine: Machine) -> tuple[Recipe, str | None]:
    """The recipe to run, and what to say when it was not the person who chose it.

    Raises:
        RecipeError: the file is refused.
    """
    if asked.recipe:
        return parse(find(asked.recipe), stage), None
    if ENOUGH_BY_FLAG & set(asked.overrides):
        name = str(asked.overrides.get("model_name_or_path", (stage, ""))[0])
        return Recipe(
            Path(name.partition("?")[0].replace(":", "-")).name, None, {}, (Section(stage, stage, {}, 0),)
        ), None
    default = default_recipe(machine)
    said = f"no recipe named: taking {default}, the recipe of the {machine.profile.value} profile"
    return parse(find(default), stage), said


def as_many_gpus(section: Section, asked: Asked, machine: Machine) -> tuple[Asked, list[str]]:
    """The request with the training GPUs of an old file, where this machine has one more for vLLM.

    A request that names --gpus itself is left alone.
    """
    wanted = section.old.gpus if section.old else None
    if wanted is None or asked.gpus is not None:
        return asked, []
    here = len(machine.gpus)
    if wanted < here:
        return replace(asked, gpus=wanted), [f"as the file has it: --gpus {wanted}; one more serves vLLM"]
    has = f"{here} GPU{'s' if here != 1 else ''}"
    return asked, [
        f"num_processes: {wanted} wants {wanted} GPUs and one more; this machine has {has}: the plan decides"
    ]


def section_of(recipe: Recipe, stage: str, name: str | None) -> Section:
    """The section to run: the named one, else the stage's first.

    Raises:
        UsageError: there is none, or it is of another stage.
    """
    if name:
        section = recipe.section(name)
        if section.stage != stage:
            raise UsageError(
                f"section `{name}` is {section.stage}, not {stage}",
                where=str(recipe.path),
                fix=f"openr1 {section.stage} {recipe.word} --section {name}",
            )
        return section
    found = recipe.of_stage(stage)
    if not found:
        have = ", ".join(f"{s.name} ({s.stage})" for s in recipe.sections)
        raise UsageError(f"this recipe has no {stage} section", where=str(recipe.path), fix=f"it has: {have}")
    return found[0]


def overrides_for(
    section: Section, overrides: Mapping[str, tuple[Any, str]], known: set[str], *, strict: bool
) -> dict[str, tuple[Any, str]]:
    """The overrides meant for one section.

    `--key` reaches every section that knows the key, `--SECTION.key` that one. With `strict`, a plain key
    this section does not know is kept, so that resolving it names the mistake.
    """
    plain = {k: v for k, v in overrides.items() if "." not in k and (strict or k in known)}
    start = f"{section.name}."
    return plain | {k.removeprefix(start): v for k, v in overrides.items() if k.startswith(start)}


def check_section_names(recipe: Recipe, overrides: Mapping[str, tuple[Any, str]]) -> None:
    """Raises RecipeError for `--NAME.key` where the recipe has no section NAME."""
    names = [section.name for section in recipe.sections]
    for key in overrides:
        name, dot, _ = key.partition(".")
        if dot and name not in names:
            raise RecipeError(
                f"`--{key}` names no section", where="the command line", fix=f"sections: {', '.join(names)}"
            )
