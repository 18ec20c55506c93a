"""TRL's and transformers' own fields, by stage, without importing them.

The file behind this, `trl_fields.json`, is written by `openr1.training.catalogue` from the installed TRL.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

TRAINING_STAGES = ("sft", "grpo")


@dataclass(frozen=True)
class Field:
    """One upstream field: the kinds of value it takes, its choices and its default."""

    name: str
    kinds: tuple[str, ...]
    choices: tuple[Any, ...] | None
    default: Any
    help: str

    def check(self, value: Any, raw: str | None = None) -> Any:
        """The value in the field's type.

        Args:
            value: what the YAML or the command line holds.
            raw: the scalar as typed, so that `revision: 1.0` stays the text "1.0".

        Raises:
            ValueError: in words, when the value has none of the field's kinds or is not a choice.
        """
        for kind in self.kinds:
            if kind == "str" and not isinstance(value, str) and set(self.kinds) - {"str", "none"}:
                continue  # a number is text only where nothing but text is wanted
            try:
                found = _convert(kind, value, raw)
            except ValueError:
                continue
            if self.choices is not None and found is not None and found not in self.choices:
                raise ValueError(f"must be one of {', '.join(map(str, self.choices))}")
            return found
        raise ValueError(f"must be {describe(self.kinds)}, not {in_words(value)}")


def describe(kinds: tuple[str, ...]) -> str:
    """`("int", "none")` as words for a message: "a whole number or null"."""
    words = {
        "bool": "true or false",
        "int": "a whole number",
        "float": "a number",
        "str": "text",
        "dict": "a map",
        "list": "a list",
        "list[str]": "a list of texts",
        "list[float]": "a list of numbers",
        "list[int]": "a list of whole numbers",
        "none": "null",
        "any": "anything",
    }
    return " or ".join(words[k] for k in kinds)


def in_words(value: Any) -> str:
    """A wrong value as a message names it."""
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    return json.dumps(value) if isinstance(value, bool) or value is None else repr(value)


def _convert(kind: str, value: Any, raw: str | None) -> Any:
    """`value` as `kind`, or ValueError. Never turns a truth value into a number or the other way round."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "any":
        return value
    if kind == "none" and value is None:
        return None
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "int" and is_number and math.isfinite(value) and int(value) == value:
        return int(value)
    if kind == "float" and is_number and math.isfinite(value):
        return float(value)
    if kind == "str" and value is not None and not isinstance(value, (dict, list, bool)):
        return value if isinstance(value, str) else (raw or str(value))
    if kind == "dict" and isinstance(value, dict):
        return value
    if kind == "list" and isinstance(value, list):
        return value
    if kind.startswith("list["):
        items = value if isinstance(value, list) else [value]
        if value is not None and not isinstance(value, dict):
            return [_convert(kind[5:-1], item, None) for item in items]
    raise ValueError(kind)


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    text = (Path(__file__).parent / "trl_fields.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@lru_cache(maxsize=4)
def fields_of(stage: str) -> dict[str, Field]:
    """The upstream fields a training stage knows; empty for stages that are ours alone."""
    if stage not in TRAINING_STAGES:
        return {}
    found = {}
    for name, by_stage in _file()["fields"].items():
        entry = by_stage.get(stage) or by_stage.get("both")
        if entry:
            choices = tuple(entry["choices"]) if entry["choices"] else None
            found[name] = Field(name, tuple(entry["kinds"]), choices, entry["default"], entry["help"])
    return found


def made_from() -> dict[str, str]:
    """The versions of TRL and transformers the catalogue was taken from."""
    return dict(_file()["made_from"])
