"""format, tag_count, reasoning_steps, code_format, repetition and length penalties."""

from __future__ import annotations

from typing import Any

import pytest

from openr1.errors import RecipeError
from openr1.rewards import (
    code_format_reward,
    format_reward,
    get_repetition_penalty_reward,
    get_soft_overlong_punishment,
    reasoning_steps_reward,
    repetition_penalty_reward,
    tag_count_reward,
)
from openr1.rewards.form import fenced_blocks
from openr1.rewards.messages import text_of


def chat(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


GOOD = [
    "<think>\na\n</think>\n<answer>\nb\n</answer>",
    "<think>a</think><answer>b</answer>",
    "<think>a</think>\n\n<answer>b</answer>\n",
    "  <think>a</think> <answer>b</answer>  ",
    "<think>\n\n</think><answer>\n\n</answer>",
]
BAD = [
    "",
    "no tags",
    "<think>a</think>",
    "<answer>b</answer>",
    "<think>a</think><answer>b</answer> and more",
    "<think>a</think><answer>b</answer>\nmore",
    "well: <think>a</think><answer>b</answer>",
    "<think>a</think> so <answer>b</answer>",
    "<think>a<think>b</think></think><answer>c</answer>",
    "<think>a</think><answer>b</answer><answer>c</answer>",
    "<answer>b</answer><think>a</think>",
    "<think>a</think><answer>b",
    "<THINK>a</THINK><ANSWER>b</ANSWER>",
]


@pytest.mark.parametrize("text", GOOD)
def test_format_accepts(text: str) -> None:
    assert format_reward([text, chat(text)]) == [1.0, 1.0]
    assert format_reward([text], think_prefilled=False) == [1.0]
    assert format_reward([text], think_prefilled=True) == [0.0]


@pytest.mark.parametrize("text", BAD)
def test_format_refuses(text: str) -> None:
    assert format_reward([text, chat(text)]) == [0.0, 0.0]


def test_format_with_a_prefilled_think() -> None:
    text = "a\n</think>\n<answer>\nb\n</answer>"
    assert format_reward([text], think_prefilled=True) == [1.0]
    assert format_reward([text], think_prefilled=False) == [0.0]
    assert format_reward([text]) == [1.0]
    # seen in a rendered prompt, and in a conversation that is continued
    assert format_reward([text], prompts=["<|assistant|><think>\n"]) == [1.0]
    assert format_reward([text], prompts=["<|assistant|>"]) == [0.0]
    prompt = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>\n"}]
    assert format_reward([chat(text)], prompts=[prompt]) == [1.0]
    assert tag_count_reward([text], prompts=["<think>"]) == [1.0]


def test_tag_count() -> None:
    texts = [
        "<think>a</think><answer>b</answer>",
        "<think>a</think>",
        "a</think><answer>b</answer>",
        "none",
        "<think><think>a</think><answer>b</answer>",
    ]
    assert tag_count_reward(texts) == [1.0, 0.5, 0.75, 0.0, 0.75]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Step 1: a\nStep 2: b\nStep 3: c", 1.0),
        ("1. a\n2. b\n3. c", 1.0),
        ("- a\n- b", 2 / 3),
        ("* a\n* b\n* c\n* d", 1.0),
        ("First, a.\nSecond, b.\nFinally, c.", 1.0),
        ("First, a.\nFinally, c.", 2 / 3),
        ("Step 1: only", 1 / 3),
        ("plain text, 3.5 apples - no steps", 0.0),
        ("", 0.0),
    ],
)
def test_reasoning_steps(text: str, value: float) -> None:
    assert reasoning_steps_reward([text]) == [pytest.approx(value)]


def test_code_format() -> None:
    answer = "<think>a</think><answer>```{}\nprint(1)\n```</answer>"
    assert code_format_reward([answer.format(n) for n in ("python", "python3", "cpp", "")]) == [
        1.0,
        1.0,
        0.0,
        0.0,
    ]
    assert code_format_reward([answer.format("cpp")], language=["cpp"]) == [1.0]
    assert code_format_reward(["<think>```python\nx\n```</think><answer>b</answer>"]) == [0.0]
    assert code_format_reward(["```python\nx\n```"]) == [0.0]


def test_fenced_blocks() -> None:
    text = "```python\na\n```\ntext\n```\nb\n```\n```cpp\nnever closed"
    assert fenced_blocks(text) == [("python", "a\n"), ("", "b\n")]


@pytest.mark.parametrize(
    ("text", "n", "value"),
    [
        ("this this this this this", 2, -0.75),
        ("this is a this is a test", 2, -1 / 3),
        ("This is A Test", 2, 0.0),
        ("word", 3, 0.0),
        ("", 3, 0.0),
        ("A B C A B C E F G A B C A B C", 3, -5 / 13),
    ],
)
def test_repetition(text: str, n: int, value: float) -> None:
    assert repetition_penalty_reward([text], ngram_size=n) == [pytest.approx(value)]
    assert get_repetition_penalty_reward(n, -2.0)([chat(text)]) == [pytest.approx(2 * value)]


@pytest.mark.parametrize("settings", [{"max_penalty": 0.5}, {"ngram_size": 0}, {"language": "fr"}])
def test_repetition_refuses(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        repetition_penalty_reward(["a"], **settings)


def test_repetition_in_chinese() -> None:
    pytest.importorskip("jieba")
    same, varied = repetition_penalty_reward(
        ["我们我们我们我们", "今天天气很好"], ngram_size=1, language="zh"
    )
    assert same is not None and same < -0.5 and varied == 0.0


def test_soft_overlong() -> None:
    reward = get_soft_overlong_punishment(100, 20)
    lengths = [50, 80, 90, 100, 101]
    assert reward([""] * 5, completion_ids=[[1] * n for n in lengths]) == [0.0, 0.0, -0.5, -1.0, -1.0]
    with pytest.raises(RecipeError, match="token ids"):
        reward([""])


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("a", "a"),
        ([{"role": "assistant", "content": "a"}], "a"),
        ([{"content": "tool"}, {"content": "b"}], "b"),
        ([{"content": None}], None),
        ([{"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}]}], "ab"),
        ([{"content": "b", "reasoning_content": "a"}], "<think>\na\n</think>\nb"),
        ([], None),
        (None, None),
        (7, None),
    ],
)
def test_text_of(completion: Any, text: str | None) -> None:
    assert text_of(completion) == text


NASTY = [
    "",
    " " * 1_000_000,
    "<think>" * 50_000,
    "</think>" * 50_000 + "<answer>",
    "```python\n" * 50_000,
    "\ud800",
    "\n" * 500_000,
    "a " * 500_000,
    "1. " * 100_000,
    "First" * 50_000,
]


@pytest.mark.parametrize(
    "reward",
    [format_reward, tag_count_reward, reasoning_steps_reward, code_format_reward, repetition_penalty_reward],
)
def test_nasty_text_is_scored_without_a_crash(reward: Any) -> None:
    values = reward([*NASTY, None, [], [{"content": None}]])
    assert len(values) == len(NASTY) + 3 and None not in values
