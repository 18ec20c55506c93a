"""An old flat file, written as a recipe with sections: the same values, and comments on what changed."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from openr1.config.legacy import Fact, Translation
from openr1.config.recipe import Section, flat_stage, parse
from openr1.config.yaml_file import Loaded, plain, scalar
from openr1.errors import UsageError

PLAIN = re.compile(r"(?!(?i:no|yes|on|off)$)[\w./+-][\w./+@=-]*")  # text that any YAML takes as it stands
COMMENT_COLUMN = 44
WIDTH = 110


def migrate(path: Path) -> str:
    """The file in today's form. It parses, and resolves to the values that the old file resolves to.

    Tokens and environment variables are left out; the old file's own comments are not taken over.

    Raises:
        RecipeError: the file is no recipe.
        UsageError: it has sections already.
    """
    stage = flat_stage(path)
    if stage is None:
        raise UsageError(
            "this recipe has sections: there is nothing to migrate",
            where=str(path),
            fix=f"openr1 pipeline {path} --dry-run shows what it does",
        )
    (section,) = parse(path, stage).sections
    lines = [*_head(path, section), "", f"{stage}:"]
    about: dict[str, list[str]] = {}
    for fact in section.old.facts if section.old else ():
        if fact.to:
            about.setdefault(fact.to, []).append(_about(fact))
    lines += [_line(key, _written(loaded), about.get(key)) for key, loaded in section.values.items()]
    if section.old and section.old.pins:
        lines += [
            "",
            f"  # not in the old file: defaults of {section.old.vintage.name} that are others today",
        ]
        lines += [_line(key, _text(pin.value), [pin.why]) for key, pin in section.old.pins.items()]
    return "\n".join(lines) + "\n"


def _head(path: Path, section: Section) -> list[str]:
    old = section.old
    what = f"a file of {old.vintage.name}" if old else "a flat file"
    lines = [
        f"# {path.stem}: migrated from {what}.",
        "#",
        f"# start    openr1 {section.stage} FILE{_flags(old)}",
    ]
    if old and old.generate:  # on one line, to copy
        command = f"openr1 generate {path.name}   tells the command" if "\n" in old.generate else old.generate
        lines += ["# filter   what the old file was for, which trains nothing:", f"#   {command}"]
    gone = [fact for fact in old.facts if fact.to is None] if old else []
    if gone:
        lines += ["#", "# What the old file set and this one does not:"]
        for fact in gone:
            lines += _comment(f"  {fact.key}: {fact.shown}  {fact.says}", "", "      ")
    return lines


def _comment(text: str, indent: str, hanging: str = "") -> list[str]:
    """A comment on lines of a page's width."""
    before = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.lstrip(),
        WIDTH,
        initial_indent=f"{indent}# {before}",
        subsequent_indent=f"{indent}# {before}{hanging}",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _flags(old: Translation | None) -> str:
    return f" --gpus {old.gpus}    ({old.gpus} train, one more serves vLLM)" if old and old.gpus else ""


def _about(fact: Fact) -> str:
    return f"{fact.key}: {fact.says}" if fact.key != fact.to else fact.says


def _line(key: str, text: str, comments: list[str] | None) -> str:
    line = f"  {key}: {text}"
    if not comments:
        return line
    # Beside a long value a comment would not be seen, and a long one is hard to read: it goes above.
    comment = "; ".join(comments)
    beside = f"{line:<{COMMENT_COLUMN}} # {comment}"
    if len(line) >= COMMENT_COLUMN or len(beside) > WIDTH:
        return "\n".join([*_comment(comment, "  "), line])
    return beside


def _written(loaded: Loaded) -> str:
    """The value as the old file spells it, where that reads the same."""
    if loaded.raw is not None and PLAIN.fullmatch(loaded.raw) and _same(scalar(loaded.raw), loaded.value):
        return loaded.raw
    return _text(plain(loaded))


def _text(value: Any) -> str:
    """A value as YAML on one line; JSON where text has to be quoted."""
    if isinstance(value, str) and PLAIN.fullmatch(value) and _same(scalar(value), value):
        return value
    if isinstance(value, list):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_text(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other
