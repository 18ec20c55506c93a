"""Built-in task `builtin:chain-sum`: a chain of small sums whose last digit is asked for.

API (nothing here needs torch):
    is_builtin(name)                      -> bool, true for any `builtin:…`
    parse_task(name)                      -> TaskSpec, RecipeError on anything misspelt
    sft_rows(spec, seed, count, split="train")  -> [{"prompt": [message], "completion": [message]}]
    grpo_rows(spec, seed, count, split="train") -> [{"prompt": [message], "solution": "7"}]
    eval_rows(spec, seed, count)          -> [{"problem": "Start at …", "answer": "7"}], all different
    sample_problems(spec, split, seed, count, distinct=False) -> [Problem]
    in_test_split(question)               -> bool

A problem reads `Start at 7, keep the last digit: a+3 b*7 c+9`. A worked solution copies each labelled
step and appends the running digit, `7 a+3=0 b*7=0 c+9=9`; a direct guess leaves the think block empty.

Why it shows R1-Zero's effect. Multipliers come from {3, 7, 9}, which permute the ten digits, so nothing
short of carrying out every step beats guessing one digit in ten. Each worked step is one table look-up,
and its label occurs once in the problem and once in the trace, so a two-layer transformer finds what to
copy next by the label alone: worked solutions become right within a few hundred steps, for any seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from random import Random
from typing import Literal
from urllib.parse import parse_qsl

from openr1.errors import RecipeError

PREFIX = "builtin:"
TASK = "chain-sum"
LABELS = "abcdefghijklmnopqrstuvwxyz"
ADDENDS = "123456789"
MULTIPLIERS = "379"
TEST_SHARE = 0.1

Split = Literal["train", "test"]


@dataclass(frozen=True)
class TaskSpec:
    """What `builtin:chain-sum?steps=5&worked=0.4` says; the part after `?` is optional."""

    steps: int = 5  # operations per problem: the difficulty
    worked: float = 0.4  # share of SFT rows with a worked solution, the rest are direct guesses


@dataclass(frozen=True)
class Problem:
    """A start digit and the operations applied to it, each as `+3` or `*7`."""

    start: int
    operations: tuple[str, ...]

    @property
    def question(self) -> str:
        steps = " ".join(map("".join, zip(LABELS, self.operations, strict=False)))
        return f"Start at {self.start}, keep the last digit: {steps}"

    @property
    def digits(self) -> list[int]:
        """The running digit after every operation."""
        running, digits = self.start, []
        for operation in self.operations:
            operand = int(operation[1:])
            running = (running + operand if operation[0] == "+" else running * operand) % 10
            digits.append(running)
        return digits

    @property
    def answer(self) -> str:
        return str(self.digits[-1])

    @property
    def trace(self) -> str:
        steps = zip(LABELS, self.operations, self.digits, strict=False)
        return " ".join([str(self.start), *(f"{label}{op}={digit}" for label, op, digit in steps)])

    def completion(self, worked: bool) -> str:
        """The answer in R1's form; the think block of a direct guess is an empty line."""
        thought = self.trace if worked else ""
        return f"<think>\n{thought}\n</think>\n<answer>\n{self.answer}\n</answer>"


def is_builtin(name: str) -> bool:
    return name.startswith(PREFIX)


def parse_task(name: str) -> TaskSpec:
    """Read a task name such as `builtin:chain-sum?steps=5&worked=0.4`.

    Raises:
        RecipeError: unknown task, unknown or repeated option, or a value out of range.
    """
    task, _, query = name.removeprefix(PREFIX).partition("?")
    if not is_builtin(name) or task != TASK:
        raise RecipeError(f"there is no built-in task {name!r}", fix=f"use {PREFIX}{TASK}")
    options = read_options(name, query, ("steps", "worked"))
    return TaskSpec(_steps(name, options), _worked(name, options))


def read_options(name: str, query: str, known: Sequence[str]) -> dict[str, str]:
    """The `key=value` pairs after the `?` of a built-in name.

    Raises:
        RecipeError: unreadable, unknown or repeated option.
    """
    example = "&".join(f"{key}=…" for key in known)
    fix = f"write {name.partition('?')[0]}?{example}"
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise RecipeError(f"cannot read the options of {name!r}", fix=fix) from None
    for index, (key, _) in enumerate(pairs):
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise RecipeError(f"unknown option {key!r} in {name!r}{hint}", fix=fix)
        if key in dict(pairs[:index]):
            raise RecipeError(f"{key!r} is given twice in {name!r}", fix=fix)
    return dict(pairs)


def _steps(name: str, options: Mapping[str, str]) -> int:
    value = options.get("steps", str(TaskSpec.steps))
    if value not in map(str, range(1, len(LABELS) + 1)):
        raise RecipeError(f"steps must be a whole number from 1 to 26, not {value!r} (in {name!r})")
    return int(value)


def _worked(name: str, options: Mapping[str, str]) -> float:
    value = options.get("worked", str(TaskSpec.worked))
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:  # also refuses nan
        raise RecipeError(f"worked must be a share from 0 to 1, not {value!r} (in {name!r})")
    return share


def in_test_split(question: str) -> bool:
    """Whether a problem is held out: a property of its text alone, so no seed can leak a test problem."""
    digest = hashlib.sha256(question.encode()).digest()
    return int.from_bytes(digest[:4], "big") < TEST_SHARE * 2**32


def sample_problems(
    spec: TaskSpec, split: Split, seed: int, count: int, *, distinct: bool = False
) -> list[Problem]:
    """Draw `count` problems of one split; the first n of a longer draw are the draw of n.

    Args:
        distinct: no problem twice (for tests, where a repeat would count one problem double).

    Raises:
        RecipeError: there are not `count` different problems this short.
    """
    random = Random(f"{TASK}/{spec.steps}/{split}/{seed}")
    problems: list[Problem] = []
    seen: set[Problem] = set()
    misses = 0
    while len(problems) < count:
        problem = _draw(random, spec.steps)
        fits = in_test_split(problem.question) == (split == "test")
        if fits and not (distinct and problem in seen):
            problems.append(problem)
            seen.add(problem)
            misses = 0
            continue
        misses += 1
        if misses > 20_000:  # the chance that an unseen problem hides that long is nil for every `steps`
            raise RecipeError(
                f"{PREFIX}{TASK}?steps={spec.steps} has only {len(problems)} different {split} problems, "
                f"{count} were asked for",
                fix="ask for fewer, or for more steps",
            )
    return problems


def _draw(random: Random, steps: int) -> Problem:
    # Only random.random(): it alone is promised to give the same numbers in every Python version.
    def choose(symbols: str) -> str:
        return symbols[int(random.random() * len(symbols))]

    start = int(choose("0123456789"))
    operators = [choose("+*") for _ in range(steps)]
    return Problem(start, tuple(op + choose(ADDENDS if op == "+" else MULTIPLIERS) for op in operators))


def sft_rows(
    spec: TaskSpec, seed: int, count: int, split: Split = "train"
) -> list[dict[str, list[dict[str, str]]]]:
    """Rows to fine-tune on, of which exactly round(count * worked) carry a worked solution, mixed."""
    problems = sample_problems(spec, split, seed, count)
    random = Random(f"{TASK}/worked/{seed}")
    order = sorted(range(count), key=[random.random() for _ in range(count)].__getitem__)
    worked = set(order[: round(count * spec.worked)])
    return [
        {
            "prompt": _user(problem),
            "completion": [{"role": "assistant", "content": problem.completion(index in worked)}],
        }
        for index, problem in enumerate(problems)
    ]


def grpo_rows(spec: TaskSpec, seed: int, count: int, split: Split = "train") -> list[dict[str, object]]:
    """Prompts with their gold digit, drawn apart from the SFT rows."""
    problems = sample_problems(spec, split, seed + 1_000_003, count)
    return [{"prompt": _user(problem), "solution": problem.answer} for problem in problems]


def eval_rows(spec: TaskSpec, seed: int, count: int) -> list[dict[str, str]]:
    """Held-out problems, all different."""
    problems = sample_problems(spec, "test", seed, count, distinct=True)
    return [{"problem": problem.question, "answer": problem.answer} for problem in problems]


def _user(problem: Problem) -> list[dict[str, str]]:
    return [{"role": "user", "content": problem.question}]
