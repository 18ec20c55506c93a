"""code and binary_code: programs against tests, all lines of the output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from openr1.errors import ComponentFailed, EnvironmentProblem, RecipeError
from openr1.grading import Verdict
from openr1.rewards import accounting, binary_code_reward, code, code_reward, compat, extract_code, sandbox
from openr1.rewards.code import read_tests, same_output
from openr1.rewards.sandbox import Limits, Ran

try:
    sandbox.walls()
except EnvironmentProblem as problem:  # pragma: no cover
    pytest.skip(f"no sandbox on this machine: {problem}", allow_module_level=True)


@pytest.fixture(autouse=True)
def fresh_accounts() -> Iterator[None]:
    accounting.reset()
    yield
    accounting.reset()


def cases_of(*cases: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {
        "language": "python",
        "test_cases": [{"input": i, "output": o, "type": "stdin_stdout"} for i, o in cases],
    } | more


def program(text: str) -> str:
    return f"<think>hm</think>\n```python\n{text}\n```\n"


DOUBLE = cases_of(("1\n", "2\n"), ("5\n", "10\n"))


def test_share_of_tests_passed() -> None:
    completions = [
        program("print(2 * int(input()))"),
        program("print(2)"),
        program("raise SystemExit(1)"),
        "no code",
    ]
    info = [DOUBLE] * 4
    assert code_reward(completions, verification_info=info) == [1.0, 0.5, 0.0, 0.0]
    assert binary_code_reward(completions, verification_info=info) == [1.0, 0.0, 0.0, 0.0]


def test_the_cell_may_be_json_and_the_completion_a_conversation() -> None:
    chat = [[{"role": "assistant", "content": program("print(2 * int(input()))")}]]
    assert code_reward(chat, verification_info=[json.dumps(DOUBLE)]) == [1.0]


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("a\nb\n", "a\nb", True),
        ("a  \nb", "a\nb\n\n", True),
        ("a\r\nb", "a\nb", True),
        ("a", "a\nb\nc", False),
        ("a\nb\nc", "a", False),
        ("a\n\nb", "a\nb", False),
        (" a", "a", False),
        ("", "", True),
    ],
)
def test_all_lines_are_compared(printed: str, expected: str, same: bool) -> None:
    assert (same_output(printed, expected) == "") is same


@pytest.mark.parametrize(
    "info",
    [
        None,
        "not json",
        "[]",
        {},
        {"test_cases": []},
        {"test_cases": "x"},
        {"test_cases": [{}]},
        {"test_cases": [3]},
        {"test_cases": [{"input": "", "output": "", "type": "function_call"}]},
        {"language": "cpp", "test_cases": [{"input": "", "output": ""}]},
    ],
)
def test_no_usable_tests_is_none_not_zero(info: Any) -> None:
    assert code_reward([program("print(1)")], verification_info=[info]) == [None]
    assert accounting.accounts("code").total == {Verdict.gold_unparsable: 1}


def test_missing_and_unequal_columns() -> None:
    with pytest.raises(RecipeError, match="verification_info"):
        code_reward([program("x")])
    assert code_reward([program("x")] * 2, verification_info=[DOUBLE]) == [None, None]


def test_two_timeouts_end_a_program() -> None:
    many = cases_of(*[("", "1")] * 50)
    reasons: list[Any] = []
    values = code_reward(
        [program("while True: pass")],
        verification_info=[many],
        timeout_s=0.5,
        log_extra=lambda name, column: reasons.extend(column),
    )
    assert values == [0.0] and reasons == ["test 1: timeout"]


def test_an_escape_attempt_is_wrong_with_its_reason() -> None:
    reasons: list[Any] = []
    code_reward(
        [program("import os\nwhile True: os.fork()")],
        verification_info=[cases_of(("", "1"))],
        log_extra=lambda name, column: reasons.extend(column),
    )
    assert reasons == ["test 1: processes"]


def test_a_broken_sandbox_is_none_and_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str, stdin: str, limits: Limits) -> Ran:
        return Ran("sandbox: mount failed", "", "", 0.0, failed_setup=True)

    monkeypatch.setitem(code.RUNNERS, "python", broken)
    assert code_reward([program("print(1)")], verification_info=[DOUBLE]) == [None]
    with pytest.raises(ComponentFailed, match="mount failed"):
        code_reward([program("print(1)")] * 4, verification_info=[DOUBLE] * 4)


def test_no_sandbox_is_an_environment_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise EnvironmentProblem("no sandbox")

    monkeypatch.setattr(code, "walls", none)
    with pytest.raises(EnvironmentProblem):
        code_reward([program("print(1)")], verification_info=[DOUBLE])


def test_extract_code() -> None:
    assert extract_code("```python\na\n```\n```py\nb\n```") == "b\n"
    assert extract_code("```cpp\na\n```") == extract_code("```python\nnever closed") == ""


def test_read_tests_defaults_to_python() -> None:
    assert read_tests({"test_cases": [{"input": None, "output": "1"}]}) == ("python", [("", "1")])


def test_compat_keeps_upstreams_comparison() -> None:
    """A prefix passes, more than the prefix passes, and one timeout makes everything 0."""

    def chat(text: str) -> list[dict[str, str]]:
        return [{"content": program(text)}]

    info = cases_of(("", "1\n2\n3"), ("", "1"))
    assert compat.code_reward(
        [chat("print(1)"), chat("print('1\\n2\\n3\\n4')"), chat("print(2)")], verification_info=[info] * 3
    ) == [1.0, 1.0, 0.0]
    assert compat.binary_code_reward([chat("print(1)"), chat("")], verification_info=[info] * 2) == [1.0, 0.0]
    mixed = [info | {"language": "cpp"}, info]
    with pytest.raises(ValueError, match="same language"):
        compat.code_reward([chat("")] * 2, enforce_same_language=True, verification_info=mixed)


@pytest.mark.slow
def test_compat_timeout() -> None:
    info = cases_of(("1", "1"), ("2", "2"))
    text = program("x = input()\nprint(x)\nwhile x == '2': pass")
    assert compat.code_reward([[{"content": text}]], verification_info=[info]) == [0.0]
