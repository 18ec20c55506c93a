"""Filters and choices on canned samples: which completions are left after each rule, and which are taken."""

from __future__ import annotations

from typing import Any

import pytest

from openr1.generation.reasoning import is_complete, restored
from openr1.generation.samples import Problem, problem_of
from openr1.generation.select import Funnel, Rules, pass_rate, select
from openr1.generation.verify import Judged


def canned(
    *samples: tuple[str, int, str, str | None], rewards: list[float | None] | None = None
) -> tuple[Problem, Judged]:
    """A problem and its verdicts from (verdict, tokens, finish reason, extracted answer)."""
    drawn = [{"text": f"{answer}", "tokens": tokens, "finish_reason": f} for _, tokens, f, answer in samples]
    problem = problem_of(0, {"problem": "p"}, [{"role": "user", "content": "p"}], drawn)
    return problem, Judged(0, [s[0] for s in samples], [s[3] for s in samples], rewards or [])


FOUR = canned(
    ("right", 30, "stop", "2"),
    ("wrong", 10, "stop", "3"),
    ("right", 20, "stop", "2"),
    ("truncated", 99, "length", None),
)


@pytest.mark.parametrize(
    ("rules", "stages"),
    [
        ({}, [("kept", [0, 1, 2, 3])]),
        ({"keep": "right"}, [("right", [0, 2])]),
        ({"truncated": "drop"}, [("not cut off", [0, 1, 2])]),
        ({"complete": True}, [("complete reasoning", [0, 1, 2])]),
        ({"min_tokens": 20, "max_tokens": 30}, [("length", [0, 2])]),
        ({"keep": "right", "choose": "shortest"}, [("right", [0, 2]), ("chosen (shortest)", [2])]),
        ({"keep": "right", "choose": "first"}, [("right", [0, 2]), ("chosen (first)", [0])]),
        ({"choose": "majority"}, [("chosen (majority)", [0])]),
        ({"choose": "shortest"}, [("chosen (shortest)", [1])]),
        ({"pass_rate_min": 0.5, "pass_rate_max": 0.8}, [("pass rate", [0, 1, 2, 3])]),
        ({"pass_rate_min": 0.7}, [("pass rate", [])]),
        ({"pass_rate_max": 0.6}, [("pass rate", [])]),
        ({"pass_rate_max": 0.6, "truncated_as": "wrong"}, [("pass rate", [0, 1, 2, 3])]),
    ],
)
def test_what_is_left_after_each_rule(rules: dict[str, Any], stages: list[tuple[str, list[int]]]) -> None:
    assert select(*FOUR, Rules(**rules)).stages == stages


def test_the_pass_rate_is_of_what_could_be_judged() -> None:
    assert pass_rate(FOUR[1]) == pytest.approx(2 / 3)  # cut off is not wrong
    assert pass_rate(FOUR[1], "wrong") == pytest.approx(2 / 4)
    unknown = canned(("timeout", 1, "stop", None), ("gold_unparsable", 1, "stop", "2"))[1]
    assert pass_rate(unknown) is None
    assert select(*canned(("error", 1, "stop", None)), Rules(pass_rate_min=0.0)).chosen == []
    half = canned(("right", 1, "stop", "2"), ("no_answer", 1, "stop", None))[1]
    assert pass_rate(half) == 0.5
    rewarded = canned(("right", 1, "stop", "2"), ("truncated", 1, "length", None), rewards=[0.25, 0.75])[1]
    assert pass_rate(rewarded) == 0.25


def test_the_window_is_strict_as_upstreams() -> None:
    problem, judged = canned(("right", 1, "stop", "2"), ("wrong", 1, "stop", "3"))
    for rules in (Rules(pass_rate_min=0.5), Rules(pass_rate_max=0.5)):
        assert select(problem, judged, rules).chosen == []
    assert select(problem, judged, Rules(pass_rate_min=0.49, pass_rate_max=0.51)).chosen == [0, 1]


def test_a_majority_needs_answers_and_takes_the_first_of_equals() -> None:
    even = canned(("wrong", 1, "stop", "3"), ("right", 1, "stop", "2"), ("truncated", 9, "length", None))
    assert select(*even, Rules(choose="majority")).chosen == [0]
    none = canned(("no_answer", 1, "stop", None))
    assert select(*none, Rules(choose="majority")).chosen == []
    assert (
        select(none[0], None, Rules(keep="right")).chosen == []
    )  # not verified: nothing is known to be right


def test_the_funnel_counts_problems_and_completions() -> None:
    rules = Rules(keep="right", choose="first")
    lost = canned(("wrong", 1, "stop", "3"))
    selections = [select(*FOUR, rules), select(*lost, rules)]
    funnel = Funnel()
    assert list(funnel.counted(iter(selections))) == selections
    assert funnel.steps == [
        {"step": "right", "problems": 1, "samples": 2},
        {"step": "chosen (first)", "problems": 1, "samples": 1},
    ]
    assert selections[1].as_line() == {"row": 0, "chosen": [], "pass_rate": 0.0, "lost_at": "right"}
    assert selections[0].as_line()["lost_at"] is None


def test_the_opening_tag_that_the_prompt_had_written_comes_back() -> None:
    assert restored("thought</think>2", True) == "<think>\nthought</think>2"
    assert restored("<think>thought</think>2", True) == "<think>thought</think>2"
    assert restored("2", False) == "2"


@pytest.mark.parametrize(
    ("text", "reason", "complete"),
    [
        ("<think>a</think>2", "stop", True),
        ("<think>a</think>2", "length", False),
        ("<think>a", "stop", False),
        ("<think>a</think> so <think>b", "stop", False),
        ("just 2", "stop", True),
        ("<|begin_of_thought|>a", "stop", False),
        ("<|begin_of_thought|>a<|end_of_thought|>2", "stop", True),
    ],
)
def test_whether_reasoning_came_to_its_end(text: str, reason: str, complete: bool) -> None:
    assert is_complete(text, reason) is complete
