"""Write down the fields of the installed TRL, so that the parent can be strict without importing it.

    python -m openr1.training.catalogue [--check]

The result, `openr1/config/trl_fields.json`, is checked in; `nox -s catalogue` makes it anew and a test
fails when it no longer says what the installed TRL says.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib.metadata
import json
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "config" / "trl_fields.json"
# Texts of which TRL takes a few words only, and looks at them in the middle of the first step. They stand in
# its docstring; a test compares.
WORDS: dict[str, tuple[str, ...]] = {
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "scale_rewards": ("group", "batch", "none"),
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "vllm_mode": ("server", "colocate"),
    "vllm_model_impl": ("vllm", "transformers"),
    "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
}
KINDS = {bool: "bool", int: "int", float: "float", str: "str", dict: "dict", list: "list", type(None): "none"}


def kinds_of(annotation: Any) -> list[str]:
    """The plain kinds a YAML value for this annotation may have, e.g. `int | None` -> ["int", "none"].

    Enumerations count as the strings they are built from. Anything that a YAML file cannot hold is "any".
    """
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        found: list[str] = []
        for part in typing.get_args(annotation):
            found += [k for k in kinds_of(part) if k not in found]
        return found
    if origin is typing.Literal:
        return list(dict.fromkeys(KINDS[type(v)] for v in typing.get_args(annotation)))
    if origin in (list, tuple, set) or annotation in (list, tuple, set):
        inner = typing.get_args(annotation)
        plain = KINDS.get(inner[0]) if inner else None
        return [f"list[{plain}]" if plain in ("str", "int", "float") else "list"]
    if origin is dict:
        return ["dict"]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return ["str"]
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return ["dict"]
    return [KINDS.get(annotation, "any")]


def choices_of(annotation: Any, metadata: dict[str, Any]) -> list[Any] | None:
    """The values a field is limited to, or None when it is free."""
    if metadata.get("choices"):
        return list(metadata["choices"])
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    parts = typing.get_args(annotation) if union else (annotation,)
    # transformers writes `SaveStrategy | str`: the text is one that the enumeration is built from.
    has_enum = any(isinstance(part, type) and issubclass(part, enum.Enum) for part in parts)
    choices: list[Any] = []
    for part in parts:
        if isinstance(part, type) and issubclass(part, enum.Enum):
            choices += [member.value for member in part]
        elif typing.get_origin(part) is typing.Literal:
            choices += typing.get_args(part)
        elif part is not type(None) and not (has_enum and part is str):
            return None
    return choices or None


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A field's default as JSON; a factory's product; None where there is neither."""
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return None
    return value.value if isinstance(value, enum.Enum) else value


def first_sentence(help_text: str | None) -> str:
    """The first sentence of an upstream help text: enough for `--help`-like output, small enough to ship."""
    text = re.sub(r"\s+", " ", help_text or "").strip()
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`\[])", text, maxsplit=1)[0]


def collect() -> dict[str, Any]:
    """All fields of TRL's SFT and GRPO configurations, by name, with the stages that know them."""
    from trl import DatasetMixtureConfig, GRPOConfig, ModelConfig, ScriptArguments, SFTConfig
    from trl.scripts.grpo import GRPOScriptArguments

    stages = {
        "sft": (ScriptArguments, SFTConfig, ModelConfig, DatasetMixtureConfig),
        "grpo": (GRPOScriptArguments, GRPOConfig, ModelConfig, DatasetMixtureConfig),
    }
    fields: dict[str, dict[str, Any]] = {}
    for stage, classes in stages.items():
        for cls in classes:
            hints = typing.get_type_hints(cls)
            for field in dataclasses.fields(cls):
                if not field.init:
                    continue
                choices = choices_of(hints[field.name], dict(field.metadata))
                if choices is None and stage == "grpo":
                    choices = list(WORDS.get(field.name, ())) or None
                entry = {
                    "kinds": kinds_of(hints[field.name]),
                    "choices": choices,
                    "default": default_of(field),
                    "help": first_sentence(field.metadata.get("help")),
                }
                stages_of = fields.setdefault(field.name, {})
                # One entry where both stages agree; `loss_type`, say, has its own in each.
                if entry == stages_of.get("sft"):
                    stages_of["both"] = stages_of.pop("sft")
                else:
                    stages_of[stage] = entry
    versions = {name: importlib.metadata.version(name) for name in ("trl", "transformers")}
    return {"made_from": versions, "fields": dict(sorted(fields.items()))}


def main() -> int:
    text = json.dumps(collect(), indent=1, sort_keys=False, ensure_ascii=False, default=str) + "\n"
    if "--check" in sys.argv:
        same = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text
        print("up to date" if same else f"{TARGET.name} differs from the installed TRL: run nox -s catalogue")
        return 0 if same else 1
    TARGET.write_text(text, encoding="utf-8")
    print(f"wrote {TARGET.name}: {len(json.loads(text)['fields'])} fields")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
