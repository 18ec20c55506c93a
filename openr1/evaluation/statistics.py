"""Error bars for evaluations. Pure functions on counts and scores; nothing is imported but the library.

A score has two errors, and they answer different questions:

- *another draw of problems*: how far would the score move on other problems of the same kind?
- *another run on the same problems*: how far would it move if the model answered these again?

With p_i the chance to solve problem i, B the variance of p_i over problems and S the mean of
p_i(1 − p_i), k answers to each of n problems give a score of variance (B + S/k)/n for the first and
S/(n·k) for the second (law of total variance). Only the second goes to 0 with k.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def z_of(confidence: float = CONFIDENCE) -> float:
    """Two-sided normal quantile, 1.96 for 0.95.

    Raises:
        ValueError: `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(right: float, total: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval for a share (JASA 22, 1927): sensible at 0 and 1 and for few problems.

    Args:
        right: successes, 0 ≤ right ≤ total; may be fractional (mean scores times problems).
        total: trials; may be fractional (an effective number).

    Raises:
        ValueError: counts out of range.
    """
    if total <= 0 or not 0 <= right <= total:
        raise ValueError(f"need 0 <= right <= total and total > 0, got {right} of {total}")
    z, p = z_of(confidence), right / total
    z2 = z * z / total
    centre = (p + z2 / 2) / (1 + z2)
    half = z / (1 + z2) * math.sqrt(p * (1 - p) / total + z2 / (4 * total))
    low = 0.0 if right == 0 else max(0.0, centre - half)
    high = 1.0 if right == total else min(1.0, centre + half)
    return Interval(low, high)


FEW = 5
"""Right answers, in problems, below which (and wrong ones alike) a bootstrap does not see what it lacks: it
covers 84 to 93 % there instead of 95 (30 problems, scores of 3 to 10 %)."""
PRIOR = 5  # problems that are held to be always or never solved, for the spread that the few cannot show


def few_events(means: Sequence[float]) -> bool:
    """Whether nearly all problems are solved, or nearly none, so that the bootstrap is too narrow."""
    right = math.fsum(means)
    return min(right, len(means) - right) < FEW


def wilson_of_means(means: Sequence[float], answers: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's interval for means over several answers, with as many trials as their spread is worth.

    Problems that differ wholly (always solved, or never) are one trial each, whatever the number of answers;
    problems that are all alike are `answers` trials each. Between the two the variance of the means decides,
    pulled towards the first by `PRIOR` problems: with few events it is not known better.

    Args:
        means: one mean score in [0, 1] per problem.
        answers: per problem.

    Raises:
        ValueError: no means.
    """
    n = len(means)
    score = math.fsum(means) / n if n else 0.0
    most = score * (1 - score)  # the variance of problems that differ wholly
    trials = float(n)
    if n > 1 and most > 0:
        trials *= most / ((n * _variance(means) + PRIOR * most) / (n + PRIOR))
    trials = min(max(trials, n), n * answers)
    return wilson(score * trials, trials, confidence)


@dataclass(frozen=True)
class ScoreErrors:
    """A score with its two standard errors, as fractions.

    Args:
        score: mean over problems of the mean over answers.
        problems: n.
        answers: answers per problem when all have the same number, else their harmonic mean.
        between: B, variance of the chance to solve over problems; None for one problem.
        within: S, mean of p(1 − p); None when no problem has two answers.
        other_problems: standard error over another draw of problems; None for one problem.
        other_run: standard error over another run on the same problems; None when S is not known.
    """

    score: float
    problems: int
    answers: float
    between: float | None
    within: float | None
    other_problems: float | None
    other_run: float | None


def score_errors(scores: Sequence[Sequence[float]]) -> ScoreErrors:
    """Score and its two standard errors from the answers to each problem.

    S is estimated without bias by the mean sample variance within problems, the error over problems
    by the sample variance of the problems' means (which holds B + S/k).

    Args:
        scores: for each problem its answers' scores in [0, 1]; at least one each.

    Raises:
        ValueError: no problems, or a problem without answers.
    """
    if not scores or any(len(s) == 0 for s in scores):
        raise ValueError("need at least one problem and one answer to each")
    n = len(scores)
    means = [math.fsum(s) / len(s) for s in scores]
    score = math.fsum(means) / n
    repeated = [s for s in scores if len(s) > 1]
    within = math.fsum(map(_variance, repeated)) / len(repeated) if repeated else None
    inverse = math.fsum(1 / len(s) for s in scores) / n  # mean of 1/k
    of_means = _variance(means) if n > 1 else None
    between = None
    if of_means is not None and within is not None:
        between = max(0.0, of_means - within * inverse)
    return ScoreErrors(
        score=score,
        problems=n,
        answers=1 / inverse,
        between=between,
        within=within,
        other_problems=None if of_means is None else math.sqrt(of_means / n),
        other_run=None if within is None else math.sqrt(within * inverse / n),
    )


def run_error_assumed(score: float, problems: int, answers: int, share: float = 0.5) -> float:
    """The error over another run for a published score whose answers are not known.

    S is taken as `share` of p(1 − p); published runs with known answers gave about a half.
    """
    return math.sqrt(share * score * (1 - score) / (problems * answers))


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


def bootstrap(
    values: Sequence[float],
    statistic: Callable[[Sequence[float]], float] | None = None,
    *,
    confidence: float = CONFIDENCE,
    draws: int = 2_000,
    seed: int = 0,
    small_sample: bool = False,
) -> Interval:
    """Percentile bootstrap over problems: the same seed gives the same interval.

    Args:
        values: one value per problem (its mean score, its pass@k, …).
        statistic: of a resample; default the mean.
        draws: resamples.
        small_sample: take wider percentiles, as many as make up for a bootstrap that is too narrow by
            √((n−1)/n) and by normal instead of t quantiles (Hesterberg 2015, "expanded percentile"). On 30
            problems the plain one covers about 92 % instead of 95 %.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("nothing to resample")
    generator, n = random.Random(seed), len(values)
    if statistic is None:
        results = sorted(math.fsum(generator.choices(values, k=n)) / n for _ in range(draws))
    else:
        results = sorted(statistic(generator.choices(values, k=n)) for _ in range(draws))
    tail = (1 - confidence) / 2
    if small_sample and n > 1:
        wide = math.sqrt(n / (n - 1)) * t_quantile(1 - tail, n - 1)
        tail = NormalDist().cdf(-wide)
    return Interval(_quantile(results, tail), _quantile(results, 1 - tail))


def t_quantile(q: float, degrees: int) -> float:
    """Student's t by its expansion around the normal (Abramowitz and Stegun 26.7.5); for q in (0, 1).

    Good to three digits from 5 degrees of freedom on, which is all that an interval needs.
    """
    z = NormalDist().inv_cdf(q)
    z2 = z * z
    terms = (
        (z2 + 1) / 4,
        (5 * z2 * z2 + 16 * z2 + 3) / 96,
        (3 * z2**3 + 19 * z2 * z2 + 17 * z2 - 15) / 384,
        (79 * z2**4 + 776 * z2**3 + 1482 * z2 * z2 - 1920 * z2 - 945) / 92160,
    )
    return z * (1 + sum(term / degrees**power for power, term in enumerate(terms, 1)))


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Linear interpolation between order statistics."""
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def pass_at_k(answers: int, right: int, k: int) -> float:
    """Unbiased chance that one of k answers is right: 1 − C(n−c, k)/C(n, k) (Chen et al. 2021, eq. 1).

    Args:
        answers: n, answers that were drawn.
        right: c, how many of them are right.
        k: 1 ≤ k ≤ n.

    Raises:
        ValueError: counts out of range.
    """
    if not (0 <= right <= answers and 1 <= k <= answers):
        raise ValueError(f"need 0 <= right <= answers and 1 <= k <= answers, got {right}, {answers}, {k}")
    if answers - right < k:
        return 1.0
    missed = 1.0
    for i in range(k):
        missed *= (answers - right - i) / (answers - i)
    return 1.0 - missed


def majority_at_k(clusters: Sequence[str | None], right: Sequence[bool]) -> float:
    """Is the most frequent answer right? Ties share the point; answers that are None have no vote.

    Args:
        clusters: what each answer says, in one spelling, length k.
        right: whether each is right, length k.
    """
    votes: dict[str, list[bool]] = {}
    for name, ok in zip(clusters, right, strict=True):
        if name is not None:
            votes.setdefault(name, []).append(ok)
    if not votes:
        return 0.0
    top = max(map(len, votes.values()))
    winners = [v for v in votes.values() if len(v) == top]
    return sum(any(v) for v in winners) / len(winners)


@dataclass(frozen=True)
class Comparison:
    """Two evaluations on the same problems.

    Args:
        difference: second minus first, as a fraction.
        interval: of the difference, over another draw of problems.
        p_value: two-sided: how often chance alone gives a difference this large.
        problems: problems both have.
        better, worse: problems on which the second has the higher, the lower mean score.
    """

    difference: float
    interval: Interval
    p_value: float
    problems: int
    better: int
    worse: int


def paired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    *,
    confidence: float = CONFIDENCE,
    draws: int = 2_000,
    seed: int = 0,
) -> Comparison:
    """Compare per-problem scores of two evaluations by resampling problems.

    Pairing takes the difficulty of the problems out, which usually is most of the error. The p-value
    is that of a sign flip test: under no difference each problem's difference may as well have the
    other sign.

    Raises:
        ValueError: nothing to compare, or different lengths.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"need two equally long, non-empty lists, got {len(first)} and {len(second)}")
    gaps = [b - a for a, b in zip(first, second, strict=True)]
    return Comparison(
        difference=math.fsum(gaps) / len(gaps),
        interval=bootstrap(gaps, confidence=confidence, draws=draws, seed=seed, small_sample=True),
        p_value=_sign_flip(gaps, draws, seed),
        problems=len(gaps),
        better=sum(g > 0 for g in gaps),
        worse=sum(g < 0 for g in gaps),
    )


def _sign_flip(gaps: Sequence[float], draws: int, seed: int) -> float:
    moved = [g for g in gaps if g]
    observed = abs(math.fsum(moved)) - 1e-12
    if not moved:
        return 1.0
    generator = random.Random(seed + 1)
    hits = 0
    for _ in range(draws):
        signs = generator.getrandbits(len(moved))
        total = math.fsum(g if signs >> i & 1 else -g for i, g in enumerate(moved))
        hits += abs(total) >= observed
    return (hits + 1) / (draws + 1)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Exact two-sided McNemar test on paired right/wrong: binomial on the problems where they differ.

    Raises:
        ValueError: different lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"need equally long lists, got {len(first)} and {len(second)}")
    gained = sum(b and not a for a, b in zip(first, second, strict=True))
    lost = sum(a and not b for a, b in zip(first, second, strict=True))
    n, smaller = gained + lost, min(gained, lost)
    if n == 0:
        return 1.0
    # Python integers carry the sum exactly at any n
    tail = sum(math.comb(n, i) for i in range(smaller + 1))
    return min(1.0, 2 * tail / 2**n)


def z_score(ours: float, theirs: float, our_error: float, their_error: float = 0.0) -> float:
    """(ours − theirs) / √(our error² + their error²); infinite for a difference without any error."""
    error = math.hypot(our_error, their_error)
    if error == 0:
        return 0.0 if ours == theirs else math.copysign(math.inf, ours - theirs)
    return (ours - theirs) / error
