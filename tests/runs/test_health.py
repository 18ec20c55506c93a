"""Health rules on recordings of real tiny runs: each fault is found by its rule, good runs are silent.

`recordings/record.py` made the files: it runs the real command with the fault in it; index.json says how.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openr1.runs.health import Health, of_result, rules
from openr1.runs.report.charts import CHARTS, Chart
from tests.conftest import rows_of

RECORDINGS = Path(__file__).parent / "recordings"
INDEX: dict[str, Any] = json.loads((RECORDINGS / "index.json").read_text(encoding="utf-8"))
RESULTS: dict[str, Any] = json.loads((RECORDINGS / "results.json").read_text(encoding="utf-8"))
GOOD = sorted(name for name in INDEX if name.startswith("good-"))

# recording -> all that is said of it, in the order of steps: its fault, and what really follows from it
EXPECTED = {
    "reward-flat": ["length-at-limit", "reward-flat"],  # random weights ramble up to the limit
    "groups-equal": ["groups-equal"],
    "length-collapse": ["length-collapse", "entropy-gone", "gradient-explodes"],
    "length-limit": ["length-at-limit", "reward-flat"],  # of answers that all are cut off none is right
    "entropy-gone": ["length-at-limit", "entropy-gone"],
    "kl-explodes": ["reward-flat", "kl-explodes", "length-at-limit"],
    "loss-zero-start": ["loss-zero-start"],
    "lr-ended": ["lr-ended"],
    "gradient-explodes": ["gradient-explodes"],
    "not-finite": ["not-finite"],
    "data-wait": ["data-wait"],
    "gpu-throttled": ["gpu-throttled"],
}


def watch(name: str, rows: list[dict[str, Any]] | None = None) -> Health:
    recording = INDEX[name]
    health = Health(recording["stage"], recording["total_steps"])
    for row in rows if rows is not None else rows_of(RECORDINGS / f"{name}.jsonl"):
        health.observe(row)
    return health


def said(health: Health) -> list[str]:
    return [finding.rule.id for finding in health.findings]


def test_every_recording_is_expected_and_every_fault_is_recorded() -> None:
    assert set(INDEX) == {*EXPECTED, *GOOD}
    assert len(GOOD) == 8  # sft and grpo of four seeds
    recorded = {rule for found in EXPECTED.values() for rule in found}
    by_hand = {"loss-not-finite", "one-reward-flat"}  # below
    of_results = {rule for found in OF_RESULTS.values() for rule in found}
    remarked = {rule for name in GOOD_RESULTS for rule, _ in said_of(name)}
    assert recorded | by_hand | of_results | remarked == {rule.id for rule in rules()}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_fault_is_found(name: str) -> None:
    assert said(watch(name)) == EXPECTED[name]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_run_is_silent(name: str) -> None:
    assert said(watch(name)) == []


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_live_run_hears_it_once_and_in_time(name: str) -> None:
    """What the live view says: each finding once, `rows` rows after it began."""
    health = Health(INDEX[name]["stage"], INDEX[name]["total_steps"])
    heard: dict[str, int] = {}
    for count, row in enumerate(rows_of(RECORDINGS / f"{name}.jsonl"), start=1):
        for finding in health.observe(row):
            assert finding.rule.id not in heard
            heard[finding.rule.id] = count
    assert set(said(health)) <= set(heard)
    for finding in health.findings:
        steps = [row["step"] for row in rows_of(RECORDINGS / f"{name}.jsonl")]
        assert heard[finding.rule.id] == steps.index(int(finding.step)) + finding.rule.rows


def test_a_finding_says_step_value_and_advice() -> None:
    (found,) = watch("lr-ended").findings
    assert found.when == "from step 11 to 21"  # its end, and nine tenths of 24 steps
    assert "its peak was 0.0003" in found.seen
    assert "lr_scheduler_kwargs" in found.rule.advice
    assert found.as_dict()["step"] == 11
    first = watch("length-limit").findings[0]
    assert first.seen.startswith("100 % of the completions")


def test_a_loss_of_null_is_a_nan_and_hidden_by_a_gradient_that_is_one() -> None:
    rows: list[dict[str, Any]] = [{"step": n, "loss": 1.0, "grad_norm": 0.5} for n in range(1, 8)]
    assert said(watch("good-42-sft", rows)) == []
    assert said(watch("good-42-sft", [*rows, {"step": 8, "loss": None}])) == ["loss-not-finite"]
    both = {"step": 9, "loss": "inf", "grad_norm": None}
    assert said(watch("good-42-sft", [*rows, {"step": 8, "loss": None}, both])) == ["not-finite"]


def test_one_reward_that_stays_at_0_is_told_by_name_and_a_penalty_is_not() -> None:
    rows = rows_of(RECORDINGS / "good-1-grpo.jsonl")
    for row in rows:
        row |= {"rewards/tag_count/mean": 0.0, "rewards/repetition_penalty/mean": 0.0}
    found = watch("good-1-grpo", rows).findings
    assert [(f.rule.id, f.metric) for f in found] == [("one-reward-flat", "rewards/tag_count/mean")]
    assert "The reward tag_count was 0" in found[0].seen


def test_what_ended_is_told_as_ended() -> None:
    rows = rows_of(RECORDINGS / "good-2-grpo.jsonl")
    for row in rows[10:20]:
        row["completions/clipped_ratio"] = 0.9
    (found,) = watch("good-2-grpo", rows).findings
    assert (found.rule.id, found.step, found.last_step, found.going_on) == ("length-at-limit", 11, 20, False)


def test_rows_without_the_metric_and_of_another_kind_do_no_harm() -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"step": "x", "loss": "text", "reward": [1]},
        {"step": 3, "eval_loss": 1.0},
        {"reward": True},
    ]
    assert said(watch("good-42-grpo", rows)) == []


# chart -> its rule, the condition's number, and how the caption writes it
WARNED = {
    "equal": ("groups-equal", "above", "a warning above {:.0%}"),
    "clipped": ("length-at-limit", "above", "a warning above {:.0%}"),
    "wait": ("data-wait", "above", "A warning above {:.0%}"),
    "kl": ("kl-explodes", "above", "a warning above {:g}"),
    "entropy": ("entropy-gone", "below", "a warning below {:g}"),
    "grad": ("gradient-explodes", "above", "a warning at {:g} times"),
}


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: str(chart.id))
def test_a_caption_says_where_its_rule_warns_or_that_none_does(chart: Chart) -> None:
    """A curve outside of what its caption calls well, and no warning: both are on one page."""
    caption = " ".join(chart.expected.values())
    if chart.id in WARNED:
        name, side, words = WARNED[chart.id]
        (limit,) = [getattr(rule.conditions[0], side) for rule in rules() if rule.id == name]
        assert words.format(limit).replace("%", " %") in caption
    watched = {c.metric for rule in rules() for c in rule.conditions}
    if chart.id in ("speed", "memory"):
        assert not watched & set(chart.metrics) and "No rule watches it" in caption


def test_every_rule_is_whole() -> None:
    for rule in rules():
        assert rule.source
        assert rule.advice.endswith(".")
        assert rule.expected
        assert set(rule.stages) <= {"sft", "grpo", "eval", "generate"}
        assert set(rule.unless) <= {other.id for other in rules()}


# recorded result -> what is said of it; `tests/runs/recordings/golds.py` has references that nobody can read
OF_RESULTS = {
    "eval-cut-off": ["eval-cut-off"],
    "eval-no-answer": ["eval-no-answer"],
    "eval-not-judged": ["eval-not-judged"],
    "generate-cut-off": ["generate-cut-off"],  # which explains that nothing is right
    "generate-nothing-right": ["generate-cut-off", "generate-nothing-right"],
}
# random weights, which the evaluations of the good pipelines begin with
GOOD_RESULTS = sorted(name for name in RESULTS if "good" in name)


def said_of(name: str) -> list[tuple[str, str]]:
    return [(f.rule.id, f.when) for f in of_result(RESULTS[name]["stage"], RESULTS[name]["result"])]


@pytest.mark.parametrize("name", sorted(OF_RESULTS))
def test_a_fault_of_an_evaluation_or_a_generation_is_found(name: str) -> None:
    assert [rule for rule, _ in said_of(name)] == OF_RESULTS[name]
    assert set(RESULTS) == {*OF_RESULTS, *GOOD_RESULTS}


@pytest.mark.parametrize("name", GOOD_RESULTS)
def test_of_a_good_result_only_the_untrained_model_is_remarked(name: str) -> None:
    said = said_of(name)
    if name == "generate-good":
        assert said == []
        return
    assert said == [("eval-nothing-right", "base, builtin:chain-sum?steps=5")]
    (note,) = of_result("eval", RESULTS[name]["result"])
    assert note.rule.level == "note"


@pytest.mark.parametrize(
    "result",
    [{}, {"scores": None}, {"scores": [1, {}, {"accuracy": "x", "truncated": None}]}, {"verdicts": [3]}],
)
def test_a_result_that_lacks_something_is_no_finding(result: dict[str, Any]) -> None:
    assert of_result("eval", result) == of_result("generate", result) == of_result("sft", result) == []
