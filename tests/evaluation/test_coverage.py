"""A 95 % interval holds the truth in 95 of 100 evaluations: 1,000 simulated ones each, scored as real."""

from __future__ import annotations

import random

import pytest

from openr1.evaluation import statistics as st
from openr1.evaluation.score import _interval, score_rows

EVALUATIONS = 1_000


def covered(problems: int, answers: int, shape: tuple[float, float] | None) -> float:
    """The share of intervals that hold the true score, over models of all strengths.

    Args:
        shape: of the beta distribution of chances over problems; None: one chance for all problems, a new
            one in every evaluation.
    """
    dice = random.Random(f"{problems}/{answers}/{shape}")
    hits = 0
    for trial in range(EVALUATIONS):
        if shape is None:
            truth = dice.uniform(0.1, 0.9)
            chances = [truth] * problems
        else:
            truth = shape[0] / sum(shape)
            chances = [dice.betavariate(*shape) for _ in range(problems)]
        means = [sum(dice.random() < p for _ in range(answers)) / answers for p in chances]
        interval = _interval(means, answers, trial)
        hits += interval.low <= truth <= interval.high
    return hits / EVALUATIONS


@pytest.mark.parametrize("problems", [30, 500])
def test_one_answer_each(problems: int) -> None:
    assert 0.93 <= covered(problems, 1, None) <= 0.97


@pytest.mark.parametrize(("answers", "shape"), [(4, (0.7, 0.7)), (64, (1.0, 2.0))])
def test_several_answers_to_30_problems(answers: int, shape: tuple[float, float]) -> None:
    assert 0.93 <= covered(30, answers, shape) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(("answers", "shape"), [(4, (0.7, 0.7)), (16, (1.0, 2.0))])
def test_several_answers_to_500_problems(answers: int, shape: tuple[float, float]) -> None:
    assert 0.93 <= covered(500, answers, shape) <= 0.97


def test_t_quantiles() -> None:
    for degrees, expected in ((5, 2.5706), (10, 2.2281), (29, 2.0452), (499, 1.9647)):
        assert st.t_quantile(0.975, degrees) == pytest.approx(expected, abs=2e-3)


def test_the_plain_bootstrap_would_be_too_narrow() -> None:
    values = [i / 29 for i in range(30)]
    plain, wide = st.bootstrap(values), st.bootstrap(values, small_sample=True)
    assert 1.03 < wide.half_width / plain.half_width < 1.10
    many = [i / 1999 for i in range(2000)]
    assert st.bootstrap(many, draws=300, small_sample=True).half_width == pytest.approx(
        st.bootstrap(many, draws=300).half_width, rel=0.02
    )


def rows(verdicts: list[list[str]]) -> list[dict[str, object]]:
    return [
        {
            "row": i,
            "index": j,
            "verdict": verdict,
            "tokens": 5,
            "finish_reason": "stop",
            "problem_id": f"p{i}",
        }
        for i, found in enumerate(verdicts)
        for j, verdict in enumerate(found)
    ]


def test_closed_forms() -> None:
    """One answer is binomial; equal problems have no error of their own; equal answers none of a run."""
    single = score_rows(rows([["right"]] * 6 + [["wrong"]] * 4), 1, 0)
    assert single["other_problems"] == pytest.approx((0.6 * 0.4 / 9) ** 0.5)
    wilson = st.wilson(6, 10)
    assert single["interval"] == [wilson.low, wilson.high]
    same = score_rows(rows([["right", "wrong"]] * 10), 2, 0)
    assert same["other_problems"] == 0
    assert same["other_run"] == pytest.approx((0.5 / 20) ** 0.5)
    certain = score_rows(rows([["right", "right"], ["wrong", "wrong"]]), 2, 0)
    assert certain["other_run"] == 0
    perfect = score_rows(rows([["right"] * 4] * 30), 4, 0)
    assert perfect["interval"][0] == pytest.approx(0.886, abs=1e-3)  # thirty problems cannot show certainty
    assert perfect["problem_scores"] == {f"p{i}": 1.0 for i in range(30)}


def test_identical_runs_differ_by_nothing() -> None:
    means = [i / 29 for i in range(30)]
    found = st.paired_bootstrap(means, means)
    assert (found.difference, found.interval.low, found.interval.high, found.p_value) == (0, 0, 0, 1)
    assert (found.better, found.worse) == (0, 0)
    assert st.mcnemar([True, False] * 9, [True, False] * 9) == 1
    single, again = (score_rows(rows([["right"], ["wrong"]] * 15), 1, seed) for seed in (0, 1))
    assert st.z_score(single["accuracy"], again["accuracy"], 0.1, 0.1) == 0


def test_what_could_not_be_judged_is_apart() -> None:
    found = score_rows(rows([["right"], ["timeout"], ["gold_unparsable"], ["no_answer"]]), 1, 0)
    assert (found["accuracy"], found["timeout"], found["unjudged"], found["no_answer"]) == (
        0.25,
        0.25,
        0.5,
        0.25,
    )
