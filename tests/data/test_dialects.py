"""Reasoning in every dialect becomes what the format reward pays, and nothing else changes."""

from __future__ import annotations

import pytest

from openr1.data.dialects import (
    SOLUTION,
    SOLUTION_END,
    THOUGHT,
    THOUGHT_END,
    Style,
    explain,
    system_to_style,
    to_style,
)
from openr1.rewards.form import format_reward

THINK = "<think>\neasy\n</think>\n\n2"
BOTH = "<think>\neasy\n</think>\n<answer>\n2\n</answer>"
TAGGED = f"{THOUGHT}\n\neasy\n\n{THOUGHT_END}\n\n{SOLUTION}\n\n2\n\n{SOLUTION_END}"


@pytest.mark.parametrize(
    ("text", "field", "found", "think"),
    [
        (TAGGED, None, "thought tags", THINK),
        (f"{THOUGHT}easy{THOUGHT_END}2", None, "thought tags", THINK),
        (f"Hm. {THOUGHT}easy{THOUGHT_END}2", None, "thought tags", "<think>\nHm.\neasy\n</think>\n\n2"),
        (f"{THOUGHT}easy{THOUGHT_END}{SOLUTION}2", None, "thought tags", THINK),  # cut in the solution
        ("easy\n</think>\n\n2", None, "no opening", THINK),
        ("2", "easy", "field", THINK),
        ("easy\n</think>\n2", "easy", "field", THINK),  # a server that gave it twice
        (THINK, None, "think", THINK),
        (THINK, "easy", "think", THINK),
        ("<think>easy</think>2", None, "think", "<think>easy</think>2"),  # as it is: the reward takes it
        ("2", None, "", "2"),
        ("2", "", "", "2"),
        (f"{THOUGHT}easy, so", None, "unclosed", f"{THOUGHT}easy, so"),
        ("<think>easy, so", None, "unclosed", "<think>easy, so"),
    ],
)
def test_think(text: str, field: str | None, found: str, think: str) -> None:
    assert to_style(text, "think", field) == (think, found)
    assert to_style(text, "keep", field) == (text, found)


@pytest.mark.parametrize(
    ("text", "field"),
    [(TAGGED, None), ("easy</think>2", None), ("2", "easy"), (THINK, None), (BOTH, None)],
)
def test_think_answer_is_what_the_format_reward_pays(text: str, field: str | None) -> None:
    styled, _ = to_style(text, "think_answer", field)
    assert styled == BOTH
    assert format_reward([[{"role": "assistant", "content": styled}]]) == [1.0]
    assert to_style(styled, "think_answer")[0] == styled


@pytest.mark.parametrize("style", ["think", "think_answer"])
def test_styling_twice_changes_nothing(style: Style) -> None:
    once, _ = to_style(TAGGED, style)
    assert to_style(once, style)[0] == once


def test_a_system_message_asks_for_what_the_answers_hold() -> None:
    asks = f"first {THOUGHT} a {THOUGHT_END}, then {SOLUTION} b {SOLUTION_END}"
    assert system_to_style(asks, "think") == "first <think> a </think>, then  b "
    assert system_to_style(asks, "think_answer") == "first <think> a </think>, then <answer> b </answer>"
    assert system_to_style(asks, "keep") == asks
    assert system_to_style("be brief", "think") == "be brief"


def test_what_is_said_once() -> None:
    assert explain({"think": 5}, "think") == []
    said = explain({"thought tags": 1200, "field": 3, "unclosed": 2}, "think")
    assert "(1,200 rows)" in said[0]
    assert "is now <think>…</think>; `reasoning_style: keep` leaves it" in said[0]
    assert said[1].startswith("2 rows open their reasoning")
    assert "kept as written" in explain({"thought tags": 1}, "keep")[0]
    assert "not used" in explain({"field": 1}, "keep")[0]
