"""accuracy, cosine and length on verdicts; what cannot be judged is None."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from openr1.errors import RecipeError
from openr1.grading import Verdict
from openr1.rewards import accounting, accuracy_reward, cosine_reward, get_reward_funcs, len_reward

RIGHT, WRONG, NONE, CUT = (
    r"\boxed{6}",
    r"\boxed{7}",
    "I am at a loss about this one, sorry to say.",
    "<think>6",
)


@pytest.fixture(autouse=True)
def fresh_accounts() -> Iterator[None]:
    accounting.reset()
    yield
    accounting.reset()


def test_accuracy() -> None:
    completions = [RIGHT, WRONG, NONE, CUT, RIGHT]
    assert accuracy_reward(completions, ["6", "6", "6", "6", None]) == [1.0, 0.0, 0.0, 0.0, None]
    assert accuracy_reward(completions[:2], answer=[6, 6]) == [1.0, 0.0]
    messages = [[{"role": "assistant", "content": RIGHT}]]
    assert accuracy_reward(messages, ["6"]) == [1.0]


def test_accuracy_needs_a_gold_column() -> None:
    with pytest.raises(RecipeError, match="solution or answer"):
        accuracy_reward([RIGHT], target=["6"])


@pytest.mark.parametrize("golds", [["6"], ["6", "6", "6"], []])
def test_columns_of_unequal_length_are_never_a_silent_score(golds: list[str]) -> None:
    assert accuracy_reward([RIGHT, WRONG], golds) == [None, None]
    assert accounting.accounts("accuracy").total == {Verdict.gold_unparsable: 2}


def test_truncation_is_seen_in_token_counts() -> None:
    text, ids = "the answer is 6", [[1] * 10]
    assert accuracy_reward([text], ["6"], completion_ids=ids, max_completion_length=11) == [1.0]
    assert accuracy_reward([text], ["6"], completion_ids=ids, max_completion_length=10) == [0.0]
    assert accounting.accounts("accuracy").total[Verdict.truncated] == 1


def test_prefilled_think() -> None:
    assert accuracy_reward(["so 6"], ["6"], think_prefilled=True) == [0.0]
    assert accuracy_reward(["6</think>6"], ["6"], think_prefilled=True) == [1.0]
    assert accuracy_reward(["6"], ["6"], prompts=["…<think>\n"]) == [0.0]


def test_verdicts_are_reported() -> None:
    metrics: dict[str, float] = {}
    columns: dict[str, list[Any]] = {}
    accuracy_reward(
        [RIGHT, WRONG, NONE, CUT],
        ["6"] * 4,
        log_metric=metrics.__setitem__,
        log_extra=columns.__setitem__,
    )
    assert metrics == {f"verdict/{v.value}": 0.25 * (v.judged) for v in Verdict}
    assert columns["verdict"] == ["right", "wrong", "no_answer", "truncated"]


def test_cosine_by_the_formula() -> None:
    ids = [[1] * 20, [1] * 80, [1] * 20, [1] * 80, [1] * 500, [1] * 500]
    texts = [RIGHT, RIGHT, WRONG, WRONG, RIGHT, WRONG]
    values = cosine_reward(texts, ["6"] * 6, completion_ids=ids, max_len=100)
    wave = [0.5 * (1 + math.cos(math.pi * p)) for p in (0.2, 0.8)]
    assert values[:2] == [pytest.approx(0.5 + 0.5 * w) for w in wave]
    assert values[2:4] == [pytest.approx(-0.5 - 0.5 * w) for w in wave]
    assert values[4:] == [0.5, -0.5]  # beyond max_len it stays, it does not come back


def test_cosine_and_length_leave_out_what_cannot_be_judged() -> None:
    assert cosine_reward([RIGHT, WRONG], [None, "6"], completion_ids=[[1], []])[0] is None
    assert len_reward([RIGHT, WRONG, RIGHT], ["6", None, "6"], completion_ids=[[1], [1] * 9, [1] * 3]) == [
        0.5,
        None,
        -0.5,
    ]


def test_length_within_one_prompt() -> None:
    ids = [[1] * n for n in (10, 20, 30, 5, 5)]
    texts, prompts = [RIGHT, RIGHT, WRONG, RIGHT, WRONG], ["a", "a", "a", "b", "b"]
    assert len_reward(texts, ["6"] * 5, completion_ids=ids, prompts=prompts) == [0.5, 0.0, -0.5, 0.0, 0.0]
    wrong_and_short = len_reward([WRONG, RIGHT], ["6"] * 2, completion_ids=[[1], [1] * 3])
    assert wrong_and_short == [0.0, -0.5]


def test_a_trainers_call() -> None:
    """Everything TRL passes, to every reward; a column called like a parameter changes nothing."""
    rewards = get_reward_funcs(
        ["accuracy", "format", "cosine", "length", "tag_count", "reasoning_steps", "repetition_penalty",
         "soft_overlong_punishment"],
        max_completion_length=64, soft_punish_cache=10, think_prefilled=False,
    )  # fmt: skip
    for reward in rewards:
        values = reward(
            prompts=["p", "p"],
            completions=[RIGHT, WRONG],
            completion_ids=[[1, 2], [3]],
            solution=["6", "6"],
            max_len=["x", "x"],
            steps=["y", "y"],
            language=["python", "cpp"],
            trainer_state=object(),
            log_extra=lambda name, values: None,
            log_metric=lambda name, value: None,
        )
        assert len(values) == 2 and all(isinstance(v, float) for v in values), reward
