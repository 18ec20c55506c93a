"""Two evaluations: compared by problem, or refused with the reason."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from openr1.errors import RecipeError, UsageError
from openr1.evaluation.compare import compare, compare_scores, results_of
from openr1.evaluation.protocol import conditions_of
from openr1.evaluation.tasks import TASKS


def score(scores: dict[str, float], samples: int = 1, **values: Any) -> dict[str, Any]:
    asked = conditions_of(TASKS["math_500"], {"protocol": "quick", "num_samples": samples, **values})
    return {
        "task": "math_500",
        "model": "m",
        "protocol": asked.id(),
        "conditions": asked.as_dict(asked.max_new_tokens),
        "samples": samples,
        "problems": len(scores),
        "accuracy": sum(scores.values()) / len(scores),
        "problem_scores": scores,
    }


def half(seed: int, chance: float = 0.5, count: int = 60) -> dict[str, float]:
    dice = random.Random(seed)
    return {f"p{i}": float(dice.random() < chance) for i in range(count)}


def test_the_same_twice_is_no_difference() -> None:
    found = compare_scores(score(half(1)), score(half(1)))
    assert (found.difference, found.p_value, found.exact_p) == (0, 1, 1)
    assert found.verdict.startswith("not distinguishable")


def test_noise_is_not_distinguished_and_a_gain_is() -> None:
    assert compare_scores(score(half(1)), score(half(2))).verdict.startswith("not distinguishable")
    better = {name: max(value, float(int(name[1:]) % 3 == 0)) for name, value in half(1).items()}
    found = compare_scores(score(half(1)), score(better))
    assert found.verdict.startswith("the second is better")
    assert found.worse == 0 and found.better == round(60 * (found.difference or 0))
    assert found.interval and found.interval[0] > 0
    assert compare_scores(score(better), score(half(1))).verdict.startswith("the second is worse")


def test_problems_are_matched_by_what_they_are() -> None:
    first, second = half(1), {f"p{i}": v for i, v in enumerate(half(3, count=90).values(), start=30)}
    found = compare_scores(score(first), score(second))
    assert found.problems == 30


def test_more_answers_are_no_other_protocol_but_anything_else_is() -> None:
    ours = score(half(1))
    assert not compare_scores(ours, score(half(2), samples=4)).reasons
    assert compare_scores(ours, score(half(2), samples=4)).exact_p is None
    refused = compare_scores(ours, score(half(2), temperature=1.0, system_prompt="be brief"))
    assert refused.reasons == ["another system prompt", "temperature 0.6 instead of 1"]
    assert refused.difference is None
    assert refused.verdict == f"not compared: {'; '.join(refused.reasons)}"
    bare = score(half(2), protocol="open-r1-2025-02")
    assert "another prompt" in compare_scores(ours, bare).reasons
    old = score(half(2)) | {"protocol": "quick-v0", "conditions": None}
    assert compare_scores(ours, old).reasons == ["protocol quick-v1 and quick-v0"]


def test_nothing_to_compare(tmp_path: Path) -> None:
    few = {f"x{i}": 1.0 for i in range(60)}
    assert compare_scores(score(half(1)), score(few)).reasons == ["only 0 problems are in both"]
    with pytest.raises(UsageError, match="no task in common"):
        compare([score(half(1))], [score(half(1)) | {"task": "gsm8k"}])
    with pytest.raises(UsageError, match="holds no scores"):
        results_of(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(RecipeError, match="cannot be read"):
        results_of(tmp_path)
