"""Statistics against closed forms, against values worked out elsewhere, and against simulation."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from openr1.evaluation import statistics as st


def test_z() -> None:
    assert st.z_of(0.95) == pytest.approx(1.959964, abs=1e-6)
    with pytest.raises(ValueError, match="confidence"):
        st.z_of(1.0)


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        # evaluation.md 3.3: AIME at one half and all right, MATH-500 at .9, GPQA at one half
        (15, 30, 0.33, 0.67),
        (30, 30, 0.89, 1.00),
        (450, 500, 0.87, 0.92),
        (99, 198, 0.43, 0.57),
        (0, 30, 0.00, 0.11),
    ],
)
def test_wilson_known_values(right: int, total: int, low: float, high: float) -> None:
    interval = st.wilson(right, total)
    assert (round(interval.low, 2), round(interval.high, 2)) == (low, high)


def test_wilson_ends_solve_the_score_equation() -> None:
    """Each end p satisfies |p̂ − p| = z √(p(1−p)/n), the definition of the interval."""
    for right, total in itertools.product((1, 7, 20), (21, 60)):
        interval = st.wilson(right, total)
        for p in (interval.low, interval.high):
            assert abs(right / total - p) == pytest.approx(st.z_of() * math.sqrt(p * (1 - p) / total))


def test_wilson_at_zero() -> None:
    z2 = st.z_of() ** 2
    assert st.wilson(0, 10) == st.Interval(0.0, pytest.approx(z2 / (10 + z2)))


@pytest.mark.parametrize(("right", "total"), [(-1, 3), (4, 3), (0, 0)])
def test_wilson_refuses(right: int, total: int) -> None:
    with pytest.raises(ValueError, match="right"):
        st.wilson(right, total)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_wilson_coverage(p: float) -> None:
    generator = random.Random(3)
    hits = 0
    for _ in range(2_000):
        interval = st.wilson(sum(generator.random() < p for _ in range(40)), 40)
        hits += interval.low <= p <= interval.high
    assert 0.92 < hits / 2_000 < 0.985


def test_pass_at_k_is_the_share_of_subsets() -> None:
    """By definition: over all k-subsets of the answers, the share that holds a right one."""
    for n, c in ((5, 0), (5, 2), (6, 3), (4, 4)):
        answers = [i < c for i in range(n)]
        for k in range(1, n + 1):
            subsets = list(itertools.combinations(answers, k))
            assert st.pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_unbiased_and_refuses() -> None:
    generator = random.Random(5)
    p, k = 0.3, 4
    draws = [st.pass_at_k(16, sum(generator.random() < p for _ in range(16)), k) for _ in range(4_000)]
    assert sum(draws) / len(draws) == pytest.approx(1 - (1 - p) ** k, abs=0.01)
    with pytest.raises(ValueError, match="answers"):
        st.pass_at_k(3, 1, 4)


def test_score_errors_by_hand() -> None:
    errors = st.score_errors([[1, 0], [1, 1]])
    assert errors.score == 0.75
    assert errors.within == pytest.approx(0.25)  # variances .5 and 0
    assert errors.other_problems == pytest.approx(math.sqrt(0.125 / 2))
    assert errors.other_run == pytest.approx(math.sqrt(0.25 / (2 * 2)))
    assert errors.between == 0.0


def test_score_errors_what_is_not_known_is_none() -> None:
    single = st.score_errors([[1], [0], [1]])
    assert single.other_run is None and single.within is None
    assert single.other_problems == pytest.approx(math.sqrt((1 / 3) / 3))
    assert st.score_errors([[1, 0]]).other_problems is None
    with pytest.raises(ValueError, match="answer"):
        st.score_errors([[1], []])


def test_two_errors_by_simulation() -> None:
    """Scores of repeated runs scatter by the one error, scores on fresh problems by the other."""
    generator = random.Random(11)
    n, k = 60, 8

    def run(chances: list[float]) -> st.ScoreErrors:
        return st.score_errors([[float(generator.random() < p) for _ in range(k)] for p in chances])

    fixed = [generator.betavariate(0.7, 0.7) for _ in range(n)]
    same = [run(fixed) for _ in range(400)]
    fresh = [run([generator.betavariate(0.7, 0.7) for _ in range(n)]) for _ in range(400)]

    def scatter(runs: list[st.ScoreErrors]) -> float:
        mean = sum(r.score for r in runs) / len(runs)
        return math.sqrt(sum((r.score - mean) ** 2 for r in runs) / (len(runs) - 1))

    other_run = math.sqrt(sum((r.other_run or 0) ** 2 for r in same) / len(same))
    other_problems = math.sqrt(sum((r.other_problems or 0) ** 2 for r in fresh) / len(fresh))
    assert scatter(same) == pytest.approx(other_run, rel=0.12)
    assert scatter(fresh) == pytest.approx(other_problems, rel=0.12)
    assert other_run < other_problems / 2


def test_fitted_published_values() -> None:
    """evaluation.md 3.4: AIME24 with S = .128 has 6.5 points at k = 1 and 0.8 at k = 64."""
    assert math.sqrt(0.128 / 30) == pytest.approx(0.065, abs=5e-4)
    assert 100 * st.run_error_assumed(0.839, 500, 1) == pytest.approx(1.16, abs=0.01)


def test_bootstrap_matches_the_normal_interval_and_is_seeded() -> None:
    generator = random.Random(2)
    values = [float(generator.random() < 0.7) for _ in range(300)]
    interval = st.bootstrap(values)
    expected = 1.96 * math.sqrt(0.7 * 0.3 / 300)
    assert interval.half_width == pytest.approx(expected, rel=0.1)
    assert interval == st.bootstrap(values) != st.bootstrap(values, seed=1)
    assert st.bootstrap([1.0] * 5) == st.Interval(1.0, 1.0)
    assert st.bootstrap(values, statistic=max).high == 1.0


def test_bootstrap_coverage() -> None:
    generator = random.Random(4)
    hits = 0
    for trial in range(200):
        values = [generator.betavariate(2, 1) for _ in range(50)]
        interval = st.bootstrap(values, draws=300, seed=trial)
        hits += interval.low <= 2 / 3 <= interval.high
    assert 0.88 < hits / 200 <= 0.99


def test_paired_comparison_sees_what_unpaired_cannot() -> None:
    generator = random.Random(6)
    hard = [generator.random() for _ in range(200)]
    second = [min(1.0, p + 0.03) for p in hard]
    result = st.paired_bootstrap(hard, second)
    assert result.interval.low > 0.02 and result.p_value < 0.01
    assert (result.better, result.worse) == (sum(a < b for a, b in zip(hard, second, strict=True)), 0)
    assert st.paired_bootstrap(hard, hard).p_value == 1.0
    with pytest.raises(ValueError, match="equally long"):
        st.paired_bootstrap([1.0], [])


def test_paired_p_value_is_uniform_without_a_difference() -> None:
    generator = random.Random(8)
    small = 0
    for trial in range(200):
        a = [float(generator.random() < 0.5) for _ in range(40)]
        b = [float(generator.random() < 0.5) for _ in range(40)]
        small += st.paired_bootstrap(a, b, draws=200, seed=trial).p_value < 0.05
    assert small / 200 < 0.1


@pytest.mark.parametrize(
    ("gained", "lost", "p"), [(0, 0, 1.0), (5, 5, 1.0), (1, 0, 1.0), (6, 0, 2 / 64), (9, 1, 2 * 11 / 1024)]
)
def test_mcnemar(gained: int, lost: int, p: float) -> None:
    first = [False] * gained + [True] * lost + [True, False]
    second = [True] * gained + [False] * lost + [True, False]
    assert st.mcnemar(first, second) == pytest.approx(p)


def test_mcnemar_many_problems() -> None:
    n = 4_000
    assert st.mcnemar([False] * n, [True] * n) == pytest.approx(0.0, abs=1e-300)


def test_majority() -> None:
    assert st.majority_at_k(["6", "6", "7"], [True, True, False]) == 1.0
    assert st.majority_at_k(["6", "7"], [True, False]) == 0.5
    assert st.majority_at_k([None, None], [False, False]) == 0.0


def test_z_score() -> None:
    assert st.z_score(0.812, 0.839, 0.012) == pytest.approx(-2.25)
    assert st.z_score(1, 0, 0) == math.inf
