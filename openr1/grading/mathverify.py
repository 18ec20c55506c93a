"""math-verify, in the worker: two single expressions in, equal or not out. Knows 0.5.2 to 0.9.

Only this file imports math-verify and sympy. It has no time limit of its own: the parent holds the
clock and kills the process, which also works where a signal handler does not (inside C code).
"""

from __future__ import annotations

import inspect
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from math_verify import LatexExtractionConfig, parse, verify
from sympy.core.function import AppliedUndef

from .compare import GoldUnparsableError, known_leaf
from .cost import too_costly
from .exact import APPROXIMATE_DIGITS, TooCostlyError, approximates, read

DIGITS = 50
"""Numbers without free symbols are compared at this precision."""

_PARSE_OPTIONS = inspect.signature(parse).parameters
_VERIFY_OPTIONS = inspect.signature(verify).parameters
# 0.9 switches its timer off for None; 0.5.2 passes the value to alarm(), where 0 means no alarm.
_NO_TIMER = None if "raise_on_error" in _PARSE_OPTIONS else 0
_CONFIG = [LatexExtractionConfig(boxed_match_priority=0)]


@lru_cache(maxsize=512)
def expression(text: str) -> Any:
    """`text` as a sympy object, or None when it does not parse.

    Raises:
        TooCostlyError: the text shows that sympy would not come back.
    """
    reason = too_costly(text)
    if reason:
        raise TooCostlyError(reason)
    text = _DEGREES.sub(r"\1(\\frac{\2\\pi}{180})", text)
    options: dict[str, Any] = {"parsing_timeout": _NO_TIMER, "fallback_mode": "no_fallback"}
    try:
        found = parse(r"\boxed{" + text + "}", _CONFIG, **options)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception:
        return None
    if not found or not isinstance(found[0], (sympy.Basic, sympy.MatrixBase)):
        return None
    # where the text looks complex the parser leaves i as a symbol that is not real
    units = {s: sympy.I for s in found[0].free_symbols if s.name == "i" and s.is_real is False}
    return found[0].xreplace(units) if units else found[0]


_UNEVALUATED = (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative, AppliedUndef)
_DEGREES = re.compile(r"(\\(?:sin|cos|tan|cot|sec|csc))\s*\(?\s*([\d.]+)\s*\\degree\s*\)?")
_COMMAND_OR_TEXT = re.compile(r"\\(?:text|mathrm|mbox|begin|end|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_LONG_WORD = re.compile(r"[A-Za-z]{3,}")


def is_prose(text: str) -> bool:
    """A sentence: two or more words. The LaTeX parser would read it as a product of letters."""
    return len(_LONG_WORD.findall(_COMMAND_OR_TEXT.sub(" ", text))) >= 2


def leaf_equal(gold: str, answer: str) -> bool:
    """Is the expression `answer` equal to `gold`?

    Raises:
        GoldUnparsableError: the reference is no expression.
        TooCostlyError: one of them must not be evaluated.
    """
    known = known_leaf(gold, answer)
    if known is not None:
        return known
    reference = _read(gold)
    if reference is None:
        raise GoldUnparsableError(gold)
    candidate = _read(answer)
    if candidate is None:
        return False
    numeric = _numeric_equal(gold, answer, reference, candidate)
    if numeric is not None:
        return numeric
    if _differ_somewhere(reference, candidate):
        return False
    if _same_equation(reference, candidate):
        return True
    # verify() takes its first argument as the reference; a set and the inequality that describes it
    # are equal one way round only, so both ways are asked.
    reference, candidate = _without_floats(reference), _without_floats(candidate)
    return _verify(reference, candidate) or (_is_relation(candidate) and _verify(candidate, reference))


def _read(text: str) -> Any:
    """A written number without the LaTeX parser, else what the parser makes of it."""
    number = read(text)
    if number is not None and not number.percent:
        return sympy.Rational(number.value.numerator, number.value.denominator)
    return None if is_prose(text) else expression(text)


def _verify(gold: Any, answer: Any) -> bool:
    options: dict[str, Any] = {"timeout_seconds": _NO_TIMER}
    if "allow_set_relation_comp" in _VERIFY_OPTIONS:
        options["allow_set_relation_comp"] = True
    return bool(verify(gold, answer, **options))


def _is_relation(value: Any) -> bool:
    return isinstance(value, (sympy.core.relational.Relational, sympy.And))


def _without_floats(value: Any) -> Any:
    """Every decimal as the exact fraction it writes, so that nothing is rounded at six decimals."""
    try:
        floats = value.atoms(sympy.Float)
        return value.xreplace({f: sympy.Rational(str(f)) for f in floats}) if floats else value
    except (AttributeError, TypeError, ValueError):
        return value


def _is_number(value: Any) -> bool:
    if not isinstance(value, sympy.Expr) or value.free_symbols:
        return False
    return bool(value.is_number) and not value.has(*_UNEVALUATED)


def _numeric_equal(gold: str, answer: str, reference: Any, candidate: Any) -> bool | None:
    """Compare two numbers at 50 digits; None when one of them is no number.

    A plain decimal of at least six significant digits stands for the irrational it rounds.
    """
    if not (_is_number(reference) and _is_number(candidate)):
        return None
    a, b = _without_floats(reference), _without_floats(candidate)
    try:
        x, y = sympy.N(a, DIGITS), sympy.N(b, DIGITS)
        scale = max(abs(x), abs(y))
        gap = abs(x - y)
        if not ((scale.is_finite and gap.is_Float) or gap.is_zero):
            return None
        if gap <= scale * sympy.Float(10, DIGITS) ** (10 - DIGITS):
            return True
    except (TypeError, ValueError, AttributeError, ZeroDivisionError):
        return None
    if scale < sympy.Float("1e-40"):
        return bool(sympy.simplify(a - b) == 0)
    return _rounds(gold, y) or _rounds(answer, x)


def _differ_somewhere(reference: Any, candidate: Any) -> bool:
    """True when two formulas differ at a point: they are not equal, and need no simplifying."""
    if not all(isinstance(v, sympy.Expr) and not v.has(*_UNEVALUATED) for v in (reference, candidate)):
        return False
    if isinstance(reference, sympy.Symbol) or isinstance(candidate, sympy.Symbol):
        return False  # math-verify compares a word with the product of its letters
    names = sorted({s.name for s in reference.free_symbols | candidate.free_symbols})
    # positive, so that roots and logarithms are on the branch people mean; without pattern between symbols
    point = {name: sympy.Rational(7 + 4 * i, 5 + i) for i, name in enumerate(names)}
    try:
        x, y = (
            sympy.N(v.xreplace({s: point[s.name] for s in v.free_symbols})) for v in (reference, candidate)
        )
        scale, gap = max(abs(x), abs(y)), abs(x - y)
        return bool(scale.is_finite and gap > scale * sympy.Float("1e-6"))
    except (TypeError, ValueError, AttributeError, ZeroDivisionError):
        return False


def _same_equation(reference: Any, candidate: Any) -> bool:
    """Two equations are one when their sides' differences are a constant multiple of each other."""
    if not (isinstance(reference, sympy.Eq) and isinstance(candidate, sympy.Eq)):
        return False
    try:
        ratio = sympy.simplify((reference.lhs - reference.rhs) / (candidate.lhs - candidate.rhs))
        return bool(ratio.is_number and ratio.is_finite and ratio != 0)
    except (TypeError, ValueError, AttributeError, ZeroDivisionError):
        return False


def _rounds(text: str, value: Any) -> bool:
    decimal = read(text)
    if decimal is None or decimal.significant < APPROXIMATE_DIGITS or not value.is_real:
        return False
    exact = sympy.Rational(str(value))
    return approximates(decimal, Fraction(int(exact.p), int(exact.q)))
