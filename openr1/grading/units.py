"""Units behind a number, in one spelling: a number with a unit is not the same number with another unit."""

from __future__ import annotations

import re

_SPELLINGS: dict[str, str] = {
    "mm": "mm millimeter millimeters millimetre millimetres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "m": "m meter meters metre metres",
    "km": "km kilometer kilometers kilometre kilometres",
    "in": "in inch inches",
    "ft": "ft foot feet",
    "yd": "yd yard yards",
    "mi": "mi mile miles",
    "mg": "mg milligram milligrams",
    "g": "g gram grams",
    "kg": "kg kilogram kilograms",
    "lb": "lb lbs pound pounds",
    "oz": "oz ounce ounces",
    "ml": "ml mL milliliter milliliters millilitre millilitres",
    "l": "L liter liters litre litres",
    "gal": "gal gallon gallons",
    "s": "s sec secs second seconds",
    "min": "min mins minute minutes",
    "h": "h hr hrs hour hours",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "year years",
    "degree": r"\degree degree degrees deg",
    "radian": "rad radian radians",
    "dollar": "dollar dollars usd",
    "cent": "cent cents",
    "euro": "euro euros",
    "mph": "mph",
    "unit": "unit units",
}
_UNIT_OF = {word: unit for unit, words in _SPELLINGS.items() for word in words.split()}
_ALTERNATIVES = "|".join(re.escape(w) for w in sorted(_UNIT_OF, key=len, reverse=True))
_POWER = r"(?:\s*\^\s*\{?\s*([23])\s*\}?)?"
_SPELLED_POWER = r"(?:(square|sq\.?|cubic|cu\.?)\s+)?"
_WRAPPED = re.compile(
    rf"^(.*?[\d)}}\]a-z])\s*\\(?:text|textbf|textit|textrm|mathrm|mbox|operatorname)\s*\{{\s*([^{{}}]*?)\s*\}}{_POWER}\s*$"
)
_BARE = re.compile(rf"^(.*\d)\s*({_ALTERNATIVES}){_POWER}$")
_SPACED = re.compile(
    rf"^(.*[\d)}}])\s+((?:{_SPELLED_POWER})(?:{_ALTERNATIVES})(?:\s*(?:/|per)\s*(?:{_ALTERNATIVES}))?){_POWER}$"
)
_DEGREE = re.compile(r"^(.*?)\s*\\degree\s*([CFK])?\s*$")
_ANGLE_OF = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_CURRENCY = re.compile(r"^([-+]?)\s*(\\?\$|€|£|¥)\s*(?=[\d.])")
_CURRENCY_UNIT = {"$": "dollar", "€": "euro", "£": "pound sterling", "¥": "yen"}
_ONE_LETTER = frozenset(["m", "g", "s", "h"])


def split_unit(text: str) -> tuple[str, str]:
    """`text` as (number, unit); the unit is empty when there is none.

    A unit is one that is written as text (`\\text{ cm}`), or a known word after a number. A single
    letter right after a digit (`5m`) stays algebra: it is a product more often than a metre.
    """
    if r"\degree" in text and _ANGLE_OF.search(text):
        return text, ""  # the sine of an angle is a number, not an angle
    found = _CURRENCY.match(text)
    if found:
        return found.group(1) + text[found.end() :], _CURRENCY_UNIT[found.group(2).lstrip("\\")]
    found = _DEGREE.match(text)
    if found and found.group(1):
        return found.group(1), "degree" + (found.group(2) or "").lower()
    found = _WRAPPED.match(text)
    if found and found.group(2):
        return found.group(1).strip(), _canonical(found.group(2), found.group(3))
    found = _SPACED.match(text)
    if found:
        return found.group(1).strip(), _canonical(found.group(2), found.group(4))
    found = _BARE.match(text)
    if found and found.group(2) not in _ONE_LETTER:
        return found.group(1).strip(), _canonical(found.group(2), found.group(3))
    return text, ""


def _canonical(unit: str, power: str | None) -> str:
    """One spelling of a unit: `square centimeters`, `cm^2` and `sq. cm` are `cm2`."""
    spelled = re.match(r"(square|sq\.?|cubic|cu\.?)\s+(.*)$", unit.strip(), re.IGNORECASE)
    if spelled:
        power = "2" if spelled.group(1).lower().startswith("s") else "3"
        unit = spelled.group(2)
    parts = re.split(r"\s*(?:/|\bper\b)\s*", unit.strip().rstrip("."))
    names = [_UNIT_OF.get(p, _UNIT_OF.get(p.lower(), " ".join(p.lower().split()))) for p in parts]
    return "/".join(names) + (power or "")
