"""Answers known beforehand, through the whole path: problems, prompts, server, ledger, grading, score, files.

The C-numbers are those of the faults found in lighteval that move scores (docs/evaluation.md).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openr1.runs.files import read_lines
from tests.evaluation.in_process import canned, evaluated, write_rows

PROBLEMS = [{"problem": f"Problem {i}?", "answer": str(100 + i)} for i in range(8)]

ANSWERS: dict[int, tuple[Any, str]] = {
    0: ("<think>\nsteps\n</think>\nIt is \\boxed{100}.", "right"),
    1: ("steps\n</think>\n\\boxed{101}", "right"),  # the template opened it
    2: ("The answer is \\boxed{7}.", "wrong"),
    3: ({"text": "<think>\nwe get 103, then maybe", "finish": "length", "tokens": 32}, "truncated"),  # C8
    4: ("", "no_answer"),
    5: ("<think>\nIt is 105, \\boxed{105}", "truncated"),  # half open: the reasoning never ended (C7, C8)
    6: ({"text": "So far 106, and", "finish": "length", "tokens": 32}, "truncated"),
    7: ("A long story without any end", "wrong"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def number(question: str) -> int:
    return int(question.split("Problem ")[1].split("?")[0])


def test_every_kind_of_answer(here: Path) -> None:
    data = write_rows(here / "math.jsonl", PROBLEMS)
    with canned(lambda q, n: ANSWERS[number(q)][0]) as server:
        scores, said, run = evaluated("math_500", server=[server.url], dataset=data, max_new_tokens=32)
    (score,) = scores
    rows = {row["row"]: row for row in read_lines(run / score["samples_file"])}
    assert {row: found["verdict"] for row, found in rows.items()} == {
        row: verdict for row, (_, verdict) in ANSWERS.items()
    }
    assert score["accuracy"] == 2 / 8
    assert score["truncated"] == 2 / 8
    assert score["verdicts"]["truncated"] == 3
    assert score["mean_tokens"] == (6 * 10 + 2 * 32) / 8
    assert score["interval_method"] == "Wilson"
    assert score["other_run"] is None  # one answer cannot tell
    assert score["other_problems"] is not None
    assert any("8 problems; the published math_500 has 500" in text for text in said)
    assert any("expect an interval of ± 28" in text for text in said)  # before it starts
    assert server.asked[0]["messages"][0]["content"].endswith("within \\boxed{}.")
    assert rows[2]["extracted"] == "7" and rows[2]["gold"] == "102"


def test_several_answers_majority_pass_at_k_and_both_errors(here: Path) -> None:
    """Problem 0: always right. 1: right twice of four, the others differ. 2: outvoted by two spellings of
    one wrong number, which only the grader can count together. 3: never."""
    said = {
        0: ["100"] * 4,
        1: ["101", "101", "5", "6"],
        2: ["102", "\\frac{1}{2}", "0.5", "9"],
        3: ["1", "2", "3", "4"],
    }
    data = write_rows(here / "math.jsonl", PROBLEMS[:4])
    with canned(lambda q, n: f"\\boxed{{{said[number(q)][n]}}}") as server:
        scores, _, run = evaluated("math_500", server=[server.url], dataset=data, num_samples=4, batch_size=1)
    (score,) = scores
    assert score["accuracy"] == pytest.approx((4 + 2 + 1 + 0) / 16)
    assert score["majority"] == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert score["pass_at"]["4"] == 3 / 4
    assert score["pass_at"]["2"] == pytest.approx((1 + (1 - 1 / 6) + 0.5 + 0) / 4)
    assert score["pass_at"]["1"] == pytest.approx(score["accuracy"])
    within = (0 + 1 / 3 + 1 / 4 + 0) / 4
    assert score["other_run"] == pytest.approx((within / (4 * 4)) ** 0.5)
    groups = [r["group"] for r in read_lines(run / score["samples_file"]) if r["row"] == 2]
    assert groups[1] == groups[2] != groups[3]
    assert len(score["problem_scores"]) == 4


def test_problem_sets_keep_their_own_number_of_answers(here: Path) -> None:
    """lighteval took the number of the first task for all (open-r1#655: AIME at 8 answers counted as 64)."""
    write_rows(here / "data" / "aime24.jsonl", [{"problem": "Problem 0?", "answer": 100}])
    write_rows(here / "data" / "math_500.jsonl", PROBLEMS[1:3])
    with canned(lambda q, n: f"\\boxed{{{100 + number(q)}}}") as server:
        scores, _, _ = evaluated(
            "aime24", "math_500", server=[server.url], dataset="data", protocol="open-r1"
        )
    assert [(s["task"], s["samples"], s["problems"]) for s in scores] == [
        ("aime24", 64, 1),
        ("math_500", 4, 2),
    ]
    assert [s["protocol"] for s in scores] == ["open-r1-v1", "open-r1-v1"]
    assert all(s["accuracy"] == 1 for s in scores)


GPQA = {
    "Question": "Which one? ",
    "Correct Answer": "a cat\n",
    "Incorrect Answer 1": "a dog",
    "Incorrect Answer 2": "a long story",
    "Incorrect Answer 3": "an ant",
}


def test_options_keep_their_order_whatever_runs_beside(here: Path) -> None:
    """lighteval draws it from the global random generator, in the order in which tasks happen to load."""
    rows = [{**GPQA, "Question": f"Which {i}?"} for i in range(12)]
    write_rows(here / "one" / "gpqa.jsonl", rows)
    write_rows(here / "two" / "gpqa.jsonl", rows[::-1])
    prompts: list[set[str]] = []
    golds: list[dict[str, str]] = []
    for folder in ("one", "two"):
        with canned(lambda q, n: "Answer: A") as server:
            scores, _, run = evaluated("gpqa", server=[server.url], dataset=folder, folder=f"run-{folder}")
            prompts.append({body["messages"][0]["content"] for body in server.asked})
            golds.append({r["problem"]: r["gold"] for r in read_lines(run / scores[0]["samples_file"])})
    assert prompts[0] == prompts[1]
    assert golds[0] == golds[1]
    assert len(set(golds[0].values())) > 1
    assert scores[0]["task"] == "gpqa:diamond"
    (example,) = [p for p in prompts[0] if "Which 3?" in p]
    letter = golds[0]["Which 3?"]
    assert f"{letter}) a cat" in example
    assert "\n\nA) " in example


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("Thus.\nAnswer: {gold}", "right"),
        ("\\boxed{{{gold}}}", "right"),
        ("\\boxed{{\\text{{{gold}}}}}", "right"),
        ("Answer: {gold}) a cat", "right"),
        ("**Answer: {gold}**", "right"),
        ("The answer is a cat.", "right"),
        ("Answer: {wrong}", "wrong"),
        ("A long story about a dog, and then a cat came by and nobody knew", "no_answer"),  # C10
        ("<think>\nAnswer: {gold}", "truncated"),
        ("Answer: Z", "no_answer"),
    ],
)
def test_letters_count_where_an_answer_is_given(here: Path, said: str, verdict: str) -> None:
    from openr1.evaluation.grade import judge_choice
    from openr1.evaluation.problems import Problem

    problem = Problem(0, "Which?", "", "C", ("a dog", "a long story", "a cat", "an ant"))
    text = said.format(gold="C", wrong="B")
    assert judge_choice(problem, text, "stop", False)[0] == verdict


def test_the_same_command_continues_and_another_model_or_protocol_does_not(here: Path) -> None:
    data = write_rows(here / "math.jsonl", PROBLEMS)
    keys: dict[str, Any] = {"dataset": data, "folder": "run"}
    with canned(lambda q, n: "\\boxed{1}", models=("tiny",)) as server:
        evaluated("math_500", server=[server.url], limit=5, **keys)
        assert len(server.asked) == 5
        evaluated("math_500", server=[server.url], **keys)
        assert len(server.asked) == 8  # the first five are kept
        evaluated("math_500", server=[server.url], num_samples=2, **keys)
        assert len(server.asked) == 16  # more answers of the same kind continue those there are
        evaluated("math_500", server=[server.url], temperature=0.7, **keys)
        assert len(server.asked) == 24
        evaluated("math_500", server=[server.url], seed=1, **keys)
        assert len(server.asked) == 32
    with canned(lambda q, n: "\\boxed{1}", models=("retrained",)) as server:
        scores, _, _ = evaluated("math_500", server=[server.url], **keys)
        assert len(server.asked) == 8
    assert scores[0]["model"] == "retrained"
    rows = list(read_lines(here / "run" / "samples" / "ledger.jsonl"))
    assert len({row["key"] for row in rows}) == len(rows) == 40
    assert {"key", "task", "row", "index", "model", "protocol", "text", "tokens"} <= rows[0].keys()


def test_a_server_that_fails_loses_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openr1.errors import ComponentFailed
    from openr1.sampling import server_backend
    from openr1.sampling.fleet import Patience

    # A probe keeps its ten seconds: the list of models must be answered, however busy the machine is.
    monkeypatch.setattr(server_backend, "PATIENCE", replace(Patience().scaled(0.002), probe_s=10.0))
    data = write_rows(here / "math.jsonl", PROBLEMS)
    broken = [True]

    def moody(question: str, count: int) -> Any:
        return {"status": 500} if broken[0] and number(question) == 6 else "\\boxed{1}"

    with canned(moody) as server:
        keys: dict[str, Any] = {"server": [server.url], "dataset": data, "batch_size": 1}
        with pytest.raises(ComponentFailed):
            evaluated("math_500", **keys)
        broken[0] = False
        before = len(server.asked)
        (score,), _, _ = evaluated("math_500", **keys)
        assert len(server.asked) - before == 2
    assert score["problems"] == 8


def test_a_context_too_short_changes_the_length_and_the_id(here: Path) -> None:
    data = write_rows(here / "math.jsonl", PROBLEMS)
    with canned(lambda q, n: "\\boxed{1}", context=300, prompt="x") as server:
        (score,), said, _ = evaluated("math_500", server=[server.url], dataset=data)
    longest = max(len(body["messages"][0]["content"]) for body in server.asked)
    assert server.asked[0]["max_tokens"] == 300 - longest
    assert score["protocol"] == f"quick-v1 max_new_tokens={300 - longest}"
    assert any("limited to" in text for text in said)


def test_the_doubt_about_the_seeds_tables_is_said(here: Path) -> None:
    data = write_rows(here / "math.jsonl", PROBLEMS[:1])
    with canned(lambda q, n: "\\boxed{1}") as server:
        (score,), said, _ = evaluated(
            "math_500", server=[server.url], dataset=data, protocol="open-r1-2025-02"
        )
    assert server.asked[0]["messages"] == [{"role": "user", "content": "Problem 0?"}]
    assert server.asked[0]["temperature"] == 0
    assert server.asked[0]["max_tokens"] == 32768
    assert any("nobody can tell" in text for text in said)
    assert score["conditions"]["prompt"] == "{problem}"


def test_r1_paper_begins_with_think_where_the_template_does_not(here: Path) -> None:
    data = write_rows(here / "math.jsonl", PROBLEMS[:1])
    with canned(lambda q, n: "steps </think> \\boxed{100}") as server:
        (score,), _, _ = evaluated("math_500", server=[server.url], dataset=data, protocol="r1-paper")
    assert server.asked[0]["messages"][-1] == {"role": "assistant", "content": "<think>\n"}
    assert score["samples"] == 16
    assert score["accuracy"] == 1
    assert score["conditions"]["prefill"] == "<think>\n"


def test_rescoring_grades_again_and_generates_nothing(here: Path) -> None:
    from openr1.evaluation.rescore import rescore
    from openr1.runs import resolved_file
    from openr1.runs.folder import RunFolder
    from tests.evaluation.in_process import Told

    data = write_rows(here / "math.jsonl", PROBLEMS[:3])
    with canned(lambda q, n: f"\\boxed{{{100 + number(q)}}}") as server:
        (score,), _, run = evaluated("math_500", server=[server.url], dataset=data, num_samples=2)
    path = run / score["samples_file"]
    rows = list(read_lines(path))
    path.write_text("".join(json.dumps(r | {"verdict": "wrong"}) + "\n" for r in rows))  # an older grader
    child = Told(RunFolder(run))
    child.config = resolved_file.read(run / "resolved.yaml")
    result = rescore(child)
    assert (result["changed"], result["samples"]) == (6, 6)
    after = json.loads((run / "results.json").read_text())
    assert after["scores"][0]["accuracy"] == 1
    assert after["graded_with"]["math-verify"]
    assert json.loads((run / "results-before-rescore-1.json").read_text())["scores"][0]["task"] == "math_500"
    assert {r["verdict"] for r in read_lines(path)} == {"right"}
