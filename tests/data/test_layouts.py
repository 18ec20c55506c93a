"""Every layout of the datasets people use, as rows to train on: pure functions, nothing loaded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openr1.data.dialects import SOLUTION, SOLUTION_END, THOUGHT, THOUGHT_END
from openr1.data.layouts import REASONING, Wanted, grpo_layout, sft_layout
from openr1.errors import RecipeError

USER = {"role": "user", "content": "1+1"}
SYSTEM = {"role": "system", "content": "think"}
ANSWER = {"role": "assistant", "content": "2"}
HUMAN, GPT = {"from": "human", "value": "1+1"}, {"from": "gpt", "value": "2"}


def sft(row: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """A mapped row without the remark on its reasoning."""
    made = sft_layout(list(row), Wanted(**wanted)).row_of(row)
    made.pop(REASONING)
    return made


CONVERSATIONS = [
    ({"messages": [USER, ANSWER]}, [USER, ANSWER]),
    ({"messages": [SYSTEM, USER, ANSWER], "num_tokens": 3, "source": "x"}, [SYSTEM, USER, ANSWER]),
    ({"prompt": "1+1", "messages": [USER, ANSWER], "uuid": "7"}, [USER, ANSWER]),
    ({"conversations": [HUMAN, GPT]}, [USER, ANSWER]),
    ({"conversations": [{"from": "user", "value": "1+1"}, {"from": "assistant", "value": "2"}]},
     [USER, ANSWER]),
    ({"conversations": [USER, ANSWER]}, [USER, ANSWER]),
    ({"system": "think", "conversations": [HUMAN, GPT]}, [SYSTEM, USER, ANSWER]),
    ({"system": "think", "conversations": [{"from": "system", "value": "own"}, HUMAN, GPT]},
     [{"role": "system", "content": "think\n\nown"}, USER, ANSWER]),
    ({"system": None, "conversations": [HUMAN, GPT]}, [USER, ANSWER]),
    # H4's Bespoke-Stratos: both, of which TRL takes the one that lacks the system turn
    ({"system": "think", "conversations": [HUMAN, GPT], "messages": [SYSTEM, USER, ANSWER]},
     [SYSTEM, USER, ANSWER]),
    ({"system": "be brief", "messages": [SYSTEM, USER, ANSWER]},
     [{"role": "system", "content": "be brief\n\nthink"}, USER, ANSWER]),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "1+"},
                                                {"type": "text", "text": "1"}]}, ANSWER]}, [USER, ANSWER]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "messages"), CONVERSATIONS)
def test_conversations(row: dict[str, Any], messages: list[dict[str, str]]) -> None:
    assert sft(row) == {"messages": messages}


PAIRS = [
    ({"prompt": "1+1", "completion": "2"}, [USER], [ANSWER]),
    ({"prompt": [USER], "completion": [ANSWER]}, [USER], [ANSWER]),
    ({"problem": "1+1", "solution": "2", "answer": "2"}, [USER], [ANSWER]),
    ({"question": "1+1", "response": "2"}, [USER], [ANSWER]),
    ({"instruction": "1+1", "input": "", "output": "2", "text": "whole"}, [USER], [ANSWER]),
    ({"instruction": "add", "input": "1 1", "output": "2"},
     [{"role": "user", "content": "add\n\n1 1"}], [ANSWER]),
    ({"problem": "1+1", "generations": ["3", "2"], "correctness_math_verify": [False, True]},
     [USER], [ANSWER]),
    ({"problem": "1+1", "generations": ["3", "2"], "is_reasoning_complete": [False, True]}, [USER], [ANSWER]),
    ({"problem": "1+1", "generations": ["2", "3"], "correctness_math_verify": None}, [USER], [ANSWER]),
    ({"prompt": 11, "completion": 0},
     [{"role": "user", "content": "11"}], [{"role": "assistant", "content": "0"}]),
    ({"system": "think", "prompt": "1+1", "completion": "2"}, [SYSTEM, USER], [ANSWER]),
    ({"problem": "1+1", "deepseek_reasoning": "easy", "deepseek_solution": "2", "domain": "math"},
     [USER], [{"role": "assistant", "content": "<think>\neasy\n</think>\n\n2"}]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "prompt", "completion"), PAIRS)
def test_pairs(row: dict[str, Any], prompt: list[Any], completion: list[Any]) -> None:
    assert sft(row) == {"prompt": prompt, "completion": completion}


def test_plain_text_and_named_columns() -> None:
    assert sft({"id": 1, "text": "x"}) == {"text": "x"}
    assert sft({"prompt": "a", "completion": "b", "book": "x"}, text_column="book") == {"book": "x"}
    with pytest.raises(RecipeError, match="no column `book`"):
        sft({"text": "x"}, text_column="book")
    row = {"messages": [USER, ANSWER], "ask": "1+1", "say": "2"}
    pair = {"prompt": [USER], "completion": [ANSWER]}
    assert sft(row, prompt_column="ask", completion_column="say") == pair
    assert sft({"talk": [HUMAN, GPT], "text": "x"}, messages_column="talk") == {"messages": [USER, ANSWER]}
    nested = {"data": {"ask": "1+1"}, "completion": "2"}
    assert sft(nested, prompt_column="data.ask") == pair


def test_the_sections_system_prompt_and_a_rows_own() -> None:
    assert sft({"messages": [USER, ANSWER]}, system_prompt="think") == {"messages": [SYSTEM, USER, ANSWER]}
    row = {"system": "think", "messages": [USER, ANSWER]}
    assert sft(row, system_prompt="other") == {"messages": [SYSTEM, USER, ANSWER]}


def test_the_mapping_says_what_is_used_and_what_not() -> None:
    words = sft_layout(["system", "conversations", "uuid"], Wanted()).words
    assert words == "conversations → messages, system → system message; not used: uuid"
    words = sft_layout(["problem", "reasoning", "answer", "level"], Wanted()).words
    assert words.startswith(
        "problem → prompt, reasoning + answer → completion (only the completion is learnt)"
    )
    assert words.endswith("not used: level")
    assert "no chat template" in sft_layout(["text"], Wanted()).words


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": []}, "must be a list of messages"),
        ({"messages": [USER]}, "no turn of the assistant"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "`narrator` is no role"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "has no content"),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "image"}]}]}, "must be text"),
        ({"prompt": None, "completion": "b"}, "a prompt must be text"),
        ({"prompt": "a", "completion": None}, "the completion is missing"),
        ({"prompt": "a", "completion": []}, "the completion is missing"),
        ({"text": ""}, "the text is missing"),
    ],
)
def test_rows_that_cannot_be_learnt(row: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        sft(row)


def test_columns_that_are_none() -> None:
    with pytest.raises(RecipeError, match="no columns to fine-tune on") as caught:
        sft_layout(["a", "prompt"], Wanted())
    assert "it has: a, prompt" in str(caught.value.fix)
    with pytest.raises(RecipeError, match="no column `talk`"):
        sft_layout(["messages"], Wanted(messages_column="talk"))
    with pytest.raises(RecipeError, match="for the completion"):
        sft_layout(["ask", "b"], Wanted(prompt_column="ask"))


def test_reasoning_of_messages_and_the_request_for_it() -> None:
    """The system message of OpenThoughts asks for the tags that its answers no longer hold."""
    tagged = f"{THOUGHT}\n\neasy\n\n{THOUGHT_END}\n\n{SOLUTION}\n\n2\n\n{SOLUTION_END}"
    row = {
        "system": f"use {THOUGHT} x {THOUGHT_END}",
        "conversations": [HUMAN, {"from": "gpt", "value": tagged}],
    }
    made = sft_layout(list(row), Wanted()).row_of(row)
    assert made["messages"][0]["content"] == "use <think> x </think>"
    assert made["messages"][2]["content"] == "<think>\neasy\n</think>\n\n2"
    assert made[REASONING] == "thought tags"
    kept = sft_layout(list(row), Wanted(style="keep")).row_of(row)
    assert kept["messages"][2]["content"] == tagged
    assert kept["messages"][0]["content"] == row["system"]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_in_a_field_of_the_message(field: str) -> None:
    row = {"messages": [{**USER, field: None}, {**ANSWER, field: "easy"}]}
    assert sft(row)["messages"][1] == {"role": "assistant", "content": "<think>\neasy\n</think>\n\n2"}
    assert sft(row, style="keep")["messages"] == [USER, ANSWER]


def test_grpo_needs_a_prompt_and_a_gold_answer() -> None:
    layout = grpo_layout(["question", "answer", "level"], Wanted("think"))
    row = layout.row_of({"question": "1+1", "answer": "so\n#### 2", "level": 3})
    assert row == {"prompt": [SYSTEM, USER], "solution": "2"}
    assert layout.words == "question → prompt, answer → solution"
    layout = grpo_layout(["x", "y"], Wanted(prompt_column="x", solution_column="y"))
    assert layout.row_of({"x": "1+1", "y": 2}) == {"prompt": [USER], "solution": "2"}
    with pytest.raises(RecipeError, match="for the prompt"):
        grpo_layout(["answer"], Wanted())
    with pytest.raises(RecipeError, match="for the gold answer"):
        grpo_layout(["prompt"], Wanted())


@pytest.mark.parametrize(
    ("row", "gold"),
    [
        ({"problem": "1+1", "ground_truth": "2"}, "ground_truth"),
        ({"problem": "1+1", "expected_answer": "2"}, "expected_answer"),
        ({"prompt": [USER], "reward_model": {"ground_truth": "2"}}, "reward_model.ground_truth"),
    ],
)
def test_where_gold_answers_are(row: dict[str, Any], gold: str) -> None:
    columns = [*row, *(f"{c}.{f}" for c, v in row.items() if isinstance(v, dict) for f in v)]
    layout = grpo_layout(columns, Wanted())
    assert layout.row_of(row) == {"prompt": [USER], "solution": "2"}
    assert f"{gold} → solution" in layout.words


def test_a_field_of_what_a_text_spells() -> None:
    layout = grpo_layout(["prompt", "verification_info", "verification_info.ground_truth"], Wanted())
    for info in ('{"ground_truth": "2"}', "{'ground_truth': '2'}"):
        made = layout.row_of({"prompt": "1+1", "verification_info": info})
        assert made == {"prompt": [USER], "solution": "2"}
    assert layout.row_of({"prompt": "1+1", "verification_info": "{broken"})["solution"] is None


@pytest.mark.parametrize("gold", [["2", "two"], {"value": "2"}, []])
def test_a_gold_answer_that_is_several(gold: Any) -> None:
    row = {"prompt": "1+1", "answer": gold}
    with pytest.raises(RecipeError, match="must be one text or number"):
        grpo_layout(list(row), Wanted()).row_of(row)
    assert grpo_layout(list(row), Wanted(), needs_gold=False).row_of(row)["solution"] == str(gold)
    assert grpo_layout(list(row), Wanted()).row_of({**row, "answer": ["2"]})["solution"] == "2"


@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_grpo_asks_what_a_conversation_asks(column: str) -> None:
    row = {"system": "think", column: [USER, ANSWER, {**USER, "content": "2+2"}, {**ANSWER, "content": "4"}]}
    layout = grpo_layout([*row, "answer"], Wanted())
    made = layout.row_of({**row, "answer": "4"})
    assert made == {"prompt": [SYSTEM, USER, ANSWER, {**USER, "content": "2+2"}], "solution": "4"}
    assert f"{column} without its last answer → prompt" in layout.words
    named = grpo_layout(["prompt", column, "answer"], Wanted(prompt_column=column))
    assert named.row_of({column: [USER, ANSWER], "answer": "2"})["prompt"] == [USER]
    with pytest.raises(RecipeError, match="asks nothing"):
        layout.row_of({**row, column: [ANSWER], "answer": "4"})


@pytest.mark.parametrize("spelt", [json.dumps, str], ids=["json", "python"])
def test_a_conversation_that_is_text(spelt: Any) -> None:
    """As in a CSV, which can hold no list."""
    assert sft({"messages": spelt([USER, ANSWER])}) == {"messages": [USER, ANSWER]}
    assert sft({"conversations": spelt([HUMAN, GPT])}) == {"messages": [USER, ANSWER]}
    pair = {"prompt": spelt([USER]), "completion": spelt([ANSWER])}
    assert sft(pair) == {"prompt": [USER], "completion": [ANSWER]}
    asked = "[1, 2] plays no role"  # text all the same
    assert sft({"prompt": asked, "completion": "2"})["prompt"] == [{**USER, "content": asked}]


def test_grpo_without_gold_where_no_reward_reads_it() -> None:
    layout = grpo_layout(["problem_statement", "verification_info"], Wanted(), needs_gold=False)
    assert layout.row_of({"problem_statement": "1+1", "verification_info": {}}) == {"prompt": [USER]}
    assert "no gold answer" in layout.words
