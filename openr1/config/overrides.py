"""`--key value`, `--key=value` and bare `--key` from the command line."""

from __future__ import annotations

import re

from openr1.config.yaml_file import scalar
from openr1.errors import UsageError

COUNTS = ("check_rewards", "show_samples")  # take a number or nothing
SWITCHES = ("no_sample",)


def parse_overrides(words: list[str]) -> tuple[list[str], dict[str, tuple[object, str]]]:
    """Sort command line words into plain ones and overrides.

    `--key value` takes the next word, unless that begins with `--` (write `--key=--value` for the rare
    value that does) or the key is a switch and the word is neither true nor false. Dashes inside a key count
    as underscores.

    Returns:
        The plain words, and key -> (value, the text as typed).

    Raises:
        UsageError: one key given two different values, an empty `--`, or a short option like `-x`.
    """
    plain: list[str] = []
    found: dict[str, tuple[object, str]] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            if re.match("-[A-Za-z]", word):
                raise UsageError(
                    f"unknown option `{word}`",
                    where="the command line",
                    fix="options are written --key value",
                )
            plain.append(word)
            continue
        name, equals, text = word[2:].partition("=")
        if not name:
            raise UsageError("`--` alone says nothing", fix="overrides are written --key value")
        key = name.replace("-", "_")
        if not equals:
            text = rest.pop(0) if rest and _is_value(key, rest[0]) else "true"
        if key in found and found[key][1] != text:
            raise UsageError(
                f"`--{name}` is given twice: {found[key][1]} and {text}",
                where="the command line",
                fix="keep one of them",
            )
        found[key] = (scalar(text), text)
    return plain, found


def _is_value(key: str, word: str) -> bool:
    """True when a word after `--key` is its value."""
    if word.startswith("--"):
        return False
    if key in COUNTS:
        return word.isdigit()
    return word.lower() in ("true", "false", "null") or not _is_switch(key.rpartition(".")[2])


def _is_switch(key: str) -> bool:
    from openr1.config.catalogue import TRAINING_STAGES, fields_of

    if key in SWITCHES:
        return True
    key = key.removeprefix("no_")  # is refused, with the right spelling; the next word is not its value
    kinds = [fields_of(stage)[key].kinds for stage in TRAINING_STAGES if key in fields_of(stage)]
    return bool(kinds) and all(set(k) <= {"bool", "none"} for k in kinds)
