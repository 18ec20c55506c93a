"""Exact arithmetic on written numbers: integers, decimals, fractions, powers, factorials, binomials.

Most answers are numbers. Reading them here is exact (no rounding at six decimals), needs no sympy, and
notices a number that is too large to be meant before anything computes it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

MAX_BITS = 100_000
"""Numbers above this size (about 30,000 digits) are not computed."""

APPROXIMATE_DIGITS = 6
"""A decimal with this many significant digits may stand for the number it rounds."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+\.?\d*|\.\d+)(?:[eE](?P<exp>[+-]?\d{1,6})(?![A-Za-z\d]))?"
    r"|(?P<op>\\frac|\\binom|\\times|\\cdot|\\sqrt|\*\*|[-+*/^!(){}%])(?![A-Za-z]))"
)
_LITERAL = re.compile(r"[-+]?\s*\d*\.(\d+)\s*%?")


class TooCostlyError(Exception):
    """The value is too large to compute; the message says what it is."""


@dataclass(frozen=True)
class Exact:
    """A rational number as it was written.

    Args:
        value: the number; a percentage already divided by 100.
        decimals: digits after the point when it was written as a plain decimal, else None.
        percent: written with a percent sign.
    """

    value: Fraction
    decimals: int | None = None
    percent: bool = False

    @property
    def significant(self) -> int:
        """Significant digits of a plain decimal, 0 for anything else."""
        if self.decimals is None:
            return 0
        return len(str(abs(self.value.numerator * 10**self.decimals // self.value.denominator)).lstrip("0"))


def same(a: Exact, b: Exact) -> bool:
    """Are two written numbers the same?

    Exactly equal, or one is a decimal of at least six significant digits that the other rounds (or
    is cut off) to, or the noise of a 64-bit float. A percent sign may be on one side only.
    """
    if a.percent != b.percent:
        plain, percent = (b, a) if a.percent else (a, b)
        scaled = Exact(percent.value * 100, None if percent.decimals is None else percent.decimals - 2)
        return _close(plain, scaled) or _close(plain, Exact(percent.value, percent.decimals))
    return _close(a, b)


def _close(a: Exact, b: Exact) -> bool:
    if a.value == b.value:
        return True
    return any(x.significant >= APPROXIMATE_DIGITS and approximates(x, y.value) for x, y in ((a, b), (b, a)))


def approximates(decimal: Exact, value: Fraction) -> bool:
    """Does a plain decimal stand for `value`: within one unit of its last digit, or a float's noise?"""
    if decimal.significant < APPROXIMATE_DIGITS or decimal.decimals is None:
        return False
    gap = abs(decimal.value - value)
    unit = Fraction(1, 10**decimal.decimals)
    noise = abs(value) / 10**14 if decimal.significant >= 15 else Fraction(0)
    return gap < unit or gap <= noise


def read(text: str) -> Exact | None:
    """The number `text` writes, or None when it is not plain arithmetic.

    Raises:
        TooCostlyError: a power, factorial or binomial whose value is too large.
    """
    text = text.strip()
    if len(text) > 4 and not re.search(r"\d", text):
        return None
    parser = _Parser(text)
    if not parser.tokens:
        return None
    try:
        value = parser.sum()
    except (_NotArithmeticError, ZeroDivisionError):
        return None
    if parser.at != len(parser.tokens):
        return None
    literal = _LITERAL.fullmatch(text.replace(",", ""))
    percent = text.rstrip().endswith("%")
    return Exact(value, len(literal.group(1)) + 2 * percent if literal else None, percent)


class _NotArithmeticError(Exception):
    """The text is no plain arithmetic."""


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        self.at = 0
        self.depth = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                if text[position:].strip():
                    self.tokens = []
                return
            token = match.group("number") or match.group("op")
            self.tokens.append(token + (f"e{match.group('exp')}" if match.group("exp") else ""))
            position = match.end()

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token or (expected is not None and token != expected):
            raise _NotArithmeticError
        self.at += 1
        return token

    def sum(self) -> Fraction:
        self.depth += 1
        if self.depth > 60:
            raise TooCostlyError("brackets nested more than 60 deep")
        value = self.product()
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            value = _bounded(value + sign * self.product())
        self.depth -= 1
        return value

    def product(self) -> Fraction:
        value = self.signed()
        while True:
            token = self.peek()
            if token in ("*", r"\times", r"\cdot"):
                self.take()
                value = _bounded(value * self.signed())
            elif token == "/":
                self.take()
                value = _bounded(value / self.signed())
            elif token == "(" or (token == r"\frac" and self.tokens[self.at - 1] in (")", "}")):
                # juxtaposition is a product, except after a digit: 2\frac{1}{2} may be a mixed number
                value = _bounded(value * self.signed())
            else:
                return value

    def signed(self) -> Fraction:
        sign = 1
        while self.peek() in ("-", "+"):
            sign = -sign if self.take() == "-" else sign
        return sign * self.power()

    def power(self) -> Fraction:
        base = self.postfix()
        if self.peek() not in ("^", "**"):
            return base
        self.take()
        exponent = self.argument() if self.peek() == "{" else self.exponent()
        return _power(base, exponent)

    def exponent(self) -> Fraction:
        """An exponent without braces; `2^10` means 2 to the 10, as whoever writes it means it."""
        sign = 1
        while self.peek() in ("-", "+"):
            sign = -sign if self.take() == "-" else sign
        return sign * self.power()

    def postfix(self) -> Fraction:
        value = self.atom()
        while self.peek() in ("!", "%"):
            if self.take() == "%":
                value = value / 100
            else:
                value = _factorial(value)
        return value

    def argument(self) -> Fraction:
        self.take("{")
        value = self.sum()
        self.take("}")
        return value

    def atom(self) -> Fraction:
        token = self.take()
        if token in ("(", "{"):
            value = self.sum()
            self.take(")" if token == "(" else "}")
            return value
        if token == r"\frac":
            above = self.argument()
            return above / self.argument()
        if token == r"\binom":
            n = self.argument()
            return _binomial(n, self.argument())
        if token == r"\sqrt":
            return _root(self.argument())
        if token[0].isdigit() or token[0] == ".":
            return _literal(token)
        raise _NotArithmeticError


def _literal(token: str) -> Fraction:
    digits, _, exp = token.replace(",", "").partition("e")
    if abs(int(exp or 0)) * 4 > MAX_BITS:
        raise TooCostlyError(f"10 to the power {exp}")
    whole, _, decimals = digits.partition(".")
    if len(whole) + len(decimals) > 4_000:  # Python refuses longer ones for their quadratic cost
        raise TooCostlyError("a number of more than 4,000 digits")
    scaled = Fraction(int((whole + decimals) or "0"), 10 ** len(decimals))
    return scaled * Fraction(10) ** int(exp or 0)


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > MAX_BITS:
        raise TooCostlyError("a product of too many digits")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise _NotArithmeticError  # a root; sympy's work
    if abs(base.numerator) <= 1 and base.denominator == 1:
        if base == 0 and exponent < 0:
            raise ZeroDivisionError
        return base ** int(exponent % 2 + 2) if exponent else Fraction(1)
    if (_bits(base) - 1 or 1) * abs(exponent) > MAX_BITS:
        raise TooCostlyError("a power of too many digits")
    return base ** int(exponent)


def _factorial(value: Fraction) -> Fraction:
    if value.denominator != 1 or value < 0:
        raise _NotArithmeticError
    if value > 7_000:
        raise TooCostlyError("a factorial of too many digits")
    return Fraction(math.factorial(int(value)))


def _binomial(n: Fraction, k: Fraction) -> Fraction:
    if n.denominator != 1 or k.denominator != 1 or n < 0 or k < 0:
        raise _NotArithmeticError
    if (n > 20_000 and min(k, n - k) > 500) or (n > 10**9 and k > 50):
        raise TooCostlyError("a binomial of too many digits")
    return Fraction(math.comb(int(n), int(k)))


def _root(value: Fraction) -> Fraction:
    if value < 0 or _bits(value) > 10_000:
        raise _NotArithmeticError
    above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if above * above != value.numerator or below * below != value.denominator:
        raise _NotArithmeticError  # irrational
    return Fraction(above, below)
