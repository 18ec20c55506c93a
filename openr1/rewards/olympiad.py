"""ioi_code: C++ solutions of a subtask of the International Olympiad in Informatics, judged on this machine.

The columns are those of open-r1/ioi: one row is one subtask, with the graders, checker and manager that the
contest's own judge has. open-r1 sent them to a Piston server with its cms_ioi package (or to Morph); here
they are compiled and run in the sandbox, by the rules of CMS task types Batch and Communication.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ..data.sources import rows_of
from ..errors import OpenR1Error
from ..grading import Verdict
from .accounting import LogMetric
from .code import extract_code
from .contest import (
    CHECKING,
    HARD_S,
    Executable,
    Judged,
    Problem,
    cpp,
    judge_all,
    limits_of,
    number_in,
    rows,
    same_words,
)
from .cpp import Built, build, compiler
from .messages import texts_of
from .sandbox import Job, interpreter, run, walls

NEEDED = ("id", "test_names", "grader_files")
TESTS = "open-r1/ioi-test-cases"
DRIVER = Path(__file__).with_name("olympiad_driver.py")
TOO_SLOW = 99
"""Exit status of the driver when a copy of the solution used more than its time."""
Files = tuple[tuple[str, str], ...]
Test = tuple[str, str]


def ioi_code_reward(
    completions: Sequence[Any],
    *,
    id: Sequence[Any] | None = None,
    test_names: Sequence[Any] | None = None,
    grader_files: Sequence[Any] | None = None,
    tests: str = TESTS,
    parallel: int | None = None,
    log_metric: LogMetric | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    extract: Callable[[str, str], str] = extract_code,
    **columns: Any,
) -> list[float | None]:
    """The least score of the subtask's tests, 0 to 1, rounded to `score_precision`; None where not known.

    Args:
        id: the problem; the solution is compiled as `graders/ID.cpp`.
        test_names: names of the subtask's tests.
        grader_files: (path, text) pairs: `graders/…`, `checker/checker.cpp`. Other columns that are read:
            `time_limit` (seconds), `memory_limit` (bytes, or MB where it is below a million), `year`,
            `score_precision` and `test_cases`: (input, output) of each test, in the order of `test_names` or
            by name.
        tests: where a row has no `test_cases`: hub dataset or folder with a configuration per year and
            columns problem_id, test_name, test_input, test_output.
        extract: finds the program in (completion, language).
    """
    columns |= {"id": id, "test_names": test_names, "grader_files": grader_files}
    problems = rows("ioi_code", NEEDED, len(completions), columns)
    programs = [
        with_includes(extract(text or "", "cpp"), str(problem["id"]))
        for text, problem in zip(texts_of(completions), problems, strict=True)
    ]
    judge = partial(judge_subtask, tests=tests)
    return judge_all(
        "ioi_code", programs, problems, judge, parallel=parallel, log_metric=log_metric, log_extra=log_extra
    )


def check_machine(rows: Sequence[Problem], settings: Mapping[str, Any]) -> None:
    """Raises EnvironmentProblem without a sandbox or g++, and what is wrong with the tests' dataset."""
    walls()
    compiler()
    for row in rows[:1]:
        if row.get("test_cases") is None and row.get("year") is not None:
            _published(str(settings.get("tests", TESTS)), str(row["year"]))


def with_includes(program: str, problem: str) -> str:
    """A program with what models forget: the standard library, the task's header, the std namespace."""
    if not program.strip():
        return ""
    head = "#include <bits/stdc++.h>\n"
    if f'#include "{problem}.h"' not in program:
        head += f'#include "{problem}.h"\n'
    if "std::" not in program and "using namespace std;" not in program:
        head += "using namespace std;\n"
    return head + program


def judge_subtask(program: str, problem: Problem, *, tests: str) -> Judged:
    """One solution against the tests of one subtask, up to the first that earns nothing."""
    files = files_of(problem.get("grader_files"))
    if isinstance(files, str):
        return Judged(Verdict.gold_unparsable, None, files)
    config = _config(dict(files))
    if isinstance(config, str):
        return Judged(Verdict.gold_unparsable, None, config)
    found = tests_of(problem, tests)
    if isinstance(found, str):
        return Judged(Verdict.gold_unparsable, None, found)
    if not program:
        return Judged(Verdict.no_answer, 0.0, "no code block")
    solution = f"graders/{str(problem['id']).lower()}.cpp"
    here = {**dict(files), solution: program}
    helpers = [name for name in ("graders/grader.cpp", "graders/stub.cpp") if name in here]
    # A program that includes a header of its own task needs one: an empty one where the task has none.
    here.setdefault(f"graders/{problem['id']}.h", "")
    ready = cpp(here, [solution, *helpers])
    if ready.failed_setup:
        return Judged(Verdict.error, None, ready.error)
    if ready.error:
        return Judged(Verdict.wrong, 0.0, f"does not compile: {ready.error}")
    least, first = 1.0, ""
    for name, test in found:
        score, why = run_test(ready, problem, files, config, test)
        if score is None:
            return Judged(Verdict.error, None, f"test {name}: {why}")
        if score < 1.0:
            first = first or f"test {name}: {why}"
        least = min(least, score)
        if least <= 0.0:
            break
    precision = problem.get("score_precision")
    value = round(max(least, 0.0), int(2 if precision is None else precision))
    return Judged(Verdict.right if least >= 1.0 else Verdict.wrong, value, first)


def files_of(given: Any) -> Files | str:
    """The task's files as (path, text) pairs, or what is wrong with them."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        return "grader_files is no list"
    files = []
    for entry in given:
        pair = (entry.get("name"), entry.get("content")) if isinstance(entry, Mapping) else tuple(entry)
        if len(pair) != 2 or not isinstance(pair[0], str):
            return "grader_files holds something that is no (path, text) pair"
        path = PurePosixPath(pair[0])
        if path.is_absolute() or ".." in path.parts:
            return f"grader_files names a path outside: {pair[0]}"
        if pair[1]:
            files.append((str(path), str(pair[1])))
    return tuple(files)


def _config(files: Mapping[str, str]) -> dict[str, Any] | str:
    """The task's settings in the spelling of CMS; a task with a manager is one of communication."""
    config: dict[str, Any] = {
        "task_type": "Communication" if "graders/manager.cpp" in files else "Batch",
        "task_type_parameters_Communication_num_processes": 1,
        "task_type_parameters_Communication_user_io": "std_io",
    }
    try:
        config |= json.loads(files.get("graders/grader_config.json") or "{}")
    except (ValueError, TypeError):
        return "graders/grader_config.json cannot be read"
    if config["task_type"] not in ("Batch", "Communication"):
        return f"tasks of type {config['task_type']} are not supported"
    return config


def tests_of(problem: Problem, source: str) -> list[tuple[str, Test]] | str:
    """Name, input and expected output of every test of the subtask, or why there are none."""
    names = [str(name) for name in problem.get("test_names") or []]
    if not names:
        return "the subtask has no tests"
    cases = problem.get("test_cases")
    if cases is None:
        if problem.get("year") is None:
            return "neither test_cases nor a year to look them up"
        cases = _published(source, str(problem["year"])).get(str(problem["id"]), {})
    if not isinstance(cases, Mapping):
        if len(cases) != len(names):
            return f"{len(names)} test names, {len(cases)} tests"
        cases = dict(zip(names, cases, strict=True))
    missing = [name for name in names if not cases.get(name)]
    if missing:
        return f"test {missing[0]} is not there"
    return [(name, _pair(cases[name])) for name in names]


def _pair(case: Any) -> Test:
    if isinstance(case, Mapping):
        return str(case.get("input") or ""), str(case.get("output") or "")
    given, expected = case
    return str(given or ""), str(expected or "")


@functools.lru_cache(maxsize=8)
def _published(source: str, year: str) -> dict[str, dict[str, Test]]:
    """The published tests of a year: problem -> test -> (input, output).

    Raises:
        RecipeError, EnvironmentProblem: the dataset is not there, with what to do.
    """
    found: dict[str, dict[str, Test]] = {}
    try:
        loaded = rows_of(source, year, "train")
    except OpenR1Error as error:
        error.args = (f"ioi_code: the tests of {year} are not there: {error.args[0]}", *error.args[1:])
        raise
    for row in loaded:
        tests = found.setdefault(str(row["problem_id"]), {})
        tests[str(row["test_name"])] = (row["test_input"] or "", row["test_output"] or "")
    return found


def run_test(
    ready: Executable, problem: Problem, files: Files, config: Mapping[str, Any], test: Test
) -> tuple[float | None, str]:
    """The score of one test, 0 to 1, and why it is not 1; None where nobody can know."""
    given, expected = test
    time_s = float(problem.get("time_limit") or 2.0)
    limits = limits_of(time_s, megabytes(problem.get("memory_limit")), expected)
    if config["task_type"] == "Communication":
        manager = _built(files, "graders/manager.cpp")
        if manager.error:
            return None, f"manager: {manager.error}"
        copies = int(config["task_type_parameters_Communication_num_processes"])
        how = str(config["task_type_parameters_Communication_user_io"])
        ready = Executable(
            (interpreter(), "-B", "driver.py", str(copies), how, str(time_s), str(TOO_SLOW)),
            {"driver.py": DRIVER.read_text()},
            {**ready.programs, "manager": manager.program},
        )
        # The driver counts the time of each copy; the manager's own is free.
        limits = replace(limits, cpu_s=None, wall_s=copies * time_s + HARD_S)
    ran = ready.run(given, limits)
    if ran.failed_setup:
        return None, ran.reason
    if ran.reason.startswith(f"exit status {TOO_SLOW}") and config["task_type"] == "Communication":
        return 0.0, "timeout"
    if ran.reason:
        return 0.0, ran.reason
    if "checker/checker.cpp" in dict(files) and expected:
        return _asked_checker(files, given, expected, ran.stdout)
    if expected and config["task_type"] == "Batch":
        found = same_words(ran.stdout, expected)
        return (0.0 if found else 1.0), found
    # Neither a checker nor an output to compare with: the grader, or the manager, prints the score.
    score = number_in(ran.stdout)
    return (0.0, "no score was printed") if score is None else (_within(score), "part of the score")


def _asked_checker(files: Files, given: str, expected: str, printed: str) -> tuple[float | None, str]:
    """The task's checker, in a sandbox of its own: score on its output, a comment among its errors."""
    built = _built(files, "checker/checker.cpp")
    if built.error:
        return None, f"checker: {built.error}"
    names = ("input.txt", "correct_output.txt", "solution_output.txt")
    texts = dict(zip(names, (given, expected, printed), strict=True))
    ran = run(Job(("./checker", *names), texts, {"checker": built.program}), CHECKING)
    score = number_in(ran.stdout)
    if score is None or ran.failed_setup:
        return None, f"checker: {ran.reason or 'it printed no score'}"
    return _within(score), ran.stderr.strip()[:200] or "the checker gives less"


def _within(score: float) -> float:
    return min(max(score, 0.0), 1.0)


@functools.lru_cache(maxsize=64)
def _built(files: Files, source: str) -> Built:
    """The task's checker or manager; compiled once, used for every solution."""
    return build(dict(files), [source])


def megabytes(limit: Any) -> float:
    """A memory limit in MB: the dataset has bytes, people write megabytes."""
    value = float(limit or 256)
    return value / 2**20 if value >= 1e6 else value
