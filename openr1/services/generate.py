"""`openr1 generate`: completions of one model for the rows of one dataset, and what is made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from openr1.config.names import keys_of
from openr1.config.recipe import Recipe, Section, find, parse
from openr1.config.resolve import Resolved, resolve
from openr1.errors import RecipeError, UsageError
from openr1.generation.evaluation_sets import parse_against
from openr1.generation.steps import STEP_OF
from openr1.generation.template import BACKSPACE, PromptTemplate
from openr1.hardware import Machine
from openr1.runs import manifest, resolved_file
from openr1.runs.folder import RunFolder, runs_root
from openr1.services.engines import sampling_plan
from openr1.services.evaluate import label_of
from openr1.services.hw_profile import the_machine
from openr1.services.launching import together
from openr1.services.lineage import (
    MODEL,
    builds_on,
    check_dataset,
    check_model,
    need_finished,
    placed,
    take,
    untrained,
)
from openr1.services.prepare import Prepared, finished_parent, locate_run, prepare_section
from openr1.services.recipes import check_section_names, overrides_for, section_of
from openr1.services.request import Asked, Listener
from openr1.services.stage import Outcome, execute

DEFAULT_DATASET = "AI-MO/NuminaMath-TIR"

PART = "--split 'train[0:200]' takes a part; one run may take all, for the same command continues"
# Names of open-r1's generate.py, generate_reasoning.py, compute_pass_rate.py, decontaminate.py; of vLLM.
UPSTREAM_NAMES = {
    "hf_dataset": "dataset_name",
    "hf_dataset_config": "dataset_config",
    "hf_dataset_split": "dataset_split",
    "hf_output_dataset": "hub_dataset_id",
    "vllm_server_url": "server",
    "api_addr": "server",
    "input_batch_size": "batch_size",
    "max_concurrent": "batch_size",
    "max_tokens": "max_new_tokens",
    "max_completion_length": "max_new_tokens",
    "timeout": "server_timeout",
    "dataset_prompt_column": "prompt_column",
    "problem_column": "prompt_column",
    "output_dataset_name": "hub_dataset_id",
    "new_dataset_name": "hub_dataset_id",
    "tensor_parallel_size": "tensor_parallel",
    "pipeline_parallel_size": "pipeline_parallel",
    "max_model_len": "max_model_length",
}
# What they set about their own machinery, and why there is nothing to set here.
WITHOUT_MEANING = {
    "client_replicas": "one client keeps every server busy, with --batch_size requests at each",
    "retries": "what fails is tried again, and named when it keeps failing",
    "uuid_column": "finished samples are known by their prompt",
    "reward_weights": "every reward counts alike in the pass rate",
    "cleanup": "contaminated problems are left out; contamination.jsonl names them",
}
# What is asked for in another way here.
INSTEAD = {
    "output_file": "--output_dir FOLDER; samples.jsonl there has every completion, dataset/ the export",
    "dataset_start_index": PART,
    "dataset_end_index": PART,
}
# Keys that decide how samples are drawn; with `--from` they are drawn already.
OF_SAMPLING = {
    MODEL,
    "dataset_name",
    "dataset_config",
    "dataset_split",
    "prompt_column",
    "prompt_template",
    "system_prompt",
    "num_generations",
    "temperature",
    "top_p",
    "top_k",
    "max_new_tokens",
    "server",
    "limit",
    "seed",
}


def prepare(asked: Asked) -> Prepared:
    """What `openr1 generate` would do; nothing is written."""
    machine = together(the_machine(asked.simulate, asked.profile), asked.nodes)
    asked, said = without_upstreams_own(asked)
    recipe, section = _recipe(asked)
    check_section_names(recipe, asked.overrides)
    overrides = overrides_for(section, asked.overrides, keys_of("generate"), strict=True)
    resolved = resolve(recipe, section, overrides=overrides)
    if resolved["from_run"]:
        _refuse_sampling(overrides)
        prepared = prepare_from(recipe, resolved, machine, asked)
    else:
        resolved = _from_training(recipe, section, resolved, overrides, asked)
        resolved = with_default_dataset(resolved)
        run = locate_run(recipe, resolved, asked)
        to_come = asked.dry_run and bool(resolved.parents)
        prepared = prepare_generate(resolved, run, machine, asked, to_come=to_come)
    # Samples that failed are not done: the same command tries them again.
    finished = (prepared.run.manifest or {}) if prepared.run.state == "finished" else {}
    again = bool((finished.get("result") or {}).get("failed")) and not resolved["from_run"]
    return replace(prepared, notices=(*said, *prepared.notices), again=again)


def run(asked: Asked, listen: Listener) -> Outcome:
    """Generate, or continue, or show what has finished."""
    return execute(prepare(asked), listen)


def without_upstreams_own(asked: Asked) -> tuple[Asked, list[str]]:
    """The request without the flags that mean nothing here, and a remark for each.

    Raises:
        UsageError: a flag for what is done in another way here.
    """
    for key in asked.overrides:
        if key in INSTEAD:
            raise UsageError(f"there is no `--{key}` here", where="the command line", fix=INSTEAD[key])
    ignored = [key for key in asked.overrides if key in WITHOUT_MEANING]
    said = [f"--{key} has no effect: {WITHOUT_MEANING[key]}" for key in ignored]
    rest = {key: value for key, value in asked.overrides.items() if key not in ignored}
    return replace(asked, overrides=rest), said


def _recipe(asked: Asked) -> tuple[Recipe, Section]:
    if asked.recipe:
        recipe = parse(find(asked.recipe), "generate")
        return recipe, section_of(recipe, "generate", asked.section)
    section = Section("generate", "generate", {}, 0)
    model = str(asked.overrides.get(MODEL, asked.overrides.get("from_run", ("", "")))[0])
    name = label_of(model.partition("?")[0].replace(":", "-")) or "generate"
    return Recipe(name, None, {}, (section,)), section


def _from_training(
    recipe: Recipe, section: Section, resolved: Resolved, overrides: Mapping[str, Any], asked: Asked
) -> Resolved:
    """The section with the model of the training section before it, where there is one."""
    for parent in builds_on(recipe, section, resolved, overrides):
        before, done = finished_parent(recipe, parent, asked)
        if done is None and asked.dry_run:
            done = untrained(recipe, before)
        resolved = take(resolved, before, done or need_finished(recipe, before, section))
    return resolved


def with_default_dataset(resolved: Resolved) -> Resolved:
    """Upstream's dataset where none is named."""
    if resolved["dataset_name"]:
        return resolved
    return resolved.with_values("default", {"dataset_name": (DEFAULT_DATASET, "openr1: upstream's dataset")})


def prepare_generate(
    resolved: Resolved, run: RunFolder, machine: Machine, asked: Asked, *, to_come: bool = False
) -> Prepared:
    """Check a resolved generate section and prepare it.

    Args:
        to_come: its model is the result of a section that has yet to run.

    Raises:
        RecipeError: no model, no such dataset, a template that cannot work, rules that contradict each other.
        UsageError: an evaluation set that does not exist.
    """
    if not resolved[MODEL] and not resolved["server"]:
        raise RecipeError("no model is named", fix="openr1 generate --model MODEL --dataset FILE")
    if resolved["from_run"]:
        raise RecipeError(
            "a pipeline samples anew; `from_run` is for openr1 generate alone",
            where=resolved.where("from_run"),
            fix="remove it",
        )
    check_dataset(resolved["dataset_name"], resolved.where("dataset_name"))
    notices = _check_values(resolved)
    plan: dict[str, Any] = {"model": resolved[MODEL]}
    if not resolved["server"] and not to_come:
        plan["model"] = check_model(str(resolved[MODEL]), resolved.where(MODEL))
    plan["sampling"] = sampling_plan(resolved, machine, [str(plan["model"])], asked.gpus)
    plan["requires"] = list(plan["sampling"]["requires"])
    if resolved["engine"] == "distilabel":
        if asked.nodes.count > 1:
            raise RecipeError(
                f"a distilabel pipeline samples on one node, and there are {asked.nodes.count}",
                where=resolved.where("engine"),
                fix="leave --engine distilabel or --nodes out",
            )
        plan["requires"].append("distilabel")
    prepared = prepare_section(resolved, run, machine, asked, extra_plan=plan)
    return replace(prepared, notices=(*prepared.notices, *notices))


def prepare_from(recipe: Recipe, resolved: Resolved, machine: Machine, asked: Asked) -> Prepared:
    """The steps after sampling on the samples of a finished run, in a folder of their own.

    Raises:
        UsageError: no such run, one of another stage, or one without samples.
    """
    notices = _check_values(resolved)
    taken = samples_of(str(resolved["from_run"]), resolved.where("from_run"))
    source = taken[-1]
    facts = json.loads((source.path / "sampling.json").read_text(encoding="utf-8"))
    resolved = resolved.with_values("pipeline", {MODEL: (facts["model"], f"sampled in {source.path}")})
    found = taken[0].manifest or {}
    resolved = replace(resolved, parents={str(found.get("section")): str(found.get("hash"))})
    run = locate_run(recipe, resolved, asked)
    plan = {"model": facts["model"], "taken": [str(each.path) for each in taken]}
    prepared = prepare_section(resolved, run, machine, asked, extra_plan=plan)
    return replace(prepared, notices=(*prepared.notices, *notices))


def samples_of(name: str, where: str) -> list[RunFolder]:
    """The generate run that a person names by its folder or its name under runs/, then the run it is from
    itself, and so on; the last has the samples.

    Raises:
        UsageError: there is none, or it has no samples.
    """
    for path in (Path(name), runs_root() / name):
        found = manifest.read(path)
        if found is None:
            continue
        if found.get("stage") != "generate":
            raise UsageError(
                f"this run is one of {found.get('stage')}, not of generate",
                where=str(path),
                fix="name a run of openr1 generate",
            )
        earlier = _taken_by(path)
        last = earlier[-1] if earlier else path
        if not (last / "samples.jsonl").exists() or not (last / "sampling.json").exists():
            raise UsageError(
                f"the samples of this run were in {last}, and are gone"
                if earlier
                else "this run has no samples yet",
                where=str(path),
                fix="name another run, or sample anew without --from"
                if earlier
                else "give its command again to finish it",
            )
        return [RunFolder(place) for place in (path, *earlier)]
    raise UsageError(
        f"no run `{name}`",
        where=where,
        fix="openr1 runs ls shows what is there; name a run of openr1 generate",
    )


def _taken_by(run: Path) -> list[Path]:
    """The runs whose samples and findings a run was given."""
    path = RunFolder(run).resolved
    plan = resolved_file.read(path).get("plan") if path.exists() else None
    return [Path(place) for place in (plan or {}).get("taken", [])]


def _refuse_sampling(overrides: Mapping[str, Any]) -> None:
    """Raises RecipeError for a sampling value given beside `--from`: it would change nothing."""
    for key in overrides:
        if key in OF_SAMPLING:
            raise RecipeError(
                f"`{key}` has no effect with --from: those samples are drawn already",
                where=f"--{key}",
                fix="leave it out, or sample anew without --from",
            )


def _check_values(resolved: Resolved) -> list[str]:
    """What can be refused before anything starts, and what is worth a remark."""
    notices = []
    if resolved["prompt_template"]:
        where = resolved.where("prompt_template")
        text = PromptTemplate(str(resolved["prompt_template"]), where).text
        if BACKSPACE in text:
            notices.append(
                "the prompt template holds a backspace: `\\b` of a \\boxed in a string that is not raw; "
                "write it in single quotes or in a file"
            )
    if resolved["engine"] == "distilabel" and resolved["truncated"] == "retry":
        raise RecipeError(
            "a distilabel pipeline does not draw again what was cut off",
            where=resolved.where("truncated"),
            fix="truncated: keep, or engine: openr1",
        )
    for entry in resolved["against"]:
        with placed(resolved.where("against")):
            parse_against(entry)
    if resolved["reward_funcs"]:
        from openr1.rewards import check_reward_funcs

        with placed(resolved.where("reward_funcs")):
            check_reward_funcs(resolved["reward_funcs"])
    _check_bounds(resolved, "min_completion_tokens", "max_completion_tokens")
    _check_bounds(resolved, "pass_rate_min", "pass_rate_max")
    for key, step in STEP_OF.items() if resolved["only"] is not None else ():
        if step not in resolved["only"] and resolved.settings[key].origin.kind == "command line":
            raise RecipeError(
                f"`{key}` is for the {step} step, which --only leaves out",
                where=resolved.where(key),
                fix=f"add {step} to --only",
            )
    return notices


def _check_bounds(resolved: Resolved, low: str, high: str) -> None:
    if resolved[low] is not None and resolved[high] is not None and resolved[low] > resolved[high]:
        raise RecipeError(
            f"`{low}` is above `{high}`: nothing could be kept", where=resolved.where(low), fix="swap them"
        )
