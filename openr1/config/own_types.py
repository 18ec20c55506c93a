"""The types of openr1's own fields in words, bounds included, read from their schema."""

from __future__ import annotations

import functools
from typing import Any

from openr1.config.schema import OWN

_WORDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "object": "a map",
    "null": "null",
}


@functools.lru_cache(maxsize=8)
def own_types(stage: str) -> dict[str, str]:
    """Our field names of a stage as a recipe spells them, with their types: "a whole number (1 or more)"."""
    properties = OWN[stage].model_json_schema(by_alias=True)["properties"]
    return {name: _words(found) for name, found in properties.items()}


def _words(found: dict[str, Any]) -> str:
    if "anyOf" in found:
        return " or ".join(_words(one) for one in found["anyOf"])
    if "const" in found:
        return str(found["const"])
    if "enum" in found:
        return "one of " + ", ".join(map(str, found["enum"]))
    kind = found.get("type", "")
    if kind == "array":
        items = found.get("items") or {}
        return f"a list ({_words(items)})" if items else "a list"
    return _WORDS.get(kind, "a map") + _bounds(found)


def _bounds(found: dict[str, Any]) -> str:
    least, above = found.get("minimum"), found.get("exclusiveMinimum")
    most = found.get("maximum")
    parts = [f"{least:g} or more"] if least is not None else [f"above {above:g}"] if above is not None else []
    parts += [f"at most {most:g}"] if most is not None else []
    return f" ({', '.join(parts)})" if parts else ""
