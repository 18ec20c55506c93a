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
        interval, _ = _interval(means, answers, trial)
        hits += interval.low <= truth <= interval.high
    return hits / EVALUATIONS


@pytest.mark.parametrize("problems", [30, 500])
def test_one_answer_each(problems: int) -> None:
    assert 0.93 <= covered(problems, 1, None) <= 0.97


@pytest.mark.parametrize(("answers", "shape"), [(4, (0.7, 0.7)), (64, (1.0, 2.0))])
def test_several_answers_to_30_problems(answers: int, shape: tuple[float, float]) -> None:
    assert 0.93 <= covered(30, answers, shape) <= 0.97


@pytest.mark.parametrize(
    ("answers", "shape"), [(2, (0.1, 3.2)), (4, (0.1, 1.9)), (64, (0.1, 1.9)), (64, (1.9, 0.1))]
)
def test_nearly_all_or_nearly_none_right(answers: int, shape: tuple[float, float]) -> None:
    """Scores of 3, 5 and 95 %: the bootstrap alone would cover 86 to 91 % of most of these."""
    assert 0.93 <= covered(30, answers, shape) <= 0.985


def test_a_right_answer_more_never_lowers_an_end() -> None:
    """None to four of 30 problems: there was a step down from none (to 11.4) to the first (to 10.0)."""
    ends = []
    for right in range(5):
        interval, _ = _interval([1.0] * right + [0.0] * (30 - right), 4, 0)
        ends.append((interval.low, interval.high))
    assert ends == sorted(ends) and [high for _, high in ends] == sorted(high for _, high in ends)
    one, _ = _interval([0.25] + [0.0] * 29, 4, 0)
    assert one.low < 0.25 / 30 and one.high > 0.05  # one right answer of 120; the bootstrap alone: 0 to 0.033


def test_effective_trials() -> None:
    """Problems that differ wholly are one trial each, however many answers; the pull of five such problems
    keeps those that are all alike from counting every answer."""
    assert st.wilson_of_means([1.0, 0.0, 0.0, 0.0], 64) == st.wilson(1, 4)
    alike = st.wilson_of_means([0.5] * 10, 4)
    assert alike == st.wilson(15, 30)  # variance 0 of 10 problems, .25 of five: 10 · 15 / 5 trials
    assert st.wilson_of_means([0.5] * 100, 4) == st.wilson(200, 400)  # no more than there are answers
    assert st.wilson_of_means([0.5], 4) == st.wilson(0.5, 1)


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
    assert same["interval"][0] < 0.35 and same["interval_method"] == "Wilson"  # ten alike show no certainty
    assert same["other_run"] == pytest.approx((0.5 / 20) ** 0.5)
    certain = score_rows(rows([["right", "right"], ["wrong", "wrong"]]), 2, 0)
    assert certain["other_run"] == 0
    perfect = score_rows(rows([["right"] * 4] * 30), 4, 0)
    assert perfect["interval"][0] == pytest.approx(0.886, abs=1e-3)  # thirty problems cannot show certainty
    assert perfect["problem_scores"] == {f"p{i}": 1.0 for i in range(30)}


@pytest.mark.slow
def test_a_paired_interval_covers_on_few_problems() -> None:
    """Second minus first of 30 problems: the plain bootstrap would cover about 93 %."""
    dice, hits = random.Random(9), 0
    for trial in range(EVALUATIONS):
        chances = [dice.betavariate(1, 2) for _ in range(30)]
        first, second = ([sum(dice.random() < p for _ in range(4)) / 4 for p in chances] for _ in range(2))
        interval = st.paired_bootstrap(first, second, draws=300, seed=trial).interval
        hits += interval.low <= 0 <= interval.high
    assert 0.93 <= hits / EVALUATIONS <= 0.97


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
