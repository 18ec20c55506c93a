"""cf_code and ioi_code: real programs in Python and C++, with checkers, graders and managers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openr1.errors import ComponentFailed, EnvironmentProblem, RecipeError
from openr1.rewards import accounting, cf_code_reward, compat, cpp, get_reward_funcs, ioi_code_reward, sandbox
from openr1.rewards.codeforces import generated_tests, score
from openr1.rewards.contest import number_in, same_words
from openr1.rewards.olympiad import files_of, megabytes, with_includes

try:
    sandbox.walls()
    cpp.compiler()
except EnvironmentProblem as problem:  # pragma: no cover
    pytest.skip(f"no judge on this machine: {problem}", allow_module_level=True)


@pytest.fixture(autouse=True)
def fresh_accounts() -> Iterator[None]:
    accounting.reset()
    yield
    accounting.reset()


def fenced(language: str, program: str) -> str:
    return f"<think>hm</think>\n```{language}\n{program}\n```\n"


def cf(*answers: tuple[str, str], **columns: Any) -> tuple[list[float | None], list[str]]:
    """Rewards and reasons of (language, completion) pairs on one problem."""
    reasons: list[str] = []
    problem = {"official_tests": TESTS, "time_limit": 1.0, "memory_limit": 64.0, **columns}
    rewards = cf_code_reward(
        [completion for _, completion in answers],
        **{key: [value] * len(answers) for key, value in problem.items()},
        language=[language for language, _ in answers],
        log_extra=lambda _, found: reasons.extend(found),
    )
    return rewards, reasons


TESTS = [{"input": "1\n", "output": "2\n"}, {"input": "5\n", "output": "10"}]
PYTHON = fenced("python", "print(2 * int(input()))")
CPP = fenced("cpp", "#include <iostream>\nint main() { long long n; std::cin >> n; std::cout << 2 * n; }")


def test_right_wrong_and_everything_between() -> None:
    rewards, reasons = cf(
        ("python", PYTHON),
        ("cpp", CPP),
        ("python", fenced("python", "print(2)")),
        ("cpp", fenced("cpp", "int main({}")),
        ("cpp", "no code"),
        ("cpp", PYTHON),  # the right program in the wrong language
        ("cpp", fenced("cpp", "int main() { for (volatile int i = 0;;); }")),
        ("python", fenced("python", "x = [0] * 10**9")),
        ("python", fenced("python", "raise SystemExit(3)")),
    )
    assert rewards == [1.1, 1.1, 0.05, -0.1, -1.0, -1.0, 0.0, 0.0, 0.0]
    for reason, what in zip(
        reasons,
        ["", "", "line 1 differs", "does not compile", "no code", "no code", "timeout", "memory", "status 3"],
        strict=True,
    ):
        assert what in reason
    assert "error:" in reasons[3]


def test_ways_to_score() -> None:
    assert [score(1, 4, mode) for mode in ("weighted_sum", "partial", "pass_fail")] == [0.025, 0.25, 0.0]
    assert [score(4, 4, mode) for mode in ("weighted_sum", "partial", "pass_fail")] == [1.1, 1.0, 1.0]
    (reward,) = get_reward_funcs(["cf_code"], code_eval_scoring_mode="partial")
    half = fenced("python", "print(2)")
    assert reward([half], official_tests=[TESTS], language=["python"]) == [0.5]
    (reward,) = get_reward_funcs(["cf_code"], code_eval_scoring_mode="pass_fail")
    assert reward([half], official_tests=[TESTS], language=["python"]) == [0.0]


def test_time_is_the_processor_s_and_sleeping_is_bounded_by_the_wall() -> None:
    slow = fenced("python", "import time\ntime.sleep(1.2)\nprint(2 * int(input()))")
    busy = fenced("python", "import time\nwhile time.process_time() < 0.9: pass\nprint(2 * int(input()))")
    rewards, reasons = cf(("python", slow), ("python", busy), time_limit=0.6)
    assert rewards == [1.1, 0.0] and "timeout" in reasons[1]


CHECKER = """
import sys
given, expected, printed = (open(name).read().split() for name in sys.argv[1:4])
a, b = map(int, printed)
print(1 if a + b == int(given[0]) and expected else 0)
"""


def test_a_checker_accepts_any_right_answer_and_a_crash_of_it_is_no_pass() -> None:
    tests = [{"input": "7\n", "output": "3 4\n"}]
    rewards, reasons = cf(
        ("python", fenced("python", "n = int(input()); print(1, n - 1)")),
        ("python", fenced("python", "print(1, 1)")),
        ("python", fenced("python", "print('hello')")),
        official_tests=tests,
        generated_checker=CHECKER,
    )
    assert rewards == [1.1, 0.0, 0.0]
    assert "does not accept" in reasons[1] and "checker: exit status 1" in reasons[2]


def test_the_expected_output_is_not_there_for_the_program() -> None:
    spy = "import os\nfor f in os.listdir('.'):\n    if f != 'main.py': print(open(f).read())"
    rewards, _ = cf(("python", fenced("python", spy)), official_tests=[{"input": "1", "output": "2"}])
    assert rewards == [0.0]


def test_problems_with_files() -> None:
    program = "open('output.txt', 'w').write(str(2 * int(open('input.txt').read())))"
    rewards, _ = cf(("python", fenced("python", program)), ("python", PYTHON), input_mode="file")
    assert rewards == [1.1, 0.0]


@pytest.mark.parametrize(
    "columns",
    [
        {"official_tests": []},
        {"official_tests": None},
        {"official_tests": "x"},
        {"official_tests": [{"input": "1"}]},
    ],
)
def test_no_usable_tests_is_none_not_zero(columns: dict[str, Any]) -> None:
    assert cf(("python", PYTHON), **columns)[0] == [None]


def test_other_languages_are_not_judged() -> None:
    assert cf(("rust", fenced("rust", "fn main() {}")))[0] == [None]
    with pytest.raises(RecipeError, match="official_tests"):
        cf_code_reward([PYTHON], language=["python"])


def test_generated_tests_come_from_the_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [("8/A", "3", "6"), ("8/A", "4", "9"), ("8/B", "1", "1")]
    table = pa.table(
        {
            "problem_id": [r[0] for r in rows],
            "input": [r[1] for r in rows],
            "output": [r[2] for r in rows],
        }
    )
    parquet.write_table(table, tmp_path / "test_cases_8.parquet")
    assert generated_tests(str(tmp_path), "8/A") == (("3", "6"), ("4", "9"))
    assert generated_tests(str(tmp_path), "9/A") == ()
    (reward,) = get_reward_funcs([{"cf_code": {"tests_folder": str(tmp_path), "scoring_mode": "partial"}}])
    row = {"official_tests": [TESTS], "language": ["python"], "generated_tests": [2], "id": ["8/A"]}
    assert reward([PYTHON], **row) == [0.75]
    assert cf_code_reward([PYTHON], **row) == [1.1]  # without the folder the official ones count, said once
    assert "CF_TESTS_FOLDER" in caplog.text
    with pytest.raises(RecipeError, match="no such folder"):
        cf_code_reward([PYTHON], tests_folder=str(tmp_path / "no"), **row)


def test_words_and_numbers() -> None:
    assert same_words("1  2 \n\n3", "1 2\n3\n") == ""
    assert same_words("1 2", "1\n2") and same_words("1", "1\n2")
    assert [number_in(t) for t in ("1", "0.25\n", "1.0 ok", "", "yes", "1abc")] == [
        1,
        0.25,
        1,
        None,
        None,
        None,
    ]


HEADER = "int twice(int n);"
GRADER = (
    '#include <cstdio>\n#include "twice.h"\nint main() { int n; scanf("%d", &n); printf("%d\\n", twice(n)); }'
)
BATCH = [["graders/grader.cpp", GRADER], ["graders/twice.h", HEADER]]
RIGHT = "int twice(int n) { return 2 * n; }"


def ioi(*programs: str, **columns: Any) -> tuple[list[float | None], list[str]]:
    reasons: list[str] = []
    problem = {
        "id": "twice",
        "subtask": "01-small",
        "score_precision": 2,
        "test_names": ["a", "b"],
        "test_cases": [["1", "2"], ["5", "10"]],
        "grader_files": BATCH,
        "time_limit": 1.0,
        "memory_limit": 2**28,
        **columns,
    }
    rewards = ioi_code_reward(
        [fenced("cpp", program) if program else "no code" for program in programs],
        **{key: [value] * len(programs) for key, value in problem.items()},
        log_extra=lambda _, found: reasons.extend(found),
    )
    return rewards, reasons


def test_a_subtask_is_worth_its_worst_test() -> None:
    rewards, reasons = ioi(RIGHT, "int twice(int n) { return 2; }", "", "int twice() { return 2; }")
    assert rewards == [1.0, 0.0, 0.0, 0.0]
    assert reasons[1].startswith("test b") and "no code" in reasons[2] and "does not compile" in reasons[3]
    by_name = {"a": {"input": "1", "output": "2"}, "b": {"input": "5", "output": "10"}}
    assert ioi(RIGHT, test_cases=by_name)[0] == [1.0]


def test_a_checker_gives_part_of_the_score() -> None:
    checker = (
        "#include <fstream>\n#include <iostream>\nint main(int, char** v) { std::ifstream a(v[2]), b(v[3]); "
        'int x, y; a >> x; b >> y; std::cout << (x == y ? 1.0 : y % 2 ? 0.0 : 0.333); std::cerr << "even"; }'
    )
    files = [*BATCH, ["checker/checker.cpp", checker], ["checker/empty.h", ""]]
    rewards, reasons = ioi(
        RIGHT, "int twice(int n) { return 4; }", "int twice(int n) { return 1; }", grader_files=files
    )
    assert rewards == [1.0, 0.33, 0.0]
    assert reasons[1] == "test a: even"


MANAGER = r"""
#include <cstdio>
int main(int count, char** name) {
  FILE* out = fopen(name[2], "w"); FILE* in = fopen(name[1], "r");
  int n, got = -1; scanf("%d", &n); fprintf(out, "%d\n", n); fflush(out); fscanf(in, "%d", &got);
  printf("%s\n", got == 2 * n ? "1.0" : "0.5");
}
"""
STUB = GRADER.replace("}", "fflush(stdout); }")


def test_a_task_of_communication() -> None:
    files = [["graders/stub.cpp", STUB], BATCH[1], ["graders/manager.cpp", MANAGER]]
    spin = "int twice(int n) { for (volatile int i = 0;;); }"
    rewards, reasons = ioi(
        RIGHT, "int twice(int n) { return 0; }", spin, grader_files=files, test_cases=[["1", ""], ["5", ""]]
    )
    assert rewards == [1.0, 0.5, 0.0]
    assert "timeout" in reasons[2]


def test_two_copies_talk_through_the_manager() -> None:
    manager = (
        "#include <cstdio>\nint main(int, char** v) { "
        'FILE* o0 = fopen(v[2], "w"); FILE* i0 = fopen(v[1], "r"); '
        'FILE* o1 = fopen(v[4], "w"); FILE* i1 = fopen(v[3], "r"); int n, x = 0, y = 0; scanf("%d", &n); '
        'fprintf(o0, "%d\\n", n); fclose(o0); fscanf(i0, "%d", &x); fprintf(o1, "%d\\n", x); fclose(o1); '
        'fscanf(i1, "%d", &y); printf("%d\\n", y == 4 * n); }'
    )
    config = (
        '{"task_type": "Communication", "task_type_parameters_Communication_num_processes": 2, '
        '"task_type_parameters_Communication_user_io": "fifo_io"}'
    )
    stub = (
        '#include <cstdio>\n#include "twice.h"\nint main(int c, char** v) { FILE* i = fopen(v[1], "r"); '
        'FILE* o = fopen(v[2], "w"); int n; fscanf(i, "%d", &n); fprintf(o, "%d\\n", c == 4 ? twice(n) : 0); '
        "fclose(o); }"
    )
    files = [["graders/stub.cpp", stub], BATCH[1], ["graders/manager.cpp", manager]]
    files.append(["graders/grader_config.json", config])
    rewards, reasons = ioi(
        RIGHT, "int twice(int n) { return n; }", grader_files=files, test_cases=[["1", ""], ["5", ""]]
    )
    assert rewards == [1.0, 0.0], reasons


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"test_names": []}, "no tests"),
        ({"test_cases": [["1", "2"]]}, "2 test names, 1 tests"),
        ({"test_cases": {"a": ["1", "2"]}}, "test b is not there"),
        ({"test_cases": None}, "neither test_cases nor a year"),
        ({"grader_files": [["../x", "y"]]}, "outside"),
        ({"grader_files": [["graders/grader_config.json", "{"]]}, "cannot be read"),
        ({"grader_files": [["graders/grader_config.json", '{"task_type": "OutputOnly"}']]}, "OutputOnly"),
    ],
)
def test_a_subtask_that_cannot_be_judged_is_none(columns: dict[str, Any], what: str) -> None:
    rewards, reasons = ioi(RIGHT, **columns)
    assert rewards == [None] and what in reasons[0]


def test_a_checker_that_does_not_compile_is_an_error_not_a_score() -> None:
    with pytest.raises(ComponentFailed, match=r"checker\.cpp"):
        ioi(RIGHT, RIGHT, RIGHT, RIGHT, grader_files=[*BATCH, ["checker/checker.cpp", "no"]])


def test_published_tests_are_looked_up_by_year(tmp_path: Path) -> None:
    rows = [("twice", "a", "1", "2"), ("twice", "b", "5", "10")]
    keys = ("problem_id", "test_name", "test_input", "test_output")
    (tmp_path / "2024").mkdir()
    import json

    text = "".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows)
    (tmp_path / "2024" / "train.jsonl").write_text(text)
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: '2024'\n  data_files: 2024/train.jsonl\n---\n"
    )
    (reward,) = get_reward_funcs([{"ioi_code": {"tests": str(tmp_path)}}])
    columns = {"id": ["twice"], "test_names": [["a", "b"]], "grader_files": [BATCH], "year": [2024]}
    assert reward([fenced("cpp", RIGHT)], **columns) == [1.0]


def test_small_things() -> None:
    assert with_includes("", "x") == ""
    assert with_includes("std::sort(a)", "x").count("using namespace std;") == 0
    assert with_includes('#include "x.h"\nint a;', "x").count('#include "x.h"') == 1
    assert megabytes(2**28) == megabytes(256) == 256
    assert files_of([{"name": "graders/x.h", "content": "y"}]) == (("graders/x.h", "y"),)


def test_without_a_compiler_c_is_an_environment_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    cpp.compiler.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda *args, **kwargs: None)
    rewards = get_reward_funcs(["cf_code", "ioi_code"])
    try:
        rewards[0].check_machine([{"language": "python"}])  # needs none
        for reward in rewards:
            with pytest.raises(EnvironmentProblem, match=r"g\+\+") as caught:
                reward.check_machine([{"language": "cpp", "test_cases": []}])
            assert "apt install" in str(caught.value.fix)
    finally:
        cpp.compiler.cache_clear()


def test_compat_takes_the_exact_label_only() -> None:
    chat = [[{"role": "assistant", "content": text}] for text in (CPP, CPP.replace("```cpp", "```c++"))]
    columns = {"official_tests": [TESTS] * 2, "language": ["cpp"] * 2}
    assert compat.cf_code_reward(chat, **columns) == [1.1, -1.0]
    assert compat.cf_code_reward(chat, official_tests=[TESTS] * 2) == [-1.0, -1.0]
    assert compat.ioi_code_reward(chat, test_batch_size=-1) == [0.0, 0.0]
    with pytest.raises(RecipeError, match="patch_code"):
        compat.cf_code_reward(chat, patch_code=True, **columns)
