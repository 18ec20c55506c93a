"""What sympy must not be asked: expressions whose cost shows in their text.

A tower of powers, a factorial of a factorial or a sum of 10^9 terms is never meant as an answer; a
small model writes them all the same, and one of them can hold a batch for minutes.
"""

from __future__ import annotations

import re

from .exact import TooCostlyError, read

MAX_NESTING = 24
"""Brackets inside brackets; the LaTeX parser's time grows steeply beyond it."""
MAX_EXPONENT = 100_000
MAX_SYMBOLIC_EXPONENT = 200
MAX_TERMS = 2_000
"""Terms of a sum or product that may be written out."""
MAX_MATRIX_ROWS = 6

_GROUP = re.compile(r"\^\s*(?:\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}|\(([^()]*)\)|(\d+))")
_NESTED_FACTORIAL = re.compile(r"(?:\)|\}|!)\s*!")
_FACTORIAL = re.compile(r"(\d+)\s*!")
_BINOMIAL = re.compile(r"\\binom\s*\{([^{}]*)\}")
_BOUNDS = re.compile(
    r"\\(?:sum|prod)(?![A-Za-z])\s*_\s*\{[^{}=]*=\s*([^{}]*)\}\s*\^\s*(?:\{((?:[^{}]|\{[^{}]*\})*)\}|(\w+))"
)
_MATRIX_ROW = re.compile(r"\\\\")


def too_costly(text: str) -> str | None:
    """Why `text` must not reach sympy, or None when it may."""
    try:
        read(text)
        return _depth(text) or _exponents(text) or _factorials(text) or _terms(text) or _matrix(text)
    except TooCostlyError as problem:
        return str(problem)
    except RecursionError:
        return "nested too deeply"


def _depth(text: str) -> str | None:
    depth = deepest = 0
    for c in text:
        depth += (c in "({[") - (c in ")}]")
        deepest = max(deepest, depth)
    return f"brackets nested {deepest} deep" if deepest > MAX_NESTING else None


def _exponents(text: str) -> str | None:
    for match in _GROUP.finditer(text):
        inner = next(g for g in match.groups() if g is not None)
        if "^" in inner and _GROUP.search(inner):
            deeper = _exponents(inner)
            if deeper:
                return deeper
        value = read(inner)
        if value is None:
            if inner.count("^") >= 2:
                return "a tower of powers"
            continue
        before = text[: match.start()].rstrip()
        numeric = bool(before) and before[-1].isdigit()
        limit = MAX_EXPONENT if numeric else MAX_SYMBOLIC_EXPONENT if before.endswith(")") else MAX_EXPONENT
        if abs(value.value) > limit:
            return "an exponent too large to expand"
    return None


def _factorials(text: str) -> str | None:
    if _NESTED_FACTORIAL.search(text) and re.search(r"!.*!", text):
        return "a factorial of a factorial"
    if any(len(n) > 5 or int(n) > 7_000 for n in _FACTORIAL.findall(text)):
        return "a factorial of too many digits"
    for inner in _BINOMIAL.findall(text):
        value = read(inner)
        if value is not None and value.value > 20_000:
            return "a binomial of too many digits"
    return None


def _terms(text: str) -> str | None:
    for low, braced, bare in _BOUNDS.findall(text):
        first, last = read(low), read(braced or bare)
        if first is not None and last is not None and last.value - first.value > MAX_TERMS:
            return "a sum or product of too many terms"
    return None


def _matrix(text: str) -> str | None:
    if r"\begin" not in text and r"\det" not in text:
        return None
    rows = len(_MATRIX_ROW.findall(text)) + 1
    if rows > MAX_MATRIX_ROWS and (r"\det" in text or "vmatrix" in text):
        return f"a determinant of {rows} rows"
    return None
