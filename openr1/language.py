"""Messages in the reader's language.

Code speaks English. `messages_zh.yaml` maps an English message, with `{}` for a value, to the Chinese
one, with `{0}`, `{1}`, … for the values (`{[0]}`: the value is a label); a message without entry stays
English. The tests read the rooms whose messages a learner meets, and fail when one of them is missing.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path

LANGUAGES = ("en", "zh")


def language(environ: Mapping[str, str] | None = None) -> str:
    """`en` or `zh`: OPENR1_LANG, else the locale (LC_ALL, LC_MESSAGES, LANG, the first that is set)."""
    environ = os.environ if environ is None else environ
    for variable in ("OPENR1_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if environ.get(variable):
            return "zh" if environ[variable].lower().startswith("zh") else "en"
    return "en"


def translate(text: str, to: str | None = None) -> str:
    """A whole message in the reader's language; values in it are translated where they are messages too."""
    if (to or language()) == "en" or not text:
        return text
    for pattern, words in _patterns():
        found = pattern.fullmatch(text)
        if found:
            values = found.groups()

            def put(place: re.Match[str], values: tuple[str, ...] = values) -> str:
                value = values[int(place[2])]
                return label(value, to) if place[1] else translate(value, to)

            return _PLACE.sub(put, words)
    return _joined(text, to) or _counted(text)


def _joined(text: str, to: str | None) -> str | None:
    """`LoRA; a shorter length`: several messages in one, where all of them are known."""
    parts = text.split("; ")
    said = [translate(part, to) for part in parts] if len(parts) > 1 else []
    known = said and all(one != part for one, part in zip(said, parts, strict=True))
    return "；".join(said) if known else None


def _counted(text: str) -> str:
    """`weights 5.8, gradients 5.8`: labels with a number each; anything else as it is."""
    found = [_COUNT.fullmatch(item) for item in text.split(", ")]
    if not all(item and f"[{item[1]}]" in catalogue() for item in found):
        return text
    return "、".join(f"{catalogue()[f'[{item[1]}]']} {item[2]}" for item in found if item)


def label(text: str, to: str | None = None) -> str:
    """A label or a table's head, each of its lines.

    In the catalogue it stands in brackets, so that a word that is also a key's name ("model") is not
    translated where it is a value inside a message.
    """
    if (to or language()) == "en":
        return text
    known = catalogue()
    return "\n".join(known.get(f"[{line}]") or translate(line, to) for line in text.split("\n"))


_COUNTS = re.compile(r"(at )?(row|step) \{\}|\{\} [a-z ]{1,12}")
"""Templates of a count or a time and a word. Their value is a number: `prompts have at most 15 tokens` is
another sentence than `15 tokens`."""
_NUMBER = r"(\d(?:[\d,.– ]|min|[shd](?![a-z]))*)"
_COUNT = re.compile(r"(.+?) ([\d.,]+)")
_PLACE = re.compile(r"\{(\[?)(\d+)\]?\}")


@functools.lru_cache(maxsize=1)
def catalogue() -> dict[str, str]:
    """English template -> Chinese words."""
    import yaml

    path = Path(__file__).with_name("messages_zh.yaml")
    found: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


@functools.lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """The templates as patterns, those with most fixed text first: of two that match the closer is meant."""

    def fixed(template: str) -> int:
        return len(template.replace("{}", ""))

    ordered = sorted(catalogue().items(), key=lambda item: -fixed(item[0]))

    def pattern(template: str) -> re.Pattern[str]:
        place = _NUMBER if _COUNTS.fullmatch(template) else "(.*?)"
        return re.compile(re.escape(template).replace(r"\{\}", place), re.DOTALL)

    return [(pattern(template), words) for template, words in ordered]
