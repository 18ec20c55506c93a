"""The page's style sheet: what is muted is muted, and only that."""

from __future__ import annotations

import re
from pathlib import Path

CSS = (Path(__file__).parents[3] / "openr1/runs/report/style.css").read_text(encoding="utf-8")


def rules_for(selector: str) -> str:
    """All declarations of the rules that name this selector alone or in a list."""
    found = re.findall(r"([^{}]+)\{([^{}]*)\}", CSS)
    return ";".join(body for heads, body in found if selector in [h.strip() for h in heads.split(",")])


def test_muted_text_has_its_colour_and_no_width_of_its_own() -> None:
    for selector in (".muted", "figcaption"):
        assert "color: var(--muted)" in rules_for(selector)
        assert "width" not in rules_for(selector)


def test_every_colour_has_a_dark_one() -> None:
    parts = CSS.split("prefers-color-scheme: dark")
    light, dark = (set(re.findall(r"(--[\w-]{2,}):", part)) for part in parts)
    assert light <= dark and len(light) > 10
