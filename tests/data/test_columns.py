"""Columns found by name, prompts as messages, gold answers as text: pure functions, nothing loaded."""

from __future__ import annotations

from typing import Any

import pytest

from openr1.data.columns import (
    PROMPT_NAMES,
    SOLUTION_NAMES,
    as_messages,
    find_column,
    gold_text,
    value_at,
)
from openr1.errors import RecipeError

USER = {"role": "user", "content": "1+1"}
SYSTEM = {"role": "system", "content": "think"}


@pytest.mark.parametrize("name", PROMPT_NAMES)
def test_a_prompt_is_found_by_every_known_name(name: str) -> None:
    assert find_column(["a", name], PROMPT_NAMES, None, "prompt", "key") == name


def test_the_first_known_name_wins_and_the_asked_one_over_it() -> None:
    assert find_column(["question", "prompt"], PROMPT_NAMES, None, "prompt", "key") == "prompt"
    assert find_column(["question", "prompt"], PROMPT_NAMES, "question", "prompt", "key") == "question"


@pytest.mark.parametrize("asked", [None, "c"])
def test_a_missing_column_names_those_that_are_there(asked: str | None) -> None:
    with pytest.raises(RecipeError) as caught:
        find_column(["a", "b"], SOLUTION_NAMES, asked, "gold answer", "dataset_solution_column")
    assert caught.value.fix == "it has: a, b; set dataset_solution_column to one of them"


@pytest.mark.parametrize(
    ("value", "system", "messages"),
    [
        ("1+1", None, [USER]),
        ("1+1", "think", [SYSTEM, USER]),
        ([USER], None, [USER]),
        ([USER], "think", [SYSTEM, USER]),
        ([SYSTEM, USER], "other", [SYSTEM, USER]),
        ("", None, [{"role": "user", "content": ""}]),
        (12, None, [{"role": "user", "content": "12"}]),  # a CSV column of nothing but numbers
        ([{"from": "human", "value": "1+1"}], "think", [SYSTEM, USER]),  # ShareGPT's spelling
    ],
)
def test_messages(value: Any, system: str | None, messages: list[dict[str, str]]) -> None:
    assert as_messages(value, system) == messages


def test_a_prompts_own_list_is_not_changed() -> None:
    given = [USER]
    as_messages(given, "think")
    assert given == [USER]


@pytest.mark.parametrize("value", [None, [], True, ["text"], [{"content": "no role"}], {"role": "user"}])
def test_what_is_no_prompt_is_refused(value: Any) -> None:
    with pytest.raises(RecipeError, match="a prompt must be text, or messages"):
        as_messages(value, None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("42", "42"),
        (42, "42"),
        (0, "0"),
        ("", ""),
        ("work\n#### 1,234", "1234"),
        ("a #### b #### 7 ", "7"),
        ("\\frac{1}{2}", "\\frac{1}{2}"),
    ],
)
def test_gold_answers(value: Any, text: str | None) -> None:
    assert gold_text(value) == text


def test_a_field_inside_a_column() -> None:
    row = {"reward_model": {"ground_truth": "7", "style": "rule"}, "a.b": 1}
    assert value_at(row, "reward_model.ground_truth") == "7"
    assert value_at(row, "a.b") == 1
    assert value_at(row, "reward_model.none") is None
    assert value_at({"reward_model": None}, "reward_model.ground_truth") is None
