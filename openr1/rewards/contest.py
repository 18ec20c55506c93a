"""What the judges of Codeforces and of the IOI share: programs ready to run, outputs compared, results."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import RecipeError
from ..grading import Verdict
from .accounting import LogMetric
from .code import judge_each
from .cpp import build
from .sandbox import Job, Limits, Ran, interpreter, run

Problem = Mapping[str, Any]
HARD_S = 10.0
"""Wall clock beyond a problem's limit of processor time: a busy machine must not fail a program."""
CHECKING = Limits(wall_s=30.0, memory_mb=1024, output_bytes=2**16, file_mb=64, scratch_mb=512)
_NUMBER = re.compile(r"\s*([+-]?\d*\.?\d+(?:[eE][+-]?\d+)?)(?:\s|$)")


@dataclass(frozen=True)
class Judged:
    """What a judge says about one program.

    Args:
        verdict: right with full marks, wrong without, no_answer without a program; gold_unparsable where the
            problem has no usable tests, error where the sandbox failed.
        value: the reward; None where not known.
        reason: why it is not the full one.
    """

    verdict: Verdict
    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Executable:
    """A program ready to run; `error` says why it did not compile, `failed_setup` that nobody could try."""

    argv: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, bytes] = field(default_factory=dict)
    error: str = ""
    failed_setup: bool = False

    def run(self, stdin: str, limits: Limits, files: Mapping[str, str] | None = None) -> Ran:
        """Run it once, in a sandbox of its own, with `files` beside it."""
        return run(Job(self.argv, {**self.files, **(files or {})}, self.programs, stdin), limits)

    def reading_files(self) -> Executable:
        """The same, for a problem whose program reads input.txt and writes output.txt."""
        script = '"$@" > /dev/null; status=$?; cat output.txt; exit $status'
        return Executable(("/bin/sh", "-c", script, "sh", *self.argv), self.files, self.programs)


def python(program: str) -> Executable:
    """A Python program."""
    return Executable((interpreter(), "-B", "main.py"), {"main.py": program})


def cpp(files: Mapping[str, str], sources: Sequence[str]) -> Executable:
    """A C++ program of several files, compiled."""
    built = build(files, sources)
    return Executable(
        ("./program",),
        programs={"program": built.program},
        error=built.error,
        failed_setup=built.failed_setup,
    )


def limits_of(time_s: float, memory_mb: float, output: str) -> Limits:
    """Limits of one test: processor time and memory of the problem, room for an output like `output`."""
    return Limits(
        wall_s=time_s + HARD_S,
        cpu_s=time_s,
        memory_mb=max(int(memory_mb), 16),
        stack_mb=max(int(memory_mb), 16),
        output_bytes=max(2**20, 4 * len(output)),
        file_mb=64,
        scratch_mb=256,
    )


def same_words(printed: str, expected: str) -> str:
    """Empty when both have the same lines of words, else where they part. White space and blank lines are
    free.
    """
    ours, theirs = _words(printed), _words(expected)
    for number, (a, b) in enumerate(zip(ours, theirs, strict=False), 1):
        if a != b:
            return f"line {number} differs"
    return "" if len(ours) == len(theirs) else f"{len(ours)} lines, expected {len(theirs)}"


def _words(text: str) -> list[list[str]]:
    return [words for line in text.splitlines() if (words := line.split())]


def number_in(printed: str) -> float | None:
    """The number that a checker's output begins with."""
    found = _NUMBER.match(printed)
    return float(found[1]) if found else None


def rows(name: str, needed: Sequence[str], count: int, columns: Mapping[str, Any]) -> list[Problem]:
    """The dataset's columns as one problem for each completion.

    Raises:
        RecipeError: a needed column is not there.
    """
    missing = [key for key in needed if columns.get(key) is None]
    if missing:
        raise RecipeError(
            f"reward {name} needs a column named {', '.join(missing)}",
            fix=f"the columns it reads: {', '.join(needed)} (docs/rewards.md)",
        )
    aligned = {
        key: value
        for key, value in columns.items()
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == count
    }
    return [{key: value[i] for key, value in aligned.items()} for i in range(count)]


def judge_all(
    name: str,
    programs: Sequence[str],
    problems: Sequence[Problem],
    judge: Callable[[str, Problem], Judged],
    *,
    parallel: int | None,
    log_metric: LogMetric | None,
    log_extra: Callable[[str, list[Any]], None] | None,
) -> list[float | None]:
    """Judge a batch, some programs at a time, counted under `name`; the reasons are logged.

    Raises:
        EnvironmentProblem: no sandbox, or no g++.
        ComponentFailed: most of the batch could not be judged.
    """
    judged = judge_each(name, judge, programs, problems, parallel=parallel, log_metric=log_metric)
    if log_extra is not None:
        log_extra(f"{name}_reason", [j.reason for j in judged])
    return [j.value for j in judged]
