"""The reward check finds what would waste a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from openr1.grading import Verdict
from openr1.rewards import Completion, accounting, check_rewards, get_reward_funcs

ROWS: list[dict[str, Any]] = [
    {"prompt": "a", "solution": "6"},
    {"prompt": "b", "solution": r"\frac{1}{2}"},
    {"prompt": "c", "solution": None},
    {"prompt": "d", "solution": r"\frac{1}{"},
]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    pytest.importorskip("math_verify")
    accounting.reset()
    yield
    accounting.reset()


def test_bad_golds_are_named_by_row() -> None:
    report = check_rewards(ROWS, get_reward_funcs(["accuracy", "format"]))
    assert [p.row for p in report.gold_problems] == [2, 3]
    assert report.gold_column == "solution" and report.samples == () and report.rewards == ()
    assert "2 of 4 golds do not parse (rows 3, 4)" in report.problems[0]


def test_golds_are_not_read_when_no_reward_needs_them() -> None:
    report = check_rewards(ROWS, get_reward_funcs(["format"]))
    assert report.gold_problems == () and report.gold_column is None and report.problems == ()


def test_missing_columns() -> None:
    report = check_rewards([{"prompt": "a", "target": "6"}], get_reward_funcs(["accuracy", "code", "format"]))
    assert report.missing_columns == {"accuracy": ("solution or answer",), "code": ("verification_info",)}
    assert len(report.problems) == 2


def test_prompts_and_template() -> None:
    report = check_rewards(
        ROWS[:2],
        get_reward_funcs(["format"]),
        rendered_prompts=["a<think>\n", "b<think>\n"],
        prompt_tokens=[5, 50],
        max_prompt_tokens=20,
    )
    assert report.think_prefilled and report.long_prompts == (1,)
    assert "longer than the context" in report.problems[0]


def group(*texts: str, finish: str | None = None) -> list[Completion]:
    return [Completion(t, finish, [1] * len(t)) for t in texts]


def test_rewards_of_sampled_completions() -> None:
    good = "<think>a</think><answer>{}</answer>"
    report = check_rewards(
        ROWS[:2],
        get_reward_funcs(["accuracy", "format"]),
        completions=[group(good.format(6), good.format(7)), group(good.format(1), good.format(2))],
    )
    accuracy, form = report.rewards
    assert (accuracy.mean, accuracy.constant, accuracy.flat_groups) == (0.25, False, 0.5)
    assert (form.mean, form.constant, form.always_zero) == (1.0, True, False)
    assert report.flat_groups == 0.5
    assert report.verdicts == {Verdict.right: 1, Verdict.wrong: 3}
    first = report.samples[0]
    assert (first.row, first.extracted, first.rewards) == (0, "6", {"accuracy": 1.0, "format": 1.0})
    assert report.problems == ("reward format is the same for every completion (1)",)


def test_always_zero_says_why() -> None:
    report = check_rewards(
        ROWS[:1],
        get_reward_funcs(["accuracy", "format"]),
        completions=[group("<think>so it is 6", "<think>well", finish="length")],
    )
    accuracy, form = report.rewards
    assert accuracy.always_zero and "2 of 2 truncated" in accuracy.why
    assert form.always_zero and "never produced: </think>, <answer>, </answer>" in form.why
    assert report.truncated == 1.0 and report.flat_groups == 1.0
    assert any("nothing to learn" in p for p in report.problems)


def test_no_reason_is_made_up() -> None:
    """A person's own reward that is always 0 need not have anything to do with the answers."""
    (own,) = get_reward_funcs([f"{__file__}:never"])
    answers = [group("<answer>6</answer>", "<answer>7</answer>")]
    report = check_rewards(ROWS[:1], [own], completions=answers)
    assert report.rewards[0].always_zero and report.rewards[0].why == ""
    wrong = check_rewards(ROWS[:1], [own], completions=[group("<answer>7</answer>")])
    assert wrong.rewards[0].why == ""


def never(completions: list[str], **kwargs: Any) -> list[float]:
    return [0.0] * len(completions)


def test_weights_decide_the_spread() -> None:
    rewards = get_reward_funcs(["accuracy", "format"])
    completions = [group("<think>a</think><answer>6</answer>", "6")]
    assert check_rewards(ROWS[:1], rewards, completions=completions).flat_groups == 0.0
    assert check_rewards(ROWS[:1], rewards, completions=completions, weights=[1.0, 0.0]).flat_groups == 1.0


def test_nothing_judged() -> None:
    report = check_rewards(ROWS[2:3], get_reward_funcs(["accuracy"]), completions=[group("6", "7")])
    assert report.rewards[0].mean is None and report.rewards[0].unjudged == 2
    assert any("could judge none" in p for p in report.problems)


def test_no_rows() -> None:
    report = check_rewards([], get_reward_funcs(["format"]))
    assert report.rows == 0 and report.problems == ()
