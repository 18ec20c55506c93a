"""One line about what to mend first, from a score; nothing where nothing is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from openr1.cli.printer import Printer
from openr1.cli.scores_view import show_scores
from openr1.evaluation.advice import advice
from openr1.evaluation.score import score_rows

LIMIT = {"conditions": {"max_new_tokens": 4096}, "asked_tokens": 4096}


def score(finish: str = "stop", **verdicts: int) -> dict[str, Any]:
    """A score as it is made, of so many answers of each verdict; those cut off ended by `finish`."""
    rows = [
        {"verdict": verdict, "tokens": 10, "finish_reason": finish if verdict == "truncated" else "stop"}
        for verdict, count in verdicts.items()
        for _ in range(count)
    ]
    return score_rows([row | {"row": i} for i, row in enumerate(rows)], 1, 0) | LIMIT


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (score(right=100), None),
        (score(right=50, wrong=46, no_answer=4), None),
        (score("length", right=95, truncated=5), None),
        (score("length", right=60, truncated=40), "40 % of the answers were cut off"),
        (score("length", right=60, truncated=40), "--max_new_tokens 8192 gives them room"),
        (score(right=60, no_answer=12, wrong=28), "12 % of the answers ended without one"),
        (score(right=60, no_answer=12, wrong=28), "openr1 samples RUN --wrong"),
        (score(right=97, timeout=2, error=1), "3.0 % of the answers could not be graded"),
        (score(right=97, timeout=3), "openr1 eval --rescore RUN"),
        (score(right=90, gold_unparsable=10), "10 % of the answers met a gold answer that cannot be read"),
        (score("length", right=50, truncated=40, timeout=10), "could not be graded"),  # what is first
        ({}, None),  # an older run
    ],
)
def test_what_is_said_first(found: dict[str, Any], said: str | None) -> None:
    assert (advice(found) is None) if said is None else (said in str(advice(found)))


def test_what_ended_the_answers_decides_what_helps() -> None:
    cut = score("length", right=1, truncated=1)
    short = cut | {"conditions": {"max_new_tokens": 300}}
    assert "the model's context leaves 300 tokens" in str(advice(short))
    long = {"conditions": {"max_new_tokens": 32768}, "asked_tokens": 32768}
    assert "often repeat themselves" in str(advice(cut | long))


def test_the_summary_holds_the_line_and_names_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    named = {"model": "m", "task": "math_500", "protocol": "quick-v1"}
    bad = score("length", right=60, truncated=40) | named
    show_scores(Printer(), [bad, score(right=100) | named | {"task": "gsm8k"}])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("advice:") == 1
    assert "m, math_500: advice: 40 % of the answers were cut off" in said
