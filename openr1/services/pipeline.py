"""`openr1 pipeline`: every section of a recipe, in file order, each continuing where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from openr1.config.catalogue import TRAINING_STAGES
from openr1.config.names import all_keys, explain_unknown, keys_of
from openr1.config.recipe import Recipe, Section, find, parse
from openr1.config.resolve import Resolved, resolve
from openr1.errors import OpenR1Error, RecipeError
from openr1.hardware import Machine
from openr1.runs import manifest, resolved_file
from openr1.runs.files import write_json
from openr1.runs.folder import RunFolder, locate
from openr1.services.eval_tasks import tasks_while_training
from openr1.services.evaluate import models_of, prepare_eval, with_default_protocol
from openr1.services.generate import prepare_generate, with_default_dataset
from openr1.services.hw_profile import the_machine
from openr1.services.launching import together
from openr1.services.lineage import MODEL, builds_on, check_exported, parent_of, take
from openr1.services.prepare import Prepared, prepare_section
from openr1.services.recipes import check_section_names, default_recipe, overrides_for
from openr1.services.report import leave
from openr1.services.request import Asked, Listener
from openr1.services.stage import Outcome, execute

PLACES = {"output_dir", "run_name"}


@dataclass
class PipelinePlan:
    """All sections, prepared in order; nothing is written."""

    recipe: Recipe
    run: RunFolder
    sections: list[Prepared]
    notices: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "run": str(self.run.path),
            "sections": [prepared.as_dict() for prepared in self.sections],
            "notices": self.notices,
        }


@dataclass(frozen=True)
class PipelineOutcome:
    """All sections, finished."""

    plan: PipelinePlan
    outcomes: list[Outcome]

    @property
    def scores(self) -> list[dict[str, Any]]:
        """Every score of every eval section, with the section's name."""
        return [
            {"section": outcome.prepared.resolved.name, **score}
            for outcome in self.outcomes
            for score in outcome.result.get("scores", [])
        ]

    @property
    def seconds(self) -> float:
        return sum(outcome.seconds for outcome in self.outcomes)

    def as_dict(self) -> dict[str, Any]:
        return {
            "recipe": self.plan.recipe.name,
            "run": str(self.plan.run.path),
            "seconds": round(self.seconds, 1),
            "sections": [outcome.as_dict() for outcome in self.outcomes],
        }


def prepare(asked: Asked) -> PipelinePlan:
    """Resolve and plan every section. Sections to come are planned with paths that do not exist yet."""
    machine = together(the_machine(asked.simulate, asked.profile), asked.nodes)
    recipe, notices = _recipe(asked, machine)
    _check_overrides(recipe, asked)
    resolved = [_resolve(recipe, section, asked) for section in recipe.sections]
    resolved = _chain(recipe, resolved, asked)
    run = _folder(recipe, resolved, asked)
    resolved = [_with_protocol(one, run, machine) if one.stage == "eval" else one for one in resolved]
    sections = [
        _prepare(recipe, section, one, resolved, run, machine, asked)
        for section, one in zip(recipe.sections, resolved, strict=True)
    ]
    return PipelinePlan(recipe, run, sections, notices)


def run(asked: Asked, listen: Listener) -> PipelineOutcome:
    """Run what is not finished; the first error ends the pipeline and the same command continues it."""
    plan = prepare(asked)
    listen({"event": "pipeline", "plan": plan})
    outcomes = []
    for prepared in plan.sections:
        try:
            check_exported(prepared.resolved)
            outcomes.append(execute(prepared, listen))
        except OpenR1Error:
            leave(plan.run.path, listen)
            raise
    outcome = PipelineOutcome(plan, outcomes)
    write_json(plan.run.path / "pipeline.json", outcome.as_dict())
    leave(plan.run.path, listen)
    return outcome


def _recipe(asked: Asked, machine: Machine) -> tuple[Recipe, list[str]]:
    if asked.recipe:
        return parse(find(asked.recipe), "pipeline"), []
    name = default_recipe(machine)
    said = f"no recipe named: taking {name}, the recipe of the {machine.profile.value} profile"
    return parse(find(name), "pipeline"), [said]


def _check_overrides(recipe: Recipe, asked: Asked) -> None:
    """An override that reaches no section is a mistake. Where a pipeline is written is not a section's."""
    check_section_names(recipe, asked.overrides)
    names = {section.name: section.stage for section in recipe.sections}
    for key in asked.overrides:
        name, dot, rest = key.partition(".")
        stage, plain = (names[name], rest) if dot else (None, key)
        known = keys_of(stage) if stage else all_keys()
        if plain not in known:
            raise RecipeError(
                f"unknown option `--{key}`", where="the command line", fix=explain_unknown(plain, stage)
            )


def _resolve(recipe: Recipe, section: Section, asked: Asked) -> Resolved:
    return resolve(recipe, section, overrides=_overrides(recipe, section, asked))


def _with_protocol(one: Resolved, run: RunFolder, machine: Machine) -> Resolved:
    """An eval section with its protocol. A pipeline that goes on elsewhere keeps what it began with."""
    begun = RunFolder(run.path / one.name).resolved
    if begun.is_file():
        chosen = {key: (value, origin) for key, value, origin in resolved_file.settings(begun)[1]}
        value, origin = chosen.get("protocol", (None, ""))
        if value and origin.startswith("profile: "):
            return one.with_values("profile", {"protocol": (value, origin.removeprefix("profile: "))})
    return with_default_protocol(one, machine)


def _overrides(recipe: Recipe, section: Section, asked: Asked) -> dict[str, tuple[Any, str]]:
    """A section's overrides. `--model_name_or_path` is the start of the whole chain, as the shared key is."""
    mine = {k: v for k, v in asked.overrides.items() if k not in PLACES}
    if section.stage != "eval" and parent_of(recipe, section) is not None:
        mine.pop(MODEL, None)
    return overrides_for(section, mine, keys_of(section.stage), strict=False)


def _chain(recipe: Recipe, resolved: list[Resolved], asked: Asked) -> list[Resolved]:
    """Give every section the hashes of those it builds on, first to last."""
    done: dict[str, Resolved] = {}
    for section, one in zip(recipe.sections, resolved, strict=True):
        overrides = _overrides(recipe, section, asked)
        if one.stage == "eval":
            before = [s for s in recipe.sections if s.stage in TRAINING_STAGES and s.name in done]
        else:
            before = builds_on(recipe, section, one, overrides)
        done[one.name] = replace(one, parents={s.name: done[s.name].hash for s in before})
    return list(done.values())


def _folder(recipe: Recipe, resolved: list[Resolved], asked: Asked) -> RunFolder:
    """`runs/<recipe>-<hash over all sections>/`, or where the command line says."""
    text = json.dumps([(one.name, one.hash) for one in resolved])
    hash_ = hashlib.sha256(text.encode()).hexdigest()[:8]
    named = {key: str(asked.overrides[key][0]) for key in PLACES if key in asked.overrides}
    if "output_dir" in named:
        return _chosen(Path(named["output_dir"]))
    if "run_name" in named:
        return locate(named["run_name"], "", fresh=asked.fresh)
    return locate(recipe.name, hash_, fresh=asked.fresh)


def _chosen(path: Path) -> RunFolder:
    if manifest.read(path):
        raise RecipeError(
            "this folder is one section's run, not a pipeline's",
            where=str(path),
            fix="choose another --output_dir",
        )
    return RunFolder(path)


def _prepare(
    recipe: Recipe,
    section: Section,
    one: Resolved,
    resolved: list[Resolved],
    run: RunFolder,
    machine: Machine,
    asked: Asked,
) -> Prepared:
    by_name = {r.name: r for r in resolved}
    here = RunFolder(run.path / one.name)
    found = here.manifest
    if found and found.get("hash") != one.hash:
        raise RecipeError(
            f"{here.path} holds a run of another configuration",
            where=str(recipe.path),
            fix="start over with --fresh, or choose another --output_dir",
        )
    if one.stage in TRAINING_STAGES:
        trained_before = any(by_name[parent].stage in TRAINING_STAGES for parent in one.parents)
        shape_of = str(one[MODEL]) if trained_before and one[MODEL] else None
        one = _taken(one, by_name, run)
        extra = tasks_while_training(recipe, one, asked)
        try:
            return prepare_section(one, here, machine, asked, shape_of=shape_of, extra_plan=extra)
        except RecipeError as error:
            if not asked.gpus or int(one["global_batch_size"] or 0) % asked.gpus == 0:
                raise
            raise RecipeError(
                error.what,
                where=f"the {one.name} section; --gpus {asked.gpus} holds for every training section",
                fix=f"leave --gpus out: each section then takes as many GPUs as its batch can be split over. "
                f"Or {error.fix}",
            ) from error
    if one.stage == "generate":
        one = with_default_dataset(_taken(one, by_name, run))
        return prepare_generate(one, here, machine, asked, to_come=bool(one.parents))
    if one.stage == "eval":
        trained = []
        for name in one.parents:
            before = _taken(by_name[name], by_name, run)
            trained.append((name, before, str(RunFolder(run.path / name).model)))
        if trained:
            return prepare_eval(one, models_of(one, trained), here, machine, asked)
    raise RecipeError(
        f"the {one.name} section comes before any training section",
        where=recipe.place(section.line),
        fix="put it behind, or evaluate one model: openr1 eval TASK --model MODEL",
    )


def _taken(one: Resolved, by_name: Mapping[str, Resolved], run: RunFolder) -> Resolved:
    """A section with the results of those it builds on."""
    for parent in one.parents:
        one = take(one, by_name[parent], RunFolder(run.path / parent))
    return one
