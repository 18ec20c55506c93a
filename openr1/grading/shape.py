r"""The outer form of an answer: a list, a set, a tuple, a union, a time, a quantity, or one expression.

Deciding the form on the text keeps a set apart from a tuple and compares lists element by element,
which a parser that folds everything into one algebra does not always do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .latex import encloses, normalise, split_top, squeeze
from .units import split_unit

_COMMA = re.compile(
    r"\s*[,;]\s*(?:(?:and|or)\s+|\\text\s*\{\s*(?:and|or)\s*\}\s*)?|\s+(?:and|or)\s+"
    r"|\s*\\text\s*\{\s*,?\s*(?:and|or)\s*\}\s*"
)
THOUSANDS = re.compile(r"[-+]?\s*\d{1,3}(?:,\d{3})+(?:\.\d+)?(?:\s*%)?")
_ASSIGN = re.compile(
    r"^\s*((?:\\?[A-Za-z]+(?:_\{?\w+\}?)?'?)(?:\([A-Za-z, ]*\))?)\s*(?:=|:=|\\in(?![A-Za-z]))\s*(?=\S)"
)
_MATRIX = re.compile(r"\\begin\s*\{([pb]?matrix)\}(.*)\\end\s*\{\1\}", re.DOTALL)
_NOT_A_NAME = re.compile(r"\\(?:sin|cos|tan|log|ln|sqrt|frac|pi)")
_CLOCK = re.compile(
    r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(?:\\text\s*\{)?\s*([ap])?\.?\s*(?:m\.?)?\s*\}?", re.IGNORECASE
)
TEXT_GROUP = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mbox|mathbf|operatorname)\s*\{([^{}]*)\}")
_WORD = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*(?: [^\W\d_]+(?:['’.-][^\W\d_]+)*){0,2}")
_FUNCTIONS = frozenset(
    ["sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "sqrt", "pi", "min", "max", "lim"]
)


@dataclass(frozen=True)
class Leaf:
    """One expression without outer structure."""

    text: str


@dataclass(frozen=True)
class Many:
    """Several parts.

    Args:
        kind: `"list"` (no brackets, any order), `"set"` (braces, any order), `"tuple"`, or `"matrix"`, whose
            parts are its rows.
        parts: the elements.
        brackets: the opening and closing bracket of a tuple or interval, else empty.
    """

    kind: str
    parts: tuple[Shape, ...]
    brackets: str = ""


@dataclass(frozen=True)
class Clock:
    """A time of day; `half` is `"a"`, `"p"` or empty when not said."""

    hours: int
    minutes: int
    seconds: int
    half: str


@dataclass(frozen=True)
class Quantity:
    """An expression with a unit, in one spelling of the unit."""

    value: Shape
    unit: str


@dataclass(frozen=True)
class Word:
    """An answer in words: a weekday, a direction, yes or no, a choice letter."""

    text: str


@dataclass(frozen=True)
class Named:
    """`x = value`; compared by value, with the name only where both sides have one."""

    name: str
    value: Shape
    whole: str


Shape = Leaf | Many | Clock | Quantity | Word | Named


def shape_of(text: str, depth: int = 0) -> Shape:
    """The outer form of a normalised answer.

    Elements of lists, sets and tuples are shaped in turn; `±` becomes the list of its two values.
    """
    text = text.strip()
    if depth > 6:
        return Leaf(text)
    clock = _clock(text)
    if clock:
        return clock
    word = _word(text)
    if word:
        return word
    named = _ASSIGN.match(text)
    if named and not _NOT_A_NAME.match(named.group(1)) and "=" not in text[named.end() :]:
        return Named(squeeze(named.group(1)), shape_of(text[named.end() :], depth + 1), text)
    if THOUSANDS.fullmatch(text):
        return Leaf(text.replace(",", ""))
    value, unit = split_unit(text)
    if unit and THOUSANDS.fullmatch(value):  # 1,234 cm is no list
        return Quantity(Leaf(value.replace(",", "")), unit)
    parts = split_top(text, _COMMA)
    if len(parts) > 1 and all(p.strip() for p in parts):
        return _many("list", parts, "", depth)
    return _bracketed(text, depth) or _single(text, depth)


def _bracketed(text: str, depth: int) -> Shape | None:
    """A matrix, set, tuple or interval whose brackets enclose the whole text."""
    matrix = _MATRIX.fullmatch(text)
    if matrix and r"\begin" not in matrix.group(2):
        rows = [row.split("&") for row in re.split(r"\\\\", matrix.group(2)) if row.strip()]
        return Many("matrix", tuple(_many("tuple", row, "()", depth + 1) for row in rows))
    if text.startswith(r"\{") and text.endswith(r"\}"):
        inner = text[2:-2]
        if r"\}" not in inner.split(r"\{")[0] and not re.search(r"\\mid(?![A-Za-z])|\||:", inner):
            return _many("set", split_top(inner, _COMMA), "", depth)
        return None
    if not encloses(text):
        return None
    inner = text[1:-1]
    parts = split_top(inner, _COMMA)
    if len(parts) > 1:
        if text[0] == "{" and THOUSANDS.fullmatch(split_unit(inner)[0]):
            return shape_of(inner, depth + 1)
        if text[0] == "{":
            return _many("set", parts, "", depth)
        return _many("tuple", parts, text[0] + text[-1], depth)
    if text[0] in "({" and text[-1] in ")}" and inner.strip():
        return shape_of(inner, depth + 1)
    return None


def _many(kind: str, parts: list[str], brackets: str, depth: int) -> Many:
    shaped: list[Shape] = []
    for part in parts:
        if not part.strip():
            continue
        shape = shape_of(part, depth + 1)
        if isinstance(shape, Many) and shape.kind == "list" and kind != "tuple":
            shaped.extend(shape.parts)  # ± inside a list or set
        else:
            shaped.append(shape)
    return Many(kind, tuple(shaped), brackets)


def _single(text: str, depth: int) -> Shape:
    if r"\pm" in text or r"\mp" in text:
        plus = re.sub(r"\\pm\s*", "+", text).replace(r"\mp", "-")
        minus = re.sub(r"\\pm\s*", "-", text).replace(r"\mp", "+")
        ends = [re.sub(r"^\s*\+", "", normalise(t)) for t in (plus, minus)]
        return Many("list", tuple(shape_of(t, depth + 1) for t in ends))
    value, unit = split_unit(text)
    if unit:
        return Quantity(shape_of(value, depth + 1), unit)
    return Leaf(value)


def _clock(text: str) -> Clock | None:
    match = _CLOCK.fullmatch(text)
    if not match or int(match.group(1)) > 24 or int(match.group(2)) > 59:
        return None
    hours, minutes, seconds, half = match.groups()
    return Clock(int(hours), int(minutes), int(seconds or 0), (half or "").lower())


def _word(text: str) -> Word | None:
    """Words as an answer. One letter is a symbol, not a word, unless it is written as text or in brackets."""
    plain = TEXT_GROUP.sub(r"\1", text).strip().strip(".")
    if re.fullmatch(r"\(\s*[A-Z]\s*\)", plain):
        return Word(plain.strip("( )").lower())
    if len(plain) == 1 and plain.isalpha() and plain != text:
        return Word(plain.lower()) if plain.isupper() else None
    if len(plain) < 2 or not _WORD.fullmatch(plain) or plain.lower() in _FUNCTIONS or "\\" in plain:
        return None
    # xy, abc: a product of symbols rather than a word, unless written as text
    if plain == text and len(plain) < 3 and plain.lower() not in ("no", "up"):
        return None
    if re.search(r"(?:^|\s)(?:and|or)(?:\s|$)", plain):
        return None
    return Word(" ".join(plain.lower().split()))
