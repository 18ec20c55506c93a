"""Exact arithmetic on written numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest

from openr1.grading.exact import Exact, TooCostlyError, read, same


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6", 6),
        ("-6", -6),
        ("+6", 6),
        ("0.50", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1,234,567", 1234567),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\frac{3}{4}", Fraction(-3, 4)),
        ("3/4", Fraction(3, 4)),
        ("2^10", 1024),
        ("2^{10}", 1024),
        ("-2^2", -4),
        ("(-2)^2", 4),
        ("2^{-3}", Fraction(1, 8)),
        ("6.02e23", 602 * 10**21),
        (r"6.02 \times 10^{23}", 602 * 10**21),
        ("5!", 120),
        (r"\binom{5}{2}", 10),
        (r"\sqrt{49}", 7),
        (r"\sqrt{\frac{1}{4}}", Fraction(1, 2)),
        ("50%", Fraction(1, 2)),
        ("1+2*3", 7),
        (r"2 \cdot 3^2 - 4", 14),
        ("2^3^2", 512),
        ("1/2^{99}", Fraction(1, 2**99)),
        ("(-1)^{10^{9}}", 1),
    ],
)
def test_read(text: str, value: Fraction | int) -> None:
    number = read(text)
    assert number is not None and number.value == value


@pytest.mark.parametrize(
    "text",
    ["x", "", "3x", r"\sqrt{2}", "1,2", "1/0", "2^{0.5}", r"\pi", "()", "1 2", r"2\frac{1}{2}", "0^{-1}"],
)
def test_not_arithmetic(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "10^{10^{10}}",
        "9^{9^9}",
        "1000000!",
        "((100!)!)!",
        r"\binom{10^9}{5 \cdot 10^8}",
        "2^{-10^{10}}",
        "1e99999",
    ],
)
def test_too_costly(text: str) -> None:
    with pytest.raises(TooCostlyError):
        read(text)


def equal(a: str, b: str) -> bool:
    left, right = read(a), read(b)
    assert isinstance(left, Exact) and isinstance(right, Exact)
    assert same(left, right) == same(right, left)
    return same(left, right)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("0.5", "1/2"),
        ("0.333333", "1/3"),
        ("0.666667", "2/3"),
        ("0.666666", "2/3"),
        ("50%", "50"),
        ("50%", "0.5"),
        ("33.3333%", "33.3333%"),
        ("0.30000000000000004", "0.3"),
        ("1e3", "1000"),
        ("2.0", "2"),
    ],
)
def test_same(a: str, b: str) -> None:
    assert equal(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1/2^{99}", "1/2^{98}"),
        ("1/2004!", "1/2006!"),
        ("1/10^7", "0.0"),
        ("0.33", "1/3"),
        ("0.3333", "1/3"),
        ("1000000", "1000001"),
        ("0.5", "0.5000001"),
        ("3", "3.1"),
        ("0.1234567", "0.1234568"),
        ("50%", "51"),
    ],
)
def test_different(a: str, b: str) -> None:
    assert not equal(a, b)
