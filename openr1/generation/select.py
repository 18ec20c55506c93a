"""Which completions are kept, and which of those are chosen for their problem. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from openr1.generation.samples import Problem
from openr1.generation.verify import Judged
from openr1.grading import Verdict

Choice = Literal["all", "shortest", "first", "majority"]


@dataclass(frozen=True)
class Rules:
    """What a completion, or a problem, must be like.

    Args:
        keep: `right` keeps right answers only.
        truncated: `drop` leaves out what was cut off at the token limit.
        complete: leave out what was cut off or whose reasoning never closed.
        min_tokens, max_tokens: length of the completion, both inclusive.
        pass_rate_min, pass_rate_max: keep problems whose pass rate lies strictly between.
        truncated_as: `unknown` leaves truncated completions out of the pass rate, `wrong` counts them as 0.
        choose: all that are left, the shortest, the first, or the first that gives the most frequent answer.
    """

    keep: Literal["right", "any"] = "any"
    truncated: Literal["keep", "drop", "retry"] = "keep"
    complete: bool = False
    min_tokens: int | None = None
    max_tokens: int | None = None
    pass_rate_min: float | None = None
    pass_rate_max: float | None = None
    truncated_as: Literal["unknown", "wrong"] = "unknown"
    choose: Choice = "all"

    @property
    def windowed(self) -> bool:
        return self.pass_rate_min is not None or self.pass_rate_max is not None


@dataclass(frozen=True)
class Selected:
    """What became of one problem: the completions left after each rule, by number, and the pass rate."""

    row: int
    stages: list[tuple[str, list[int]]]
    pass_rate: float | None

    @property
    def chosen(self) -> list[int]:
        return self.stages[-1][1] if self.stages else []

    def as_line(self) -> dict[str, Any]:
        lost = next((name for name, left in self.stages if not left), None)
        return {"row": self.row, "chosen": self.chosen, "pass_rate": self.pass_rate, "lost_at": lost}


@dataclass
class Funnel:
    """Problems and completions left after every step, in order."""

    steps: list[dict[str, Any]] = field(default_factory=list)

    def add(self, step: str, problems: int, samples: int, **more: Any) -> None:
        self.steps.append({"step": step, "problems": problems, "samples": samples, **more})

    def counted(self, selections: Iterable[Selected]) -> Iterator[Selected]:
        """The selections, handed on; once the last has gone by, their rules are steps, one each."""
        problems, samples = Counter[str](), Counter[str]()
        for selection in selections:
            for name, left in selection.stages:
                problems[name] += bool(left)
                samples[name] += len(left)
            yield selection
        for name in samples:  # in the order of the rules, which all problems share
            self.add(name, problems[name], samples[name])


def pass_rate(judged: Judged, truncated_as: str = "unknown") -> float | None:
    """Mean over a problem's completions: of the rewards where there are some, else of right answers.

    What could not be judged is left out; so is what was cut off, unless it counts as wrong. None when nothing
    is left, as upstream's nanmean.
    """
    scores: list[float] = []
    for index, verdict in enumerate(judged.verdicts):
        if verdict == Verdict.truncated:
            if truncated_as == "wrong":
                scores.append(0.0)
            continue
        if judged.rewards:
            value = judged.rewards[index]
            if value is not None:
                scores.append(value)
        elif Verdict(verdict).judged:
            scores.append(float(verdict == Verdict.right))
    return sum(scores) / len(scores) if scores else None


def select(problem: Problem, judged: Judged | None, rules: Rules) -> Selected:
    """Apply the rules to one problem, in the order of a `Funnel`."""
    left = list(range(len(problem.generations)))
    rate = pass_rate(judged, rules.truncated_as) if judged else None
    stages: list[tuple[str, list[int]]] = []

    def stage(name: str, kept: list[int]) -> None:
        nonlocal left
        left = kept
        stages.append((name, kept))

    if rules.windowed:
        low = rules.pass_rate_min if rules.pass_rate_min is not None else float("-inf")
        high = rules.pass_rate_max if rules.pass_rate_max is not None else float("inf")
        stage("pass rate", left if rate is not None and low < rate < high else [])
    if rules.truncated == "drop":
        stage("not cut off", [i for i in left if problem.finish_reasons[i] != "length"])
    if rules.complete:
        stage("complete reasoning", [i for i in left if problem.complete[i]])
    if rules.min_tokens is not None or rules.max_tokens is not None:
        least, most = rules.min_tokens or 0, rules.max_tokens or float("inf")
        stage("length", [i for i in left if least <= problem.tokens[i] <= most])
    if rules.keep == "right":
        stage("right", [i for i in left if judged and judged.verdicts[i] == Verdict.right])
    if rules.choose != "all":
        stage(f"chosen ({rules.choose})", choose(problem, judged, left, rules.choose))
    if not stages:
        stage("kept", left)
    return Selected(problem.row, stages, rate)


def choose(problem: Problem, judged: Judged | None, left: list[int], how: Choice) -> list[int]:
    """One completion of those left; none where there is none, or no answer to vote on."""
    if how == "all" or not left:
        return left
    if how == "first":
        return left[:1]
    if how == "shortest":
        return [min(left, key=lambda i: (problem.tokens[i], i))]
    answers = {i: judged.extracted[i] for i in left if judged and judged.extracted[i]}
    if not answers:
        return []
    winner, _ = Counter(answers.values()).most_common(1)[0]  # of equals the one seen first
    return [next(i for i in left if answers.get(i) == winner)]
