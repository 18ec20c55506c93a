"""evaluation.md 5.3 and the bad input of the issue: an answer in bounded time, never a crash."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from openr1.grading import Grader, Item, Verdict

_FILE = Path(__file__).parents[2] / "benchmarks" / "grading.py"
_spec = importlib.util.spec_from_file_location("benchmarks_grading", _FILE)
assert _spec is not None and _spec.loader is not None
_benchmark = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_benchmark)
PATHOLOGICAL: dict[str, tuple[str, str]] = _benchmark.PATHOLOGICAL

# What is turned away before sympy sees it is wrong at once; only the integral takes the clock.
SLOW = {"integral"}


@pytest.mark.parametrize("kind", [k for k in PATHOLOGICAL if k not in SLOW])
def test_turned_away_without_a_kill(grader: Grader, kind: str) -> None:
    killed = grader.killed
    gold, completion = PATHOLOGICAL[kind]
    verdict = grader.grade_one(gold, completion).verdict
    assert grader.killed == killed
    if kind == "same tower twice":
        assert verdict is Verdict.right
    else:
        assert verdict in (Verdict.wrong, Verdict.no_answer)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(SLOW))
def test_the_clock_ends_what_slips_through(kind: str) -> None:
    gold, completion = PATHOLOGICAL[kind]
    with Grader(workers=1, limit=2.0) as grader:
        graded = grader.grade([Item(gold, completion), Item("x+1", r"\boxed{1+x}")])
    assert [g.verdict for g in graded] == [Verdict.timeout, Verdict.right]
    assert graded[0].seconds < 2.5 and grader.killed == 1


def test_costly_gold_is_not_the_models_fault(grader: Grader) -> None:
    assert grader.grade_one("9^{9^{9}}", r"\boxed{7}").verdict is Verdict.timeout


BAD = {
    "empty": "",
    "ten megabytes": "word " * 2_000_000,
    "ten megabytes of boxes": r"\boxed{1} " * 1_000_000,
    "lone surrogates": "\ud800\udfff" * 100 + r"\boxed{7}",
    "boxes 5,000 deep": r"\boxed{" * 5_000 + "7" + "}" * 5_000,
    "ones and spaces": "1 " * 100_000,
    "stars": "*" * 100_000,
    "dots": "." * 100_000 + "x",
    "open answers": "<answer>" * 20_000,
    "open thoughts": "<think>" * 20_000,
    "brackets": "[(" * 50_000,
    "backslashes": "\\" * 100_001,
    "open inline math": r"\(" * 50_000,
    "nulls": "\x00" * 10_000,
}


@pytest.mark.parametrize("kind", list(BAD))
def test_bad_completions(grader: Grader, kind: str) -> None:
    killed = grader.killed
    graded = grader.grade_one("7", BAD[kind])
    assert graded.verdict is not Verdict.error and graded.reason
    assert (graded.verdict is Verdict.right) <= (kind in ("lone surrogates", "boxes 5,000 deep"))
    assert grader.killed == killed


@pytest.mark.parametrize("completion", [None, 5, [], {"role": "assistant"}])
def test_completions_that_are_no_text(grader: Grader, completion: object) -> None:
    assert grader.grade_one("7", completion).verdict is Verdict.error
