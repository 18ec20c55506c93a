"""Rewards for programs: the last code block of a completion, run against its tests in a sandbox.

Python only: another language needs an entry in `RUNNERS`. Contests with C++ and judges of their own are in
`codeforces` and `olympiad`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from ..data.literals import structure_in
from ..errors import RecipeError
from ..grading import Verdict, default_workers
from .accounting import LogMetric, accounts
from .form import fenced_blocks
from .messages import texts_of
from .sandbox import Limits, Ran, run_python, walls

Rewards = list["float | None"]
Runner = Callable[[str, str, Limits], Ran]

RUNNERS: dict[str, Runner] = {"python": run_python}
LABELS = {
    "python": frozenset({"python", "python3", "py"}),
    "cpp": frozenset({"cpp", "c++", "cc", "cxx"}),
}
MAX_TIMEOUTS = 2
"""Tests of one program that may run into the time limit; the others then count as failed."""


class Result(Protocol):
    """What the accounts read of a judged program."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def reason(self) -> str: ...


R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class CodeResult:
    """What became of one program.

    Args:
        verdict: right when every test passed, wrong when one did not, no_answer without a program;
            gold_unparsable without tests, error when the sandbox failed.
        passed: share of tests passed, 0 to 1.
        reason: why the first test that failed did so.
    """

    verdict: Verdict
    passed: float
    reason: str


def extract_code(completion: str, language: str = "python") -> str:
    """The last closed code block of `language` in a completion, or an empty string."""
    labels = LABELS.get(language, frozenset({language}))
    return next((code for label, code in reversed(fenced_blocks(completion)) if label in labels), "")


def same_output(printed: str, expected: str) -> str:
    """Empty when both have the same lines, else where they part. Space at line ends and a last newline are
    free.
    """
    ours, theirs = _lines(printed), _lines(expected)
    for number, (a, b) in enumerate(zip(ours, theirs, strict=False), 1):
        if a != b:
            return f"line {number} differs"
    if len(ours) != len(theirs):
        return f"{len(ours)} lines, expected {len(theirs)}"
    return ""


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def read_tests(info: Any) -> tuple[str, list[tuple[str, str]]] | str:
    """Language and (input, output) tests of a `verification_info` cell, or why there are none."""
    if isinstance(info, str):
        info = structure_in(info)
        if info is None:
            return "verification_info is neither JSON nor what Python prints of a map"
    if not isinstance(info, Mapping):
        return "verification_info is missing"
    cases = info.get("test_cases")
    if not isinstance(cases, Sequence) or isinstance(cases, str) or not cases:
        return "no test cases"
    tests = []
    for case in cases:
        if not isinstance(case, Mapping) or not isinstance(case.get("output"), str):
            return "a test case without output"
        if case.get("type", "stdin_stdout") != "stdin_stdout":
            return f"test cases of type {case['type']} are not supported"
        tests.append((str(case.get("input") or ""), case["output"]))
    return str(info.get("language") or "python").lower(), tests


def judge_program(completion: str | None, info: Any, limits: Limits) -> CodeResult:
    """Run the program of one completion against its tests, stopping at the first sandbox failure."""
    read = read_tests(info)
    if isinstance(read, str):
        return CodeResult(Verdict.gold_unparsable, 0.0, read)
    language, tests = read
    if language not in RUNNERS:
        return CodeResult(Verdict.gold_unparsable, 0.0, f"language {language} is not supported")
    code = extract_code(completion or "", language)
    if not code.strip():
        return CodeResult(Verdict.no_answer, 0.0, "no code block")
    passed, timeouts, first = 0, 0, ""
    for number, (stdin, expected) in enumerate(tests, 1):
        ran = RUNNERS[language](code, stdin, limits)
        if ran.failed_setup:
            return CodeResult(Verdict.error, 0.0, ran.reason)
        problem = ran.reason or same_output(ran.stdout, expected)
        passed += not problem
        first = first or (problem and f"test {number}: {problem}")
        timeouts += ran.reason == "timeout"
        if timeouts >= MAX_TIMEOUTS:
            break
    verdict = Verdict.right if passed == len(tests) else Verdict.wrong
    return CodeResult(verdict, passed / len(tests), first)


def judge_programs(
    completions: Sequence[Any],
    verification_info: Sequence[Any] | None,
    *,
    name: str,
    limits: Limits,
    parallel: int | None,
    log_metric: LogMetric | None,
) -> list[CodeResult]:
    """`judge_program` for a batch, some at a time, counted under `name`.

    Raises:
        RecipeError: no column with tests.
        EnvironmentProblem: no sandbox works on this machine.
        ComponentFailed: most of the batch could not be judged.
    """
    if verification_info is None:
        raise RecipeError(f"reward {name} needs a column named verification_info with its test cases")
    infos: Sequence[Any] = verification_info
    work = partial(judge_program, limits=limits)
    if len(infos) != len(completions):
        infos = [None] * len(completions)
        reason = f"{len(verification_info)} test sets for {len(completions)} completions"
        work = partial(_not_judged, reason=reason)
    return judge_each(name, work, texts_of(completions), infos, parallel=parallel, log_metric=log_metric)


def _not_judged(completion: str | None, info: Any, *, reason: str) -> CodeResult:
    return CodeResult(Verdict.gold_unparsable, 0.0, reason)


def judge_each(
    name: str,
    judge: Callable[[Any, Any], R],
    answers: Sequence[Any],
    problems: Sequence[Any],
    *,
    parallel: int | None,
    log_metric: LogMetric | None,
) -> list[R]:
    """`judge` each answer with its problem, some at a time, counted under `name`.

    Raises:
        EnvironmentProblem: no sandbox works on this machine.
        ComponentFailed: most of the batch could not be judged.
    """
    walls()  # refuse before any thread starts
    with ThreadPoolExecutor(parallel or default_workers()) as threads:
        results = list(threads.map(judge, answers, problems))
    accounts(name).note([r.verdict for r in results], [r.reason for r in results], log_metric)
    return results


def code_reward(
    completions: Sequence[Any],
    *,
    verification_info: Sequence[Any] | None = None,
    log_metric: LogMetric | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    timeout_s: float = 5.0,
    memory_mb: int = 512,
    parallel: int | None = None,
    **columns: Any,
) -> Rewards:
    """Share of tests the program passes, all output lines compared; 0 without one, None where not known."""
    del columns
    results = judge_programs(
        completions,
        verification_info,
        name="code",
        limits=Limits(wall_s=timeout_s, memory_mb=memory_mb),
        parallel=parallel,
        log_metric=log_metric,
    )
    if log_extra is not None:
        log_extra("code_reason", [r.reason for r in results])
    return [r.passed if r.verdict.judged else None for r in results]


def binary_code_reward(
    completions: Sequence[Any],
    *,
    verification_info: Sequence[Any] | None = None,
    log_metric: LogMetric | None = None,
    timeout_s: float = 5.0,
    memory_mb: int = 512,
    parallel: int | None = None,
    **columns: Any,
) -> Rewards:
    """1.0 when the program passes every test, else 0.0; None where not known."""
    del columns
    results = judge_programs(
        completions,
        verification_info,
        name="binary_code",
        limits=Limits(wall_s=timeout_s, memory_mb=memory_mb),
        parallel=parallel,
        log_metric=log_metric,
    )
    return [float(r.verdict is Verdict.right) if r.verdict.judged else None for r in results]
