"""Which completions are right: mathematics in the grading room's worker processes, programs in the sandbox.

`verdicts.jsonl` has a line per problem, appended as it is judged, so that a verification continues like a
sampling does. Processes, never threads: math-verify's timers give a silent False in a thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from openr1.data.columns import gold_text, value_at
from openr1.errors import RecipeError
from openr1.generation.by_row import LinesByRow
from openr1.generation.samples import Problem
from openr1.grading import Grader, Item, Verdict, default_workers
from openr1.rewards import get_reward_funcs
from openr1.rewards.code import judge_program
from openr1.rewards.sandbox import Limits, walls
from openr1.runs.files import append_line, mend_tail

GOLD_NAMES = ("answer", "final_answer", "ground_truth", "solution")
"""Where a gold answer may stand; a final answer before a whole solution, which is read for its box."""
TESTS = "verification_info"
VERDICTS = "verdicts.jsonl"
CHUNK = 64  # problems judged at once


@dataclass(frozen=True)
class Judged:
    """What is known of one problem's completions.

    Args:
        verdicts: one of the grading room's words for each.
        extracted: the answer found in each, or None.
        rewards: mean of the named rewards for each, or None where it cannot be said; empty without rewards.
    """

    row: int
    verdicts: list[str]
    extracted: list[str | None]
    rewards: list[float | None]

    def as_line(self) -> dict[str, Any]:
        return {
            "row": self.row,
            "verdicts": self.verdicts,
            "extracted": self.extracted,
            "rewards": self.rewards,
        }


def gold_columns(columns: Sequence[str], asked: str | None) -> list[str]:
    """The columns that may hold the gold answer, the first that is filled counts; [] when there is none.

    Raises:
        RecipeError: the asked one is not there.
    """
    if asked:
        if asked not in columns:
            raise RecipeError(
                f"the dataset has no column `{asked}`",
                fix=f"it has: {', '.join(columns)}; set solution_column to one of them",
            )
        return [asked]
    return [name for name in GOLD_NAMES if name in columns]


def can_verify(columns: Sequence[str], asked: str | None) -> bool:
    """Whether there is a gold answer or tests to judge by."""
    return bool(gold_columns(columns, asked)) or TESTS in columns


def check_columns(
    columns: Sequence[str], asked: str | None, reward_funcs: Sequence[Any] | None
) -> tuple[list[str], list[Any]]:
    """The columns of the gold answer, and the rewards by name; either is enough to judge by.

    Raises:
        RecipeError: nothing to judge by, or a reward that needs a column which is not there.
        EnvironmentProblem: programs to run, and no sandbox here.
    """
    golds = gold_columns(columns, asked)
    if not golds and TESTS not in columns and not reward_funcs:
        raise RecipeError(
            f"the dataset has no column for the gold answer (looked for {', '.join(GOLD_NAMES)}, {TESTS})",
            fix=f"it has: {', '.join(columns)}; set solution_column to one of them, or leave verify out",
        )
    if TESTS in columns:
        walls()
    rewards = get_reward_funcs(list(reward_funcs)) if reward_funcs else []
    given = {*columns, *(["solution"] if golds else [])}
    for reward in rewards:
        for either in reward.columns:
            if not given & set(either):
                raise RecipeError(
                    f"the reward `{reward.name}` needs a column {' or '.join(either)}",
                    fix=f"the dataset has: {', '.join(columns)}; set solution_column to the gold answer's, "
                    "or name another reward",
                )
    return golds, rewards


class Verdicts:
    """Every problem's verdicts in a file, by row; read as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._lines = LinesByRow(path)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, row: int) -> bool:
        return row in self._lines

    def get(self, row: int) -> Judged | None:
        line = self._lines.get(row)
        return None if line is None else _judged(line)

    def all(self) -> Iterator[Judged]:
        """In the order of the rows."""
        return map(_judged, self._lines.lines())


def _judged(line: Mapping[str, Any]) -> Judged:
    return Judged(line["row"], line["verdicts"], line["extracted"], line["rewards"])


def verify(
    problems: Iterable[Problem],
    path: Path,
    *,
    columns: Sequence[str],
    solution_column: str | None,
    reward_funcs: Sequence[Any] | None,
    on_chunk: Callable[[int, Counter[str]], None],
) -> Counter[str]:
    """Judge what `path` lacks.

    Args:
        on_chunk: called with the problems done in all and the verdicts so far.

    Returns:
        Verdicts of all completions, counted.

    Raises:
        RecipeError, EnvironmentProblem: see `check_columns`; or math-verify is not installed.
    """
    golds, rewards = check_columns(columns, solution_column, reward_funcs)
    mend_tail(path)
    counts: Counter[str] = Counter()
    done = Verdicts(path)
    for judged in done.all():
        counts.update(judged.verdicts)
    on_chunk(len(done), counts)
    missing = (problem for problem in problems if problem.row not in done)
    count = len(done)
    with Grader() as grader:
        for chunk in _chunks(missing, CHUNK):
            for judged in _judge(chunk, golds, grader, rewards):
                append_line(path, judged.as_line())
                counts.update(judged.verdicts)
            count += len(chunk)
            on_chunk(count, counts)
    return counts


def _chunks(problems: Iterable[Problem], size: int) -> Iterator[list[Problem]]:
    iterator = iter(problems)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _judge(
    chunk: list[Problem], golds: list[str], grader: Grader, rewards: Sequence[Any]
) -> Iterator[Judged]:
    """The problems of a chunk, side by side in the workers."""
    mathematics = [p for p in chunk if not _has_tests(p)]
    items = [
        Item(gold_of(p.columns, golds), text, reason)
        for p in mathematics
        for text, reason in zip(p.generations, p.finish_reasons, strict=True)
    ]
    graded = iter(grader.grade(items))
    programs = iter(_run_programs([p for p in chunk if _has_tests(p)]))
    for problem in chunk:
        extracted: list[str | None] = [None] * len(problem.generations)
        if _has_tests(problem):
            verdicts = next(programs)
        else:
            mine = list(islice(graded, len(problem.generations)))
            verdicts, extracted = [str(g.verdict) for g in mine], [g.extracted for g in mine]
        yield Judged(problem.row, verdicts, extracted, _rewards(problem, golds, rewards))


def _has_tests(problem: Problem) -> bool:
    """Whether a program is asked for: most rows of SYNTHETIC-1 have a `verification_info` without tests."""
    info = problem.columns.get(TESTS)
    return isinstance(info, (str, Mapping)) and "test_cases" in info


def gold_of(row: Mapping[str, Any], golds: Sequence[str]) -> str | None:
    """The first gold answer that is filled in."""
    found = (gold_text(value_at(row, name)) for name in (*golds, f"{TESTS}.ground_truth"))
    return next((gold for gold in found if gold is not None and gold.strip()), None)


def _run_programs(problems: Sequence[Problem]) -> list[list[str]]:
    """Verdicts of completions that are programs; the sandbox is a process, so threads only wait."""

    def verdict(problem: Problem, index: int) -> str:
        found = judge_program(problem.generations[index], problem.columns[TESTS], Limits()).verdict
        cut = problem.finish_reasons[index] == "length" and found is not Verdict.right and found.judged
        return str(Verdict.truncated if cut else found)

    with ThreadPoolExecutor(default_workers()) as threads:
        futures = [
            [threads.submit(verdict, problem, index) for index in range(len(problem.generations))]
            for problem in problems
        ]
        return [[future.result() for future in row] for row in futures]


def _rewards(problem: Problem, golds: Sequence[str], rewards: Sequence[Any]) -> list[float | None]:
    """Mean of the rewards of each completion; None where none of them can be said.

    They see what they see in training: the row's columns, and the gold answer as `solution`.
    """
    count = len(problem.generations)
    if not rewards or not count:
        return []
    given: dict[str, Any] = {name: [value] * count for name, value in problem.columns.items()}
    given |= {
        "solution": [gold_of(problem.columns, golds)] * count,
        "prompts": [problem.sent] * count,
        "completion_ids": [[0] * tokens for tokens in problem.tokens],
    }
    completions = [[{"role": "assistant", "content": text}] for text in problem.generations]
    scored = [reward(completions=completions, **given) for reward in rewards]
    means: list[float | None] = []
    for values in zip(*scored, strict=True):
        known = [value for value in values if value is not None]
        means.append(sum(known) / len(known) if known else None)
    return means
