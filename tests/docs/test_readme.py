"""The two READMEs say the same, and what they say of recipes and cards is what the planner says."""

from __future__ import annotations

import re

import pytest

from openr1.config.catalogue import TRAINING_STAGES
from openr1.services.configs import list_recipes
from openr1.services.hw_profile import the_machine
from tests.docs.pages import ROOT

ENGLISH, CHINESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
SCREEN = 50  # lines until the tables of cards and commands have been read
TRAINED = set(TRAINING_STAGES)
MACHINES = ("cpu", "RTX 3060", "RTX 4090", "A100-80GB", "8xH100")  # rows of the table, in order


def codes(text: str) -> list[str]:
    """Everything in fenced blocks, without comments."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(r"\s*#.*", "", line) for block in blocks for line in block.splitlines()]


def links(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)#]+)", text)) - {"README.md", "README.zh-CN.md"}


def test_both_languages_have_the_same_sections_commands_figures_and_links() -> None:
    shape = [re.findall(r"^(#+) ", text, re.MULTILINE) for text in (ENGLISH, CHINESE)]
    assert shape[0] == shape[1]
    assert codes(ENGLISH) == codes(CHINESE)
    assert links(ENGLISH) == links(CHINESE)
    tables = [re.findall(r"^\|", text, re.MULTILINE) for text in (ENGLISH, CHINESE)]
    assert len(tables[0]) == len(tables[1])
    named = [set(re.findall(r"`([\w.-]+)`", text)) for text in (ENGLISH, CHINESE)]
    assert named[0] == named[1]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_the_first_screen_holds_picture_cards_and_commands(text: str) -> None:
    screen = "\n".join(text.splitlines()[:SCREEN])
    assert "nox -s demo" in screen and "nox -s tests" in screen and "docs/tiny-run.png" in screen
    for command in ("pipeline", "sft", "grpo", "eval", "generate", "bench", "hw-profile"):
        assert f"`openr1 {command}" in screen
    assert "qwen0.5b-light" in screen and "tiny-cpu" in screen


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_every_link_of_a_file_leads_somewhere(text: str) -> None:
    for target in links(text):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_recipe_of_the_table_fits_its_card_and_those_above_do_not_hold_it() -> None:
    rows = re.findall(r"^\| (?:any CPU|.*GB.*) \| (.*) \|$", ENGLISH, re.MULTILINE)
    named = [re.findall(r"`([\w.-]+)`", row) for row in rows]
    assert len(named) == len(MACHINES)
    for place, (machine, recipes) in enumerate(zip(MACHINES, named, strict=True)):
        fits = {e.name: [f.fits for f in e.fits] for e in list_recipes(the_machine(machine))}
        smaller = {e.name: [f.fits for f in e.fits] for e in list_recipes(the_machine(MACHINES[place - 1]))}
        for recipe in recipes:
            assert False not in fits[recipe], (machine, recipe, fits[recipe])
            if place >= 2:  # a CPU's memory says nothing about cards
                assert not all(smaller[recipe]), (MACHINES[place - 1], recipe)
    trained = {e.name for e in list_recipes(the_machine("cpu")) if TRAINED & {f.stage for f in e.fits}}
    assert {recipe for recipes in named for recipe in recipes} == trained
