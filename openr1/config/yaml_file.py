"""A YAML file as plain values with the line each one stands on.

YAML 1.2's meaning for scalars (PyYAML's own is 1.1, where `1e-5` is text and `no` is false), duplicate
keys refused, anchors allowed, no tag beyond the plain ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from openr1.errors import RecipeError

MAX_BYTES = 1_000_000
TOO_DEEP = "the values are nested too deeply"


@dataclass(frozen=True)
class Loaded:
    """A value, the line it stands on, and the scalar as it was typed."""

    value: Any
    line: int
    raw: str | None = None


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema of YAML 1.2 (section 10.3) in place of YAML 1.1's scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def scalar(text: str) -> Any:
    """One value as typed on a command line: YAML, so `1e-5` is a number and `[a, b]` a list.

    Text that is no valid YAML (a reward with a colon, a prompt) is taken as it stands.
    """
    if not text:
        return ""
    try:
        node = yaml.compose(text, Loader=_Loader)
        plain_text = isinstance(node, yaml.ScalarNode) and node.style is None
        if plain_text and ("\n" in text or " #" in text):
            return text  # YAML would fold its lines and drop what follows a `#`; nobody types a comment
        return None if node is None else _Builder("the command line").build(node)
    except (yaml.YAMLError, RecipeError, ValueError):
        return text


def load(path: Path) -> dict[str, Loaded]:
    """The top level of a recipe file; values that are maps hold `Loaded` values again.

    Raises:
        RecipeError: when the file is missing, a directory, unreadable, binary, empty, too large, no valid
            YAML, has a key twice, or is not a map; each says where.
    """
    text = read_text(path)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise _no_yaml(error.problem or error.context or "", f"{path}:{line}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"not valid YAML: {str(error).splitlines()[0]}", where=str(path)) from None
    except RecursionError:
        raise RecipeError(TOO_DEEP, where=str(path), fix="a recipe is two levels deep") from None
    if node is None:
        raise RecipeError(
            "the recipe is empty",
            where=str(path),
            fix="write its keys as `key: value` lines; openr1 sft tiny-cpu --dry-run shows a whole one",
        )
    if not isinstance(node, yaml.MappingNode):
        kind = "list" if isinstance(node, yaml.SequenceNode) else "single value"
        raise RecipeError(
            f"a recipe is a map of `key: value` lines; this file holds a {kind}",
            where=f"{path}:{node.start_mark.line + 1}",
            fix="remove the leading dashes, or name another file",
        )
    try:
        return _Builder(str(path)).top(node)
    except RecursionError:
        raise RecipeError(TOO_DEEP, where=str(path), fix="a recipe is two levels deep") from None


def _no_yaml(problem: str, where: str) -> RecipeError:
    """The parser's words; the two mistakes that it has no good words for in ours."""
    if r"\t" in problem:
        return RecipeError(
            "not valid YAML: a tab stands where the indentation is", where=where, fix="indent with spaces"
        )
    if "another document" in problem:
        return RecipeError(
            "a second YAML document begins here, and a recipe is one",
            where=where,
            fix="remove the `---`, or put what follows into a file of its own",
        )
    return RecipeError(
        f"not valid YAML: {problem}", where=where, fix="check the indentation and the quotes around that line"
    )


def read_text(path: Path) -> str:
    """A recipe file's text.

    Raises:
        RecipeError: it is missing, a directory, unreadable, binary or too large.
    """
    if path.is_dir():
        raise RecipeError("this is a directory, not a recipe", where=str(path), fix="name a .yaml file in it")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RecipeError(
                f"{size / 1e6:.0f} MB is too large for a recipe", where=str(path), fix="is this a data file?"
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise RecipeError(
            "no such file", where=str(path), fix="check the path; shipped recipes go by name, e.g. tiny-cpu"
        ) from None
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RecipeError(
            "not a text file (a recipe is UTF-8 YAML)", where=f"{path}:{line}", fix="name a .yaml file"
        ) from None
    if "\x00" in text:
        raise RecipeError("not a text file (it holds zero bytes)", where=str(path), fix="name a .yaml file")
    return text


class _Builder:
    """Turns composed nodes into values. What an alias shares is built once, so an alias bomb is cheap."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.built: dict[int, Any] = {}
        self.open: set[int] = set()
        self.constructor = _Loader("")

    def top(self, node: yaml.MappingNode) -> dict[str, Loaded]:
        self.refuse_tag(node)
        found = {}
        for key, value in self.pairs(node):
            line = (
                value.start_mark.line + 1 if isinstance(value, yaml.ScalarNode) else key.start_mark.line + 1
            )
            raw = value.value if isinstance(value, yaml.ScalarNode) else None
            built = self.top(value) if isinstance(value, yaml.MappingNode) else self.build(value)
            found[key.value] = Loaded(built, line, raw)
        return found

    def pairs(self, node: yaml.MappingNode) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """The map's entries; refuses keys that are not text or stand twice."""
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError(
                    "a key must be a plain word",
                    where=f"{self.name}:{line}",
                    fix="write it as `key: value`; a list or a map is no key",
                )
            if key.value == "<<":
                raise RecipeError(
                    "merge keys (<<) are not part of YAML 1.2",
                    where=f"{self.name}:{line}",
                    fix="write the keys out, or share them at the top level of the recipe",
                )
            if key.value in first:
                raise RecipeError(
                    f"the key `{key.value}` stands twice (first on line {first[key.value]})",
                    where=f"{self.name}:{line}",
                    fix="keep one of the two",
                )
            first[key.value] = line
        return list(node.value)

    def build(self, node: yaml.Node) -> Any:
        if id(node) in self.open:
            raise RecipeError(
                "an anchor holds itself",
                where=f"{self.name}:{node.start_mark.line + 1}",
                fix="write the value out",
            )
        if id(node) not in self.built:
            self.open.add(id(node))
            self.built[id(node)] = self._build(node)
            self.open.discard(id(node))
        return self.built[id(node)]

    def refuse_tag(self, node: yaml.Node) -> str:
        """The plain kind of a node; a tag of any other kind is refused and executes nothing."""
        plain = node.tag.removeprefix("tag:yaml.org,2002:")
        if plain not in ("bool", "null", "int", "float", "str", "seq", "map"):
            raise RecipeError(
                f"the tag {node.tag} is not allowed in a recipe",
                where=f"{self.name}:{node.start_mark.line + 1}",
                fix="write the value without a tag",
            )
        return plain

    def _build(self, node: yaml.Node) -> Any:
        plain = self.refuse_tag(node)
        if isinstance(node, yaml.MappingNode):
            return {key.value: self.build(value) for key, value in self.pairs(node)}
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item) for item in node.value]
        if plain == "int":  # PyYAML's constructor would read 010 as octal, as YAML 1.1 does
            base = {"0o": 8, "0x": 16}.get(node.value[:2], 10)
            return int(node.value[2:] if base != 10 else node.value, base)
        if plain == "float":
            return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return self.constructor.construct_object(node)


def plain(value: Any) -> Any:
    """A loaded value without its lines: nested `Loaded` maps become plain maps."""
    if isinstance(value, Loaded):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
