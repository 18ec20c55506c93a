"""A section's values, checked: their types, bounds and what they mean together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from openr1.config.bounds import out_of_bounds
from openr1.config.catalogue import fields_of
from openr1.config.defaults import OURS
from openr1.config.origins import Origin, Setting
from openr1.config.schema import check_own, own_defaults, own_fields, own_texts
from openr1.config.values import contradictions, unusable
from openr1.config.yaml_file import Loaded, plain

SECRET = {"hub_token"}
# Text that is meant as a truth value: YAML 1.1's words, which TRL's own parser takes, and quoted ones.
SWITCHES = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
SWITCHES |= {"true": "true", "false": "false"}


def checked(stage: str, asked: Mapping[str, Loaded]) -> tuple[dict[str, Any], dict[str, str]]:
    """The asked values in their types, and what is wrong with the others, in words."""
    upstream, ours = fields_of(stage), own_fields(stage)
    typed: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    own_values = {}
    for key, loaded in asked.items():
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


def mend(stage: str, key: str, given: Loaded) -> str:
    """What to write instead of a wrong value: the default as an example, and where more is said."""
    if key in SECRET:
        return "leave it out: hf auth login, or export HF_TOKEN"
    default = defaults_of(stage)[key].value
    switch = SWITCHES.get(given.value.lower()) if isinstance(given.value, str) else None
    is_switch = isinstance(default, bool) or "bool" in getattr(fields_of(stage).get(key), "kinds", ())
    if switch and is_switch:
        return f"write `{key}: {switch}`, without quotes; `{given.value}` is text here"
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
