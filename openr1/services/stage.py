"""The way every stage takes: resolve, plan, find the folder, launch, sum up.

`prepare` decides everything and writes nothing, which makes it the dry run; `execute` does what was prepared.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.config.catalogue import TRAINING_STAGES
from openr1.config.names import keys_of
from openr1.config.recipe import Recipe, Section
from openr1.config.resolve import Resolved, as_dict, resolve
from openr1.config.schema import FLAT_REWARD_PARAMETERS
from openr1.errors import EnvironmentProblem, OpenR1Error, OutOfMemory, RecipeError, UsageError
from openr1.hardware import Machine
from openr1.launch import command
from openr1.runs import manifest, resolved_file
from openr1.runs.files import write_json
from openr1.runs.folder import RunFolder, locate, locked, refuse_other
from openr1.services import slurm
from openr1.services.accounts import check_accounts, give_way, named_target
from openr1.services.eval_tasks import tasks_while_training
from openr1.services.launching import launch, together
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
from openr1.services.out_of_memory import advise
from openr1.services.recipes import (
    as_many_gpus,
    check_section_names,
    overrides_for,
    recipe_for,
    section_of,
)
from openr1.services.report import Refresh, leave
from openr1.services.request import Asked, Listener, Nodes

if TYPE_CHECKING:
    from openr1.services.rehearse import Rehearsal


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


@dataclass(frozen=True)
class Outcome:
    """A finished section."""

    prepared: Prepared
    result: dict[str, Any]
    seconds: float
    was_finished: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "section": self.prepared.resolved.name,
            "stage": self.prepared.resolved.stage,
            "run": str(self.prepared.run.path),
            "result": self.result,
            "seconds": round(self.seconds, 1),
            "was_finished": self.was_finished,
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


def spread_of(resolved: Resolved, asked: Asked) -> tuple[dict[str, Any], dict[str, Any]]:
    """How a person wants the ranks spread, and the settings that follow from it.

    Returns:
        What a stored plan must have been made for, and values for the planner.

    Raises:
        RecipeError: a file of `accelerate config` and the recipe want different sharding.
    """
    spread: dict[str, Any] = {"gpus": asked.gpus, "processes": asked.processes, "accelerate_config": None}
    if not asked.accelerate_config:
        return spread, {}
    from openr1.launch import accelerate_file

    file = accelerate_file.read(Path(asked.accelerate_config))
    if "sharding" in resolved.explicit and resolved["sharding"] not in ("auto", file.sharding):
        raise RecipeError(
            f"sharding {resolved['sharding']} and the file's {file.sharding} contradict each other",
            where=str(file.path),
            fix="leave one of them out",
        )
    each = max(1, file.processes // file.machines)
    given = asked.gpus or asked.processes
    kind = "processes" if file.kind in ("MULTI_CPU", "NO") or asked.processes else "gpus"
    spread |= {kind: given or each, "accelerate_config": str(file.path)}
    return spread, {"sharding": file.sharding}


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
    spread, shared = spread_of(resolved, asked)
    stored = _stored_plan(run, key, spread)
    if stored:
        values = {k: (v["value"], v["reason"]) for k, v in stored["values"].items()}
        return resolved.with_values("plan", values), stored, []
    settings = {**resolved.values, MODEL: shape_of or resolved[MODEL], **shared}
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
    return resolved.with_values("plan", values), {**made.as_dict(), "machine": key, "asked": spread}, notices


def _stored_plan(run: RunFolder, machine: str, spread: dict[str, Any]) -> dict[str, Any] | None:
    if not run.resolved.exists():
        return None
    plan: dict[str, Any] = resolved_file.read(run.resolved)["plan"]
    same = plan.get("machine") == machine and plan.get("asked") == spread
    return plan if same and "values" in plan else None


def execute(prepared: Prepared, listen: Listener) -> Outcome:
    """Run a prepared section to its end, or show the result of one that has finished.

    Raises:
        OpenR1Error: whatever ended it; the run's manifest says how it stands.
    """
    run, resolved = prepared.run, prepared.resolved
    state = "interrupted" if prepared.again else run.state
    if state != "finished":
        check_launchable(prepared)
    if state == "finished":
        listen({"event": "section", "prepared": prepared, "state": state})
        found = run.manifest or {}
        return Outcome(
            prepared, found.get("result") or {}, float(found.get("seconds") or 0), was_finished=True
        )
    if prepared.nodes.rank > 0:
        return help_first_node(prepared, listen)
    with locked(run):
        listen({"event": "section", "prepared": prepared, "state": state})
        if state is None and prepared.rehearse is None:
            _rehearse_if_long(prepared, listen)
        different = slurm.mismatch(prepared.plan, os.environ.get("OPENR1_SUBMITTED"))
        if different:
            listen({"event": "notice", "text": different})
        resolved_file.write(run.resolved, resolved, prepared.plan)
        attempt = run.next_attempt()
        _begin(prepared, attempt)
        start = time.time()
        refresh = Refresh(run)

        def on_event(event: dict[str, Any]) -> None:
            listen(event)
            refresh.look(event)

        try:
            result = launch(prepared, attempt, on_event)
        except OpenR1Error as caught:
            error: OpenR1Error = caught
            if isinstance(caught, OutOfMemory) and resolved.stage in TRAINING_STAGES:
                error = advise(caught, prepared)
            state = "interrupted" if error.code == 130 else "failed"
            _end(run, state, time.time() - start, error=error.as_dict())
            leave(run.path, listen)
            raise error from caught
        total = _end(run, "finished", time.time() - start, result=result)
    leave(run.path, listen)
    _learn(prepared, result)
    return Outcome(prepared, result, total)


def help_first_node(prepared: Prepared, listen: Listener) -> Outcome:
    """This node's ranks of a run whose folder the first node keeps."""
    listen({"event": "section", "prepared": prepared, "state": prepared.run.state})
    start = time.time()
    result = launch(prepared, prepared.run.next_attempt(prepared.nodes.rank), listen)
    return Outcome(prepared, result, time.time() - start)


def rehearse(prepared: Prepared, listen: Listener) -> Rehearsal:
    """Rehearse, and let the planner learn from it.

    Raises:
        UsageError: a section that does not train, or that has finished.
        OpenR1Error: what would have ended the run.
    """
    from openr1.services import rehearse as room

    if prepared.resolved.stage not in TRAINING_STAGES:
        raise UsageError("only training is rehearsed", where="--rehearse", fix="leave it out")
    check_launchable(prepared)
    found = room.rehearse(prepared, listen)
    _learn(prepared, {"peak_bytes": found.peak_bytes, "step_seconds": found.step_seconds})
    return found


def _rehearse_if_long(prepared: Prepared, listen: Listener) -> None:
    from openr1.services import rehearse as room

    if prepared.resolved.stage not in TRAINING_STAGES or prepared.nodes.count > 1:
        return
    if room.is_long(prepared):
        listen({"event": "notice", "text": "a long run: rehearsing it first (--no-rehearse leaves it out)"})
        found = rehearse(prepared, listen)
        write_json(prepared.run.path / "rehearsal.json", found.as_dict())
        if found.problem:
            raise EnvironmentProblem(
                f"the rehearsal says no: {found.problem}",
                where=str(prepared.run.path / "rehearsal.json"),
                fix="change it, or start all the same with --no-rehearse",
            )
        listen({"event": "notice", "text": "the rehearsal held; the run begins"})


def _learn(prepared: Prepared, result: dict[str, Any]) -> None:
    """Keep predicted and measured peak and step time: the next plan on this machine is corrected by them."""
    from openr1.planning import calibration

    if prepared.resolved.stage == "eval":
        from openr1.services.evaluate import learn

        learn(prepared, result)
    if prepared.resolved.stage in TRAINING_STAGES and result.get("peak_bytes"):
        seen = calibration.observe(
            prepared.plan,
            prepared.machine,
            str(prepared.resolved[MODEL]),
            result["peak_bytes"],
            result.get("step_seconds"),
        )
        if seen:
            calibration.save(calibration.load().record(seen))


def check_launchable(prepared: Prepared) -> None:
    """Packages that are missing, and what this version does not launch yet, are said before the launch."""
    import importlib.util

    if prepared.machine.simulated is not None:
        raise UsageError(
            f"{prepared.machine.simulated} is simulated: nothing can run on it",
            where="--simulate",
            fix="add --dry-run to see the plan, or leave --simulate out",
        )
    needed = {"torch", "transformers", "datasets", *prepared.plan.get("requires", [])}
    if prepared.resolved.stage in TRAINING_STAGES:
        needed |= {"trl", "accelerate"}
    missing = sorted(name for name in needed if importlib.util.find_spec(name) is None)
    if missing:
        extra = "train" if prepared.resolved.stage in TRAINING_STAGES else prepared.resolved.stage
        raise EnvironmentProblem(f"not installed: {', '.join(missing)}", fix=f'pip install "openr1[{extra}]"')
    check_accounts(prepared.resolved)


def _begin(prepared: Prepared, attempt: Path) -> None:
    """Write down that an attempt begins."""
    run, resolved = prepared.run, prepared.resolved
    found = run.manifest or manifest.new(
        {
            "recipe": resolved.recipe,
            "section": resolved.name,
            "stage": resolved.stage,
            "hash": resolved.hash,
            "parents": resolved.parents,
            "model": resolved.values.get(MODEL),
            "seconds": 0.0,
        }
    )
    found["command"] = manifest.command_line() or found.get("command")
    found["state"] = "running"
    found["machine"] = prepared.plan["machine"]
    found["versions"] = manifest.versions()
    found["attempts"].append({"log": str(attempt.relative_to(run.path)), "started": manifest.now()})
    write_json(run.path / "manifest.json", found)


def _end(run: RunFolder, state: str, seconds: float, **fields: Any) -> float:
    """Write down how an attempt ended; returns the run's seconds over all attempts."""
    found = run.manifest or manifest.new({})
    total = float(found.get("seconds") or 0) + seconds
    found.pop("error", None)
    found["attempts"][-1] |= {"ended": manifest.now(), "state": state}
    write_json(run.path / "manifest.json", found | {"state": state, "seconds": round(total, 1), **fields})
    return total
