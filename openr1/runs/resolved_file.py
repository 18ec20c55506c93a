"""resolved.yaml: every value of a run with its origin as a comment. The children read exactly this file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from openr1.config.origins import Setting
from openr1.config.resolve import Resolved
from openr1.runs.files import write_whole


def render(resolved: Resolved, plan: dict[str, Any] | None = None) -> str:
    """The file's text: head, the values that were set or planned, then the defaults."""
    set_here = {k: s for k, s in resolved.settings.items() if s.origin.kind != "default"}
    rest = {k: s for k, s in resolved.settings.items() if k not in set_here}
    lines = [
        f"# {resolved.recipe} · section {resolved.name} · {resolved.hash}",
        "# Written by openr1; the training process reads this file. To change a run, change its recipe.",
        f"recipe: {json.dumps(resolved.recipe)}",
        f"section: {json.dumps(resolved.name)}",
        f"stage: {json.dumps(resolved.stage)}",
        f"hash: {json.dumps(resolved.hash)}",
        f"parents: {json.dumps(resolved.parents)}",
        f"plan: {json.dumps(plan or {}, default=str)}",
        "values:",
        *_rows(set_here),
        "  # not set: defaults",
        *_rows(rest),
    ]
    return "\n".join(lines) + "\n"


def _rows(settings: dict[str, Setting]) -> list[str]:
    """Values as JSON, which is YAML too: one line each, whatever they hold."""
    rows = []
    for key, setting in sorted(settings.items()):
        value = _json(setting.value)
        origin = str(setting.origin).replace("\n", " ")
        rows.append(f"  {key}: {value}  # {origin}")
    return rows


def _json(value: Any) -> str:
    """One line of JSON; the characters that only YAML takes for line breaks are escaped."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return re.sub("[\x7f-\xa0\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def write(path: Path, resolved: Resolved, plan: dict[str, Any] | None = None) -> None:
    write_whole(path, render(resolved, plan))


def read(path: Path) -> dict[str, Any]:
    """The file as a child needs it: recipe, section, stage, hash, parents, plan, values.

    Every value was written as JSON on one line and is read as JSON: `1e-05` is text in YAML 1.1.
    """
    top: dict[str, Any] = {}
    values: dict[str, Any] = {}
    decoder = json.JSONDecoder()
    for line in path.read_text(encoding="utf-8").split("\n"):
        key, _, rest = line.strip().partition(": ")
        if rest and not key.startswith("#"):
            (values if line.startswith("  ") else top)[key] = decoder.raw_decode(rest)[0]
    return {**top, "values": values}


def settings(path: Path) -> tuple[dict[str, Any], list[tuple[str, Any, str]]]:
    """The file as a report shows it: its head (recipe, stage, plan, …), and (key, value, origin) in order.

    Lines that are cut off or no JSON are passed over: a run may have been killed at any moment.
    """
    head: dict[str, Any] = {}
    found: list[tuple[str, Any, str]] = []
    decoder = json.JSONDecoder()
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        key, _, rest = line.strip().partition(": ")
        if not rest or key.startswith("#"):
            continue
        try:
            value, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            continue
        if line.startswith("  "):
            found.append((key, value, rest[end:].strip().removeprefix("#").strip()))
        else:
            head[key] = value
    return head, found
