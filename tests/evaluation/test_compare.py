"""Two scores of one task: comparable, or not and why. The pairing itself is tested with the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openr1.cli.printer import Printer
from openr1.cli.report_view import _pairs
from openr1.errors import RecipeError, UsageError
from openr1.evaluation.compare import reasons_against, results_of
from openr1.evaluation.protocol import conditions_of
from openr1.evaluation.tasks import TASKS
from openr1.runs.report.scores import Pair, pair_row


def score(samples: int = 1, **values: Any) -> dict[str, Any]:
    asked = conditions_of(TASKS["math_500"], {"protocol": "quick", "num_samples": samples, **values})
    return {"protocol": asked.id(), "conditions": asked.as_dict(asked.max_new_tokens)}


def test_more_answers_are_no_other_protocol_but_anything_else_is() -> None:
    ours = score()
    assert reasons_against(ours, score()) == []
    assert reasons_against(ours, score(samples=4)) == []
    brief = score(temperature=1.0, system_prompt="be brief")
    assert reasons_against(ours, brief) == ["another system prompt", "temperature 0.6 instead of 1"]
    assert "another prompt" in reasons_against(ours, score(protocol="open-r1-2025-02"))
    graded = {**ours, "conditions": {**ours["conditions"], "extraction": "openr1-0"}}
    assert reasons_against(graded, ours) == ["another extraction"]  # under one id


def test_two_copies_of_one_size_are_other_problems() -> None:
    """Where nobody knows the published fingerprint, two runs are still held against each other's."""
    data = {"fingerprint": "aaa", "rows": 30, "published_rows": 30}
    ours, theirs = score() | {"data": data}, score() | {"data": {**data, "fingerprint": "bbb"}}
    assert reasons_against(ours, ours | {"model": "other"}) == []
    assert reasons_against(ours, theirs) == ["other problems or gold answers (fingerprint aaa and bbb)"]
    part = score() | {"data": {**data, "fingerprint": "bbb", "rows": 10}}
    assert reasons_against(ours, part) == []  # matched by their ids
    assert reasons_against(ours, score()) == []  # an older run, which does not say
    built_in = {"fingerprint": "a", "rows": 30, "published_rows": None}
    seeds = [score() | {"data": {**built_in, "fingerprint": mark}} for mark in "ab"]
    assert reasons_against(*seeds) == []


def test_scores_that_do_not_say_how_they_were_asked_go_by_the_protocols_name() -> None:
    old = {"protocol": "quick-v0", "conditions": None}
    assert reasons_against(score(), old) == ["protocol quick-v1 and quick-v0"]
    assert reasons_against(old, dict(old)) == []


@pytest.mark.parametrize(("p_value", "told"), [(0.3, True), (0.05, True), (0.01, False)])
def test_not_distinguishable_is_said_when_it_is_so(
    p_value: float, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = Pair("math_500", "a", "b", 0.02, -0.01, 0.05, p_value, 5, 3, 100, 100)
    _pairs(Printer(), [pair])
    assert ("not distinguishable" in " ".join(capsys.readouterr().out.split())) == told
    assert bool(pair_row(pair)["verdict"]) == told


def test_results_that_are_not_there_or_broken(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no scores"):
        results_of(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(RecipeError, match="cannot be read"):
        results_of(tmp_path)
