"""Is this answer the reference? The rules on form; single expressions are left to a `leaf` function.

The parent process passes a leaf function that knows only exact numbers and spelling and says None
where it does not know; the worker passes one backed by math-verify. Both walk the same rules, so a
fast answer is never another answer.

Decisions against math-verify (docs/rewards.md lists them with examples): lists are compared by element;
a set is no tuple; `±` is two values; exact numbers are compared exactly; times of day and units count.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .exact import read, same
from .latex import squeeze
from .shape import TEXT_GROUP, THOUSANDS, Clock, Leaf, Many, Named, Quantity, Shape, Word, shape_of

LeafEqual = Callable[[str, str], "bool | None"]
"""(gold, answer) → equal, different, or None for not known."""

_SET_LIKE = re.compile(r"[<>∈]|\\(?:le|ge|ne|in|cup|cap|mathbb|infty|setminus)(?![A-Za-z])|^[RNZQC]$")
_MATRIX = re.compile(r"\\begin|\^\{?T|^[A-Z]$|^I_")
_ABOUT = re.compile(r"\\(?:approx|sim|simeq)(?![A-Za-z])|≈")
_CHOICE = re.compile(r"\(?([A-F])\s*[).:]\s*(?=\S)")
MAX_PARTS = 30
"""Lists longer than this are compared in order only: matching in any order is quadratic."""


class GoldUnparsableError(Exception):
    """The reference expression cannot be parsed."""


def equal(gold: str, answer: str, leaf: LeafEqual) -> bool | None:
    """Compare two normalised answers; None when `leaf` could not decide what it was asked.

    Raises:
        GoldUnparsableError: from `leaf`.
        TooCostlyError: from `leaf`.
    """
    if squeeze(gold) == squeeze(answer):
        return True
    letters = _choice(gold), _choice(answer)
    if all(letters) and (len(gold) == 1 or len(answer) == 1):
        return letters[0] == letters[1]
    result = _equal(shape_of(gold), shape_of(answer), leaf)
    grouped = [bool(THOUSANDS.fullmatch(text)) for text in (gold, answer)]
    if result is False and grouped[0] != grouped[1]:
        # 100,200 may also be a list of two: read it that way once
        spaced = [t.replace(",", ", ") if g else t for t, g in zip((gold, answer), grouped, strict=True)]
        return _equal(shape_of(spaced[0]), shape_of(spaced[1]), leaf)
    return result


def _choice(text: str) -> str:
    """The letter of a choice: `C`, `(C)`, `(C) 5`, `\\textbf{(C)} 5`; empty for anything else."""
    plain = TEXT_GROUP.sub(r"\1 ", text).strip()
    if re.fullmatch(r"\(?[A-F][).:]?", plain):
        return plain.strip("().: ")
    found = _CHOICE.match(plain)
    return found.group(1) if found else ""


def leaves(text: str) -> list[str]:
    """The single expressions a normalised answer is made of; words and times of day have none."""

    def walk(shape: Shape) -> list[str]:
        if isinstance(shape, Leaf):
            return [shape.text]
        if isinstance(shape, Many):
            return [leaf for part in shape.parts for leaf in walk(part)]
        if isinstance(shape, Named | Quantity):
            return walk(shape.value)
        return []

    return [leaf for leaf in walk(shape_of(text)) if "..." not in leaf]


def known_leaf(gold: str, answer: str) -> bool | None:
    """What spelling and exact arithmetic can say about two expressions.

    Raises:
        TooCostlyError: one of them is a number too large to be meant.
    """
    if squeeze(gold) == squeeze(answer):
        return True
    a, b = read(gold), read(answer)
    if a is not None and b is not None:
        return same(a, b)
    if (a is not None and _SET_LIKE.search(answer)) or (b is not None and _SET_LIKE.search(gold)):
        return False  # a number is no set and no inequality
    if len(gold) == 1 and len(answer) == 1 and gold.isalpha() and answer.isalpha():
        return False
    return None


def _equal(gold: Shape, answer: Shape, leaf: LeafEqual) -> bool | None:
    if isinstance(gold, Named) or isinstance(answer, Named):
        return _named(gold, answer, leaf)
    if isinstance(gold, Clock) or isinstance(answer, Clock):
        return _clocks(gold, answer)
    if isinstance(gold, Quantity) or isinstance(answer, Quantity):
        return _quantities(gold, answer, leaf)
    if isinstance(gold, Word) or isinstance(answer, Word):
        return _words(gold, answer)
    if isinstance(gold, Many) or isinstance(answer, Many):
        return _manys(gold, answer, leaf)
    return _leaves(gold.text, answer.text, leaf)


def _leaves(gold: str, answer: str, leaf: LeafEqual) -> bool | None:
    """Single expressions; of `7/2 = 3.5` the last side counts, of `22/7 ≈ 3.14` either."""
    if "=" in answer and "=" not in gold:
        answer = answer.rsplit("=", 1)[1].strip() or answer
    if _ABOUT.search(answer) and not _ABOUT.search(gold):
        sides = [leaf(gold, side.strip()) for side in _ABOUT.split(answer) if side.strip()]
        return True if True in sides else None if None in sides else False
    return leaf(gold, answer)


def _named(gold: Shape, answer: Shape, leaf: LeafEqual) -> bool | None:
    if isinstance(gold, Named) and isinstance(answer, Named):
        if gold.name == answer.name:
            return _equal(gold.value, answer.value, leaf)
        return leaf(gold.whole, answer.whole)  # y = 2x and x = y/2 are one equation
    named, other = (gold, answer) if isinstance(gold, Named) else (answer, gold)
    assert isinstance(named, Named)
    if isinstance(other, Leaf) and "=" in other.text:
        return leaf(_text(gold), _text(answer))  # so are y = 2x and 2x - y = 0
    return _equal(named.value, other, leaf) if named is gold else _equal(other, named.value, leaf)


def _clocks(gold: Shape, answer: Shape) -> bool:
    if not (isinstance(gold, Clock) and isinstance(answer, Clock)):
        return False
    if gold.half and answer.half and gold.half != answer.half:
        return False
    return (gold.hours, gold.minutes, gold.seconds) == (answer.hours, answer.minutes, answer.seconds)


def _quantities(gold: Shape, answer: Shape, leaf: LeafEqual) -> bool | None:
    """A unit may be left out, but not be another one."""
    if isinstance(gold, Quantity) and isinstance(answer, Quantity):
        return _equal(gold.value, answer.value, leaf) if gold.unit == answer.unit else False
    gold_value = gold.value if isinstance(gold, Quantity) else gold
    answer_value = answer.value if isinstance(answer, Quantity) else answer
    return _equal(gold_value, answer_value, leaf)


def _words(gold: Shape, answer: Shape) -> bool:
    def text(shape: Shape) -> str | None:
        if isinstance(shape, Word):
            return shape.text
        return squeeze(shape.text).lower() if isinstance(shape, Leaf) else None

    return text(gold) == text(answer)


def _manys(gold: Shape, answer: Shape, leaf: LeafEqual) -> bool | None:
    if isinstance(gold, Many) and isinstance(answer, Many):
        kinds = {gold.kind, answer.kind}
        if "matrix" in kinds:
            return _in_order(gold.parts, answer.parts, leaf) if len(kinds) == 1 else False
        if kinds == {"set", "tuple"}:
            return False
        if "tuple" in kinds:
            brackets = {m.brackets for m in (gold, answer) if m.kind == "tuple"}
            if len(brackets) > 1 or (kinds == {"tuple", "list"} and brackets != {"()"}):
                return False
            return _in_order(gold.parts, answer.parts, leaf)
        if _runs_on(gold) or _runs_on(answer) or len(gold.parts) > MAX_PARTS:
            return _in_order(gold.parts, answer.parts, leaf)
        return _any_order(gold.parts, answer.parts, leaf)
    many, other = (gold, answer) if isinstance(gold, Many) else (answer, gold)
    assert isinstance(many, Many)
    if many.kind == "matrix":  # against 2A or A^T
        return (
            leaf(_text(gold), _text(answer))
            if isinstance(other, Leaf) and _MATRIX.search(other.text)
            else False
        )
    if many.kind != "tuple" and len(many.parts) == 1:
        return _equal(many.parts[0], answer, leaf) if many is gold else _equal(gold, many.parts[0], leaf)
    if many.kind == "tuple" and len(many.parts) == 2 and isinstance(other, Leaf):
        # an interval against an inequality or another set
        return leaf(_text(gold), _text(answer)) if _SET_LIKE.search(other.text) else False
    return False


def _text(shape: Shape) -> str:
    """The shape written out again, for a leaf function."""
    if isinstance(shape, Leaf | Word):
        return shape.text
    if isinstance(shape, Named):
        return shape.whole
    if isinstance(shape, Quantity):
        return _text(shape.value)
    if isinstance(shape, Clock):
        return f"{shape.hours}:{shape.minutes:02d}"
    if shape.kind == "matrix":
        rows = [" & ".join(map(_text, row.parts)) for row in shape.parts if isinstance(row, Many)]
        return r"\begin{pmatrix} " + r" \\ ".join(rows) + r" \end{pmatrix}"
    left, right = {"set": (r"\{", r"\}"), "list": ("", "")}.get(shape.kind, tuple(shape.brackets))
    return left + ", ".join(map(_text, shape.parts)) + right


def _runs_on(shape: Many) -> bool:
    return any(isinstance(p, Leaf) and "..." in p.text for p in shape.parts)


def _in_order(gold: tuple[Shape, ...], answer: tuple[Shape, ...], leaf: LeafEqual) -> bool | None:
    if len(gold) != len(answer):
        return False
    result: bool | None = True
    for g, a in zip(gold, answer, strict=True):
        one = _equal(g, a, leaf)
        if one is False:
            return False
        if one is None:
            result = None
    return result


def _any_order(gold: tuple[Shape, ...], answer: tuple[Shape, ...], leaf: LeafEqual) -> bool | None:
    """Pair every part with a different equal one. Equality is transitive, so the first that fits will do."""
    if len(gold) != len(answer):
        return False
    ordered = _in_order(gold, answer, leaf)
    if ordered:
        return True
    left = list(answer)
    unknown = False
    for g in gold:
        results = [_equal(g, a, leaf) for a in left]
        if True in results:
            del left[results.index(True)]
        elif None in results:
            unknown = True
        else:
            return False
    return None if unknown else True
