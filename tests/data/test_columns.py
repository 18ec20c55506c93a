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
    grpo_mapper,
    sft_mapper,
)
from openr1.errors import RecipeError

USER = {"role": "user", "content": "1+1"}
SYSTEM = {"role": "system", "content": "think"}
ANSWER = {"role": "assistant", "content": "2"}


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


def test_sft_takes_messages_before_pairs_before_text() -> None:
    mapper, words = sft_mapper(["messages", "prompt", "completion", "text"], None, None)
    assert mapper({"messages": [USER, ANSWER]}) == {"messages": [USER, ANSWER]}
    assert words == "messages → messages"
    mapper, words = sft_mapper(["prompt", "completion", "text"], "think", None)
    assert mapper({"prompt": "1+1", "completion": "2"}) == {"prompt": [SYSTEM, USER], "completion": [ANSWER]}
    assert mapper({"prompt": "0", "completion": 0})["completion"] == [{"role": "assistant", "content": "0"}]
    assert "only the completion is learnt" in words
    mapper, words = sft_mapper(["id", "text"], None, None)
    assert mapper({"id": 1, "text": "x"}) == {"text": "x"}
    assert "no chat template" in words


def test_sft_with_a_named_prompt_column_means_pairs() -> None:
    mapper, words = sft_mapper(["messages", "ask", "completion"], None, "ask")
    assert mapper({"ask": "1+1", "completion": [ANSWER]}) == {"prompt": [USER], "completion": [ANSWER]}
    assert words.startswith("ask → prompt")


def test_sft_refuses_other_columns_and_rows_without_a_completion() -> None:
    with pytest.raises(RecipeError, match="no columns to fine-tune on") as caught:
        sft_mapper(["a", "prompt"], None, None)
    assert "it has: a, prompt" in str(caught.value.fix)
    mapper, _ = sft_mapper(["prompt", "completion"], None, None)
    for missing in (None, []):
        with pytest.raises(RecipeError, match="completion is missing"):
            mapper({"prompt": "1+1", "completion": missing})


def test_grpo_needs_a_prompt_and_a_gold_answer() -> None:
    mapper, words = grpo_mapper(["question", "answer", "level"], "think", None, None)
    row = mapper({"question": "1+1", "answer": "so\n#### 2", "level": 3})
    assert row == {"prompt": [SYSTEM, USER], "solution": "2"}
    assert words == "question → prompt, answer → solution"
    mapper, words = grpo_mapper(["x", "y"], None, "x", "y")
    assert mapper({"x": "1+1", "y": 2}) == {"prompt": [USER], "solution": "2"}
    with pytest.raises(RecipeError, match="for the prompt"):
        grpo_mapper(["answer"], None, None, None)
    with pytest.raises(RecipeError, match="for the gold answer"):
        grpo_mapper(["prompt"], None, None, None)
