"""What a section would do: resolve, plan, find the folder. Writes nothing, which makes it the dry run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from openr1.config.catalogue import TRAINING_STAGES
from openr1.config.names import keys_of
from openr1.config.recipe import Recipe, Section
from openr1.config.resolve import Resolved, as_dict, resolve
from openr1.config.schema import FLAT_REWARD_PARAMETERS
from openr1.data.counting import counted
from openr1.errors import OpenR1Error, RecipeError
from openr1.hardware import Machine
from openr1.launch import command
from openr1.planning.run_time import packs, run_time, steps_of
from openr1.runs import resolved_file
from openr1.runs.folder import RunFolder, locate, refuse_other
from openr1.services.accounts import give_way, named_target
from openr1.services.eval_tasks import tasks_while_training
from openr1.services.launching import together
from openr1.services.lineage import (
    MODEL,
    builds_on,
    check_data,
    check_exported,
    check_model,
    finished_run,
    need_finished,
    take,
    untrained,
)
from openr1.services.recipes import (
    as_many_gpus,
    check_section_names,
    overrides_for,
    recipe_for,
    section_of,
)
from openr1.services.request import Asked, Nodes
from openr1.services.spread import as_the_file_says, gives_way, spread_of


@dataclass(frozen=True)
class Prepared:
    """One section, ready to start: what, where, how, and with which command line."""

    resolved: Resolved
    run: RunFolder
    plan: dict[str, Any]
    command: command.Command
    machine: Machine
    notices: tuple[str, ...] = ()
    nodes: Nodes = field(default_factory=Nodes)
    rehearse: bool | None = None
    """Never before the run (False), or where it is predicted to be long (None)."""
    again: bool = False
    """A finished run, gone through once more for what it had to leave out."""

    def as_dict(self) -> dict[str, Any]:
        """The dry run as JSON."""
        return {
            **as_dict(self.resolved),
            "run": str(self.run.path),
            "state": self.run.state,
            "plan": self.plan,
            "command": {"argv": self.command.argv, "env": self.command.env},
            "notices": list(self.notices),
        }


def prepare_stage(stage: str, asked: Asked, machine: Machine) -> Prepared:
    """Prepare the section that `openr1 sft` or `openr1 grpo` runs. Writes nothing."""
    machine = together(machine, asked.nodes)
    recipe, said = recipe_for(stage, asked, machine)
    check_section_names(recipe, asked.overrides)
    section = section_of(recipe, stage, asked.section)
    asked, about_gpus = as_many_gpus(section, asked, machine)
    overrides = overrides_for(section, asked.overrides, keys_of(stage), strict=True)
    resolved = resolve(recipe, section, overrides=overrides)
    shape_of, notices = None, [said] if said else []
    if section.old:
        resolved, about_accounts = give_way(resolved)
        resolved = replace(resolved, notices=(*resolved.notices, *about_gpus, *about_accounts))
    for parent in builds_on(recipe, section, resolved, overrides):
        before, done = finished_parent(recipe, parent, asked)
        if done is None and asked.dry_run:
            notices.append(f"section {before.name}, from which this one starts, is not trained yet")
            shape_of = str(resolved[MODEL]) if parent.stage in TRAINING_STAGES else shape_of
            done = untrained(recipe, before)
        resolved = take(resolved, before, done or need_finished(recipe, before, section))
    if not asked.dry_run:
        check_exported(resolved)
    run = locate_run(recipe, resolved, asked)
    extra = tasks_while_training(recipe, resolved, asked)
    try:
        prepared = prepare_section(resolved, run, machine, asked, shape_of=shape_of, extra_plan=extra)
    except OpenR1Error as error:
        error.notices = (*notices, *resolved.notices)
        raise
    return replace(prepared, notices=(*notices, *prepared.notices))


def finished_parent(recipe: Recipe, parent: Section, asked: Asked) -> tuple[Resolved, RunFolder | None]:
    """The parent and its finished run: one with the same overrides, else one with its own alone.

    `openr1 sft R --seed 1` and `openr1 grpo R --seed 1` belong together, but `--learning_rate 1e-5` given
    to grpo is grpo's.
    """
    own = {key: value for key, value in asked.overrides.items() if "." in key}
    chains = [resolved_chain(recipe, parent, a) for a in (asked, replace(asked, overrides=own))]
    for before in chains:
        done = finished_run(recipe.name, before.name, before.hash)
        if done is not None:
            return before, done
    return chains[0], None


def resolved_chain(recipe: Recipe, section: Section, asked: Asked) -> Resolved:
    """A training or generate section resolved with its ancestors' hashes, as a run of it was named."""
    overrides = overrides_for(section, asked.overrides, keys_of(section.stage), strict=False)
    resolved = resolve(recipe, section, overrides=overrides)
    before = [resolved_chain(recipe, s, asked) for s in builds_on(recipe, section, resolved, overrides)]
    return replace(resolved, parents={**resolved.parents, **{b.name: b.hash for b in before}})


def locate_run(recipe: Recipe, resolved: Resolved, asked: Asked, within: Path | None = None) -> RunFolder:
    """The run's folder; `within` is a pipeline's."""
    if within is not None:
        return RunFolder(within / resolved.name)
    values = resolved.values
    if values.get("run_name"):
        run = locate(values["run_name"], "", output_dir=values.get("output_dir"), fresh=asked.fresh)
        refuse_other(run.path, resolved.hash)
        return run
    name = resolved.name if resolved.name == recipe.name else f"{recipe.name}-{resolved.name}"
    return locate(name, resolved.hash, output_dir=values.get("output_dir"), fresh=asked.fresh)


def prepare_section(
    resolved: Resolved,
    run: RunFolder,
    machine: Machine,
    asked: Asked,
    *,
    extra_plan: dict[str, Any] | None = None,
    shape_of: str | None = None,
) -> Prepared:
    """Plan one resolved section for this machine, or take the plan its unfinished run began with.

    Args:
        extra_plan: what the child needs besides, e.g. the models of an evaluation.
        shape_of: a model of the same shape, where the model itself is the result of a section to come.
    """
    if resolved.stage in TRAINING_STAGES:
        resolved = named_target(resolved)
        resolved, plan, notices = _plan_training(resolved, run, machine, asked, shape_of)
        found = run_time(plan, _steps(resolved, plan))
        plan = {**plan, "run_time": None if found is None else asdict(found)}
    else:
        plan, notices = {"machine": _machine_key(machine)}, []
    plan = {**plan, "cores": max(1, int(machine.cpu_cores.value or 1)), **(extra_plan or {})}
    if asked.max_gpu_temp:
        plan["max_gpu_temp"] = asked.max_gpu_temp
    threads = resolved.values.get("threads")
    child = command.local(resolved.stage, run.path, threads)
    return Prepared(
        resolved, run, plan, child, machine, (*resolved.notices, *notices), asked.nodes, asked.rehearse
    )


def _steps(resolved: Resolved, plan: dict[str, Any]) -> int | None:
    """Optimizer steps of the whole run, as far as its rows can be counted before they are loaded."""
    values, data = resolved.values, counted(resolved.values)
    rows = data.rows if data else None
    if data and packs(resolved.stage, values):
        rows = data.packed(values.get("max_length"), values.get("packing_strategy"))
    return steps_of(resolved.stage, values, rows, plan)


def _machine_key(machine: Machine) -> str:
    """What must be equal for a stored plan to be reused: the profile, the cards and the cores."""
    cards = ",".join(str(g.name.value) for g in machine.gpus)
    nodes = f"/{machine.nodes.value} nodes" if (machine.nodes.value or 1) > 1 else ""
    return f"{machine.profile.value}/{cards or 'no gpu'}/{machine.cpu_cores.value:g} cores{nodes}"


def _plan_training(
    resolved: Resolved, run: RunFolder, machine: Machine, asked: Asked, shape_of: str | None
) -> tuple[Resolved, dict[str, Any], list[str]]:
    from openr1.planning import calibration
    from openr1.planning import plan as make_plan

    model = resolved[MODEL]
    if not model:
        raise RecipeError(
            "no model is named",
            where=f"recipe {resolved.recipe}",
            fix=f"set {MODEL} in the recipe, or --{MODEL}",
        )
    checked = str(model) if shape_of else check_model(str(model), resolved.where(MODEL))
    if checked != model:
        resolved = replace(
            resolved, settings={**resolved.settings, MODEL: replace(resolved.settings[MODEL], value=checked)}
        )
    check_data(resolved)
    if resolved.stage == "grpo":
        from openr1.rewards import check_reward_funcs

        flat = {key: resolved[key] for key in FLAT_REWARD_PARAMETERS}
        check_reward_funcs(resolved["reward_funcs"], compat=resolved["reward_compat"], **flat)
    key = _machine_key(machine)
    spread, file = spread_of(resolved, asked, machine)
    stored = _stored_plan(run, key, spread)
    if stored:
        values = {k: (v["value"], v["reason"]) for k, v in stored["values"].items()}
        return resolved.with_values("plan", values), stored, []
    settings = {**resolved.values, MODEL: shape_of or resolved[MODEL]}
    if file is not None:
        settings["sharding"] = file.sharding
    made = make_plan(
        resolved.stage,
        settings,
        machine,
        explicit=resolved.explicit,
        gpus=spread["gpus"],
        processes=spread["processes"],
        fit=asked.fit,
        force=asked.force,
        calibration=calibration.load(),
    )
    values = {name: (chosen.value, chosen.reason) for name, chosen in made.values.items()}
    notices = list(made.warnings)
    if made.applied:
        notices.append(f"--fit applied: {' '.join(made.applied)}")
        resolved = resolved.with_edits({k: v for k, v in values.items() if k in resolved.settings})
    if run.resolved.exists() and run.state not in (None, "finished"):
        notices.append(
            "another machine or other flags than the run began with: planned again, at the same global batch"
        )
    plan = {**made.as_dict(), "machine": key, "asked": spread}
    resolved = resolved.with_values("plan", values)
    if file is not None:
        plan |= as_the_file_says(file, plan, given=bool(asked.gpus or asked.processes))
        notices += gives_way(file, resolved.values)
    return resolved, plan, notices


def _stored_plan(run: RunFolder, machine: str, spread: dict[str, Any]) -> dict[str, Any] | None:
    if not run.resolved.exists():
        return None
    plan: dict[str, Any] = resolved_file.read(run.resolved)["plan"]
    same = plan.get("machine") == machine and plan.get("asked") == spread
    return plan if same and "values" in plan else None
