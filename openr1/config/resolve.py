"""From what was written to what will be done: one section, every value typed and with its origin.

Precedence: default < plan < an old file's default of its time < recipe (shared key < section's own) <
OPENR1_* environment < command line.
The plan is applied later, by `with_plan`, to what nobody set.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from openr1.config.bounds import out_of_bounds
from openr1.config.catalogue import fields_of
from openr1.config.defaults import OURS
from openr1.config.names import explain_unknown, keys_of, nearest
from openr1.config.origins import Origin, Setting
from openr1.config.recipe import Recipe, Section
from openr1.config.schema import check_own, own_defaults, own_fields, own_texts
from openr1.config.values import contradictions, unusable
from openr1.config.yaml_file import Loaded, plain
from openr1.errors import RecipeError, RecipeErrors

# Where a run is written, shown and sent does not change what is learnt: it is not part of its name.
NOT_HASHED = {"output_dir", "run_name", "threads", "logging_steps", "save_steps", "save_total_limit", "stage"}
NOT_HASHED |= {"push_to_hub", "hub_model_id", "hub_private_repo", "hub_revision", "hub_strategy"}
NOT_HASHED |= {
    "hub_step_revisions",
    "hub_always_push",
    "report_to",
    "wandb_entity",
    "wandb_project",
    "wandb_run_group",
}
NOT_HASHED |= {"server_timeout", "processes", "parallel", "gpu_memory_utilization"}
NOT_HASHED |= {"tensor_parallel", "pipeline_parallel", "executor"}
NOT_HASHED |= {"server_patience", "max_failed"}
NOT_HASHED |= {"eval_tasks_steps"}
NOT_HASHED |= {"from_run"}  # its hash is among the parents
SECRET = {"hub_token"}
RESERVED_ENV = {"OPENR1_LANG", "OPENR1_DEBUG", "OPENR1_RUNS_DIR", "OPENR1_EVENTS_FD", "OPENR1_CACHE"}
RESERVED_ENV |= {"OPENR1_REPORT", "OPENR1_NODE", "OPENR1_PARENT_PID", "OPENR1_ENGINE_FD"}
RESERVED_ENV |= {"OPENR1_CAPACITY_BYTES"}
RESERVED_ENV |= {"OPENR1_SUBMITTED", "OPENR1_MASTER", "OPENR1_MEETING_SECONDS", "OPENR1_SERVERS"}


@dataclass(frozen=True)
class Resolved:
    """One section, resolved. `settings` holds every key of the stage, defaults included."""

    recipe: str
    name: str
    stage: str
    settings: dict[str, Setting]
    notices: tuple[str, ...] = ()
    parents: dict[str, str] = field(default_factory=dict)
    """Names of the sections this one builds on, with their hashes."""

    def __getitem__(self, key: str) -> Any:
        return self.settings[key].value

    @property
    def values(self) -> dict[str, Any]:
        return {key: setting.value for key, setting in self.settings.items()}

    @property
    def explicit(self) -> set[str]:
        """Keys a person set; a plan keeps its hands off them."""
        return {key for key, setting in self.settings.items() if setting.origin.explicit}

    @property
    def hash(self) -> str:
        """Eight hex digits over what was asked for. Plans and defaults stay out: another machine, or a new
        release's default, continues the same run. What the machine's profile chose is in: it changes what
        comes out."""
        # What builds on other sections takes its model from them; their hashes say which.
        left_out = NOT_HASHED | ({"model_name_or_path"} if self.parents else set())
        if "dataset_name" in self.settings and isinstance(self["dataset_name"], dict):
            left_out |= {"dataset_name"}
        chosen = self.explicit | {key for key, s in self.settings.items() if s.origin.kind == "profile"}
        asked = {k: self.settings[k].value for k in sorted(chosen - left_out)}
        text = json.dumps([self.stage, asked, sorted(self.parents.items())], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def where(self, key: str) -> str:
        """The place a value comes from, for messages."""
        origin = self.settings[key].origin
        return origin.detail if origin.explicit and not origin.pinned else str(origin)

    def with_values(self, kind: Any, values: Mapping[str, tuple[Any, str]]) -> Resolved:
        """A copy with values and reasons put in; what a person set stays as it is."""
        settings = dict(self.settings)
        for key, (value, reason) in values.items():
            if not (key in settings and settings[key].origin.explicit):
                settings[key] = Setting(value, Origin(kind, reason))
        return replace(self, settings=settings)

    def with_edits(self, values: Mapping[str, tuple[Any, str]]) -> Resolved:
        """A copy in which a person's own values give way where they differ: what `--fit` was asked to do."""
        settings = dict(self.settings)
        for key, (value, reason) in values.items():
            if value != settings[key].value:
                settings[key] = Setting(value, Origin("plan", f"--fit: {reason}"))
        return replace(self, settings=settings)


def resolve(
    recipe: Recipe,
    section: Section,
    *,
    overrides: Mapping[str, tuple[Any, str]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Resolved:
    """Merge and check one section.

    Raises:
        RecipeErrors: every value of the wrong type or out of bounds and every unknown override, at once.
    """
    asked, notices, problems = _collect(recipe, section, overrides or {}, environ or os.environ)
    typed, wrong = _typed(section.stage, asked)
    for key, reason in wrong.items():
        fix = _mend(section.stage, key)
        problems.append(RecipeError(f"`{key}` {reason}", where=asked[key][1].detail, fix=fix))
    if problems:
        raise problems[0] if len(problems) == 1 else RecipeErrors(problems)
    settings = defaults_of(section.stage)
    settings.update({key: Setting(value, asked[key][1]) for key, value in typed.items()})
    return Resolved(recipe.name, section.name, section.stage, settings, tuple(notices))


def _mend(stage: str, key: str) -> str:
    """What to write instead of a wrong value: the default as an example, and where more is said."""
    if key in SECRET:
        return "leave it out: hf auth login, or export HF_TOKEN"
    default = defaults_of(stage)[key].value
    if default is None or default == "" or default == []:
        return f"openr1 configs explain {key}"
    text = json.dumps(default, ensure_ascii=False) if isinstance(default, (list, dict, bool)) else default
    return f"for example `{key}: {text}`, the default; more: openr1 configs explain {key}"


def defaults_of(stage: str) -> dict[str, Setting]:
    """Every key of a stage at its default: openr1's own fields, TRL's, and what openr1 sets otherwise."""
    settings = {k: Setting(v, Origin("default", "openr1")) for k, v in own_defaults(stage).items()}
    for name, known in fields_of(stage).items():
        if name not in settings:  # `reward_funcs` is TRL's name and our list
            settings[name] = Setting(known.default, Origin("default", "TRL"))
    for key, (value, why) in OURS[stage].items():
        settings[key] = Setting(value, Origin("default", f"openr1: {why}"))
    return settings


_Asked = dict[str, tuple[Loaded, Origin]]


def _collect(
    recipe: Recipe, section: Section, overrides: Mapping[str, tuple[Any, str]], environ: Mapping[str, str]
) -> tuple[_Asked, list[str], list[RecipeError]]:
    """What was asked for, lowest precedence first, each with its origin."""
    from openr1.config.yaml_file import scalar

    known = keys_of(section.stage)
    asked: _Asked = {}
    if section.old:
        for key, pin in section.old.pins.items():
            asked[key] = (Loaded(pin.value, 0), Origin(section.old.vintage.name, pin.why))
    for source in (recipe.shared, section.values):
        for key, loaded in source.items():
            if key in known:
                asked[key] = (loaded, Origin("recipe", recipe.place(loaded.line)))
    notices = [*section.old.notices] if section.old else []
    for variable in sorted(v for v in environ if v.startswith("OPENR1_") and v not in RESERVED_ENV):
        key = variable.removeprefix("OPENR1_").lower()
        if key in known:
            text = environ[variable]
            asked[key] = (Loaded(scalar(text), 0, text), Origin("environment", variable))
        elif key not in set().union(*(keys_of(s) for s in ("sft", "grpo", "eval", "generate"))):
            near = nearest(key, known)
            hint = f"; did you mean OPENR1_{near.upper()}?" if near else ""
            notices.append(f"the environment variable {variable} names no key and is not used{hint}")
    problems: list[RecipeError] = []
    for key, (value, text) in overrides.items():
        if key in known:
            asked[key] = (Loaded(value, 0, text), Origin("command line", f"--{key}"))
        else:
            problems.append(
                RecipeError(
                    f"unknown option `--{key}`",
                    where="the command line",
                    fix=explain_unknown(key, section.stage),
                )
            )
    return asked, notices, problems


def _typed(stage: str, asked: _Asked) -> tuple[dict[str, Any], dict[str, str]]:
    """The asked values in their types, and what is wrong with the others, in words."""
    upstream, ours = fields_of(stage), own_fields(stage)
    typed: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    own_values = {}
    for key, (loaded, _) in asked.items():
        value = plain(loaded)
        if key in SECRET and value:
            wrong[key] = "is a secret, and values are written to the run's files: hf auth login, or HF_TOKEN"
            continue
        if key in ours:
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            text = number or (key == "prompt_template" and isinstance(value, dict))  # `{prompt}`
            own_values[key] = loaded.raw if text and loaded.raw and key in own_texts(stage) else value
            continue
        try:
            typed[key] = upstream[key].check(value, loaded.raw)
        except ValueError as error:
            wrong[key] = str(error)
            continue
        reason = out_of_bounds(key, typed[key]) or unusable(key, typed[key])
        if reason:
            wrong[key] = reason
    if not set(wrong) & {"lr_scheduler_kwargs", "lr_scheduler_type"}:
        wrong |= contradictions(typed)
    good, bad = check_own(stage, own_values)
    return typed | good, wrong | bad


def as_dict(resolved: Resolved) -> dict[str, Any]:
    """The resolved section as JSON: every key with value and origin."""
    return {
        "recipe": resolved.recipe,
        "section": resolved.name,
        "stage": resolved.stage,
        "hash": resolved.hash,
        "parents": resolved.parents,
        "values": {
            key: {"value": setting.value, "origin": str(setting.origin)}
            for key, setting in sorted(resolved.settings.items())
        },
        "notices": list(resolved.notices),
    }
