"""cf_code: programs against the tests of a Codeforces problem, judged on this machine.

The columns are those of open-r1/codeforces (configuration verifiable-prompts). open-r1 asked a Piston server
with a package of its own; here the program, and after it the problem's checker, run in the sandbox.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import RecipeError
from ..grading import Verdict
from .accounting import LogMetric
from .code import MAX_TIMEOUTS, extract_code
from .contest import (
    CHECKING,
    Executable,
    Judged,
    Problem,
    cpp,
    judge_all,
    limits_of,
    number_in,
    python,
    rows,
    same_words,
)
from .cpp import compiler
from .messages import texts_of
from .sandbox import Job, interpreter, run, walls

log = logging.getLogger("openr1.rewards")

MODES = ("weighted_sum", "partial", "pass_fail")
TESTS_FOLDER = "CF_TESTS_FOLDER"
NEEDED = ("official_tests",)
# Where a problem does not say: Codeforces' usual limits.
TIME_S, MEMORY_MB = 2.0, 256.0
Test = tuple[str, str]


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises RecipeError for a way of scoring that there is not."""
    mode = settings.get("scoring_mode", MODES[0])
    if mode not in MODES:
        raise RecipeError(f"unknown scoring mode {mode!r}", fix=f"one of {', '.join(MODES)}")


def check_machine(rows: Sequence[Problem], settings: Mapping[str, Any]) -> None:
    """Raises EnvironmentProblem without a sandbox, or without g++ where a row asks for C++."""
    walls()
    if any(language_of(row) == "cpp" for row in rows):
        compiler()


def score(passed: int, total: int, mode: str) -> float:
    """`pass_fail`: all tests or nothing; `partial`: the share passed; `weighted_sum`: the first + a tenth of
    the second.
    """
    whole, share = float(passed == total), passed / total
    return {"pass_fail": whole, "partial": share}.get(mode, whole + 0.1 * share)


def cf_code_reward(
    completions: Sequence[Any],
    *,
    official_tests: Sequence[Any] | None = None,
    scoring_mode: str = "weighted_sum",
    no_submission_reward: float = -1.0,
    no_compile_reward: float = -0.1,
    tests_folder: str | None = None,
    parallel: int | None = None,
    log_metric: LogMetric | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    extract: Callable[[str, str], str] = extract_code,
    **columns: Any,
) -> list[float | None]:
    """Tests of the problem that the program passes, within its time and memory; None for one without tests.

    Args:
        official_tests: for each completion a list of `{input, output}`. Other columns that are read where
            they are there: `language` (python or cpp, else cpp), `generated_checker`, `time_limit` (seconds),
            `memory_limit` (MB), `input_mode` (stdio or file), `generated_tests` (how many), `id`.
        scoring_mode: see `score`.
        no_submission_reward, no_compile_reward: values without a code block, and for C++ that does not
            compile.
        tests_folder: folder with `test_cases_CONTEST.parquet`, the dataset's generated tests; by default what
            the environment variable CF_TESTS_FOLDER names.
        extract: finds the program in (completion, language).
    """
    problems = rows("cf_code", NEEDED, len(completions), {"official_tests": official_tests, **columns})
    folder = tests_folder or os.environ.get(TESTS_FOLDER)
    programs = [
        extract(text or "", language_of(problem))
        for text, problem in zip(texts_of(completions), problems, strict=True)
    ]
    judge = partial(
        judge_program,
        mode=scoring_mode,
        nothing=no_submission_reward,
        uncompiled=no_compile_reward,
        folder=folder,
    )
    return judge_all(
        "cf_code", programs, problems, judge, parallel=parallel, log_metric=log_metric, log_extra=log_extra
    )


def language_of(problem: Problem) -> str:
    """`python` or `cpp`; another name as it is."""
    name = str(problem.get("language") or "cpp").lower()
    return {"python3": "python", "py": "python", "c++": "cpp"}.get(name, name)


def judge_program(
    program: str, problem: Problem, *, mode: str, nothing: float, uncompiled: float, folder: str | None
) -> Judged:
    """One program against one problem."""
    language = language_of(problem)
    tests = tests_of(problem, folder)
    if isinstance(tests, str):
        return Judged(Verdict.gold_unparsable, None, tests)
    if language not in ("python", "cpp"):
        return Judged(Verdict.gold_unparsable, None, f"language {language} is not supported")
    if not program.strip():
        return Judged(Verdict.no_answer, nothing, "no code block")
    ready = python(program) if language == "python" else cpp({"main.cpp": program}, ["main.cpp"])
    if ready.failed_setup:
        return Judged(Verdict.error, None, ready.error)
    if ready.error:
        return Judged(Verdict.wrong, uncompiled, f"does not compile: {ready.error}")
    passed, timeouts, first = 0, 0, ""
    for number, test in enumerate(tests, 1):
        verdict, problem_found = run_test(ready, problem, test)
        if verdict is Verdict.error:
            return Judged(verdict, None, f"test {number}: {problem_found}")
        passed += not problem_found
        first = first or (problem_found and f"test {number}: {problem_found}")
        timeouts += problem_found == "timeout"
        if timeouts >= MAX_TIMEOUTS or (first and mode == "pass_fail"):
            break
    verdict = Verdict.right if passed == len(tests) else Verdict.wrong
    return Judged(verdict, score(passed, len(tests), mode), first)


def run_test(ready: Executable, problem: Problem, test: Test) -> tuple[Verdict, str]:
    """Whether one test is passed; the second is empty then, else what went wrong."""
    given, expected = test
    limits = limits_of(
        float(problem.get("time_limit") or TIME_S), float(problem.get("memory_limit") or MEMORY_MB), expected
    )
    if problem.get("input_mode") == "file":
        ran = ready.reading_files().run("", limits, {"input.txt": given})
    else:
        ran = ready.run(given, limits)
    if ran.failed_setup:
        return Verdict.error, ran.reason
    if ran.reason:
        return Verdict.wrong, ran.reason
    checker = problem.get("generated_checker")
    if not checker:
        found = same_words(ran.stdout, expected)
        return (Verdict.wrong if found else Verdict.right), found
    return _asked_checker(str(checker), given, expected, ran.stdout)


def _asked_checker(checker: str, given: str, expected: str, printed: str) -> tuple[Verdict, str]:
    """The problem's own checker: it sees the expected output, which the program never did, and prints 1."""
    names = ("input.txt", "correct_output.txt", "solution_output.txt")
    files = {"checker.py": checker, **dict(zip(names, (given, expected, printed), strict=True))}
    ran = run(Job((interpreter(), "-B", "checker.py", *names), files), CHECKING)
    if ran.failed_setup or ran.reason in ("timeout", "memory"):
        return Verdict.error, f"checker: {ran.reason}"
    if ran.reason:  # most often it stumbles over an output that is no answer at all
        return Verdict.wrong, f"checker: {ran.reason}"
    if number_in(ran.stdout) == 1.0:
        return Verdict.right, ""
    return Verdict.wrong, "the checker does not accept the output"


def tests_of(problem: Problem, folder: str | None) -> list[Test] | str:
    """(input, output) of every test, or why there are none."""
    official = problem.get("official_tests") or []
    if not isinstance(official, Sequence) or isinstance(official, str):
        return "official_tests is no list"
    tests = []
    for test in official:
        if not isinstance(test, Mapping) or not isinstance(test.get("output"), str):
            return "a test without output"
        tests.append((str(test.get("input") or ""), test["output"]))
    if problem.get("generated_tests"):
        if folder:
            tests += generated_tests(folder, str(problem.get("id")))
        else:
            _say_once(
                f"cf_code: problems have generated tests, which are not here: only the official ones count. "
                f"{TESTS_FOLDER} names the folder of the dataset's generated_tests/"
            )
    return tests or "no test cases"


@functools.lru_cache(maxsize=256)
def generated_tests(folder: str, problem: str) -> tuple[Test, ...]:
    """The generated tests of a problem (`CONTEST/INDEX`); empty where the contest has no file.

    Raises:
        RecipeError: the folder is not there.
    """
    if not Path(folder).is_dir():
        raise RecipeError(
            "no such folder of generated tests",
            where=folder,
            fix=f"{TESTS_FOLDER} names the generated_tests/ folder of open-r1/codeforces",
        )
    path = Path(folder) / f"test_cases_{problem.split('/')[0]}.parquet"
    if not path.exists():
        return ()
    from pyarrow import parquet

    table = parquet.read_table(
        path, columns=["input", "output"], filters=[("problem_id", "=", problem)]
    ).to_pylist()
    return tuple((row["input"] or "", row["output"] or "") for row in table)


@functools.cache
def _say_once(text: str) -> None:
    log.warning(text)
