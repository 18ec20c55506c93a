"""The batch equation is solved for every legal input, and explained for the others."""

from __future__ import annotations

from typing import Any

import pytest

from openr1.errors import RecipeError
from openr1.planning import batch
from openr1.planning.batch import Split
from openr1.planning.plan import Asked


def asked(**values: Any) -> Asked:
    return Asked(values, set(values))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("share", [1, 2, 6, 16, 112])
def test_every_split_keeps_the_global_batch(ranks: int, share: int) -> None:
    found = batch.splits(asked(), ranks, ranks * share)
    assert all(s.global_batch == ranks * share for s in found)
    assert found[0].per_device == share and found[-1].per_device == 1


def test_explicit_values_are_kept() -> None:
    (only,) = batch.splits(asked(per_device_train_batch_size=4), 2, 64)
    assert only == Split(4, 8, 2)
    (only,) = batch.splits(asked(gradient_accumulation_steps=4), 2, 64)
    assert only == Split(8, 4, 2)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"global_batch_size": 128}, 128),
        ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}, 112),
        ({"per_device_train_batch_size": 2}, 14),
        ({"gradient_accumulation_steps": 4}, 224),
        ({}, 56),
    ],
)
def test_the_global_batch_of_a_recipe(values: dict[str, int], expected: int) -> None:
    assert batch.global_batch(asked(**values), 7).value == expected


def test_a_share_that_does_not_divide_shows_the_equation_and_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        batch.splits(asked(per_device_train_batch_size=5), 2, 64)
    assert "64 / 2 = 32" in caught.value.what
    assert "--per_device_train_batch_size" in str(caught.value.fix) and "4" in str(caught.value.fix)


def test_ranks_that_do_not_divide() -> None:
    with pytest.raises(RecipeError, match="128 cannot be split evenly over 7 ranks") as caught:
        batch.splits(asked(), 7, 128)
    assert "126 or 133" in str(caught.value.fix)


def test_a_contradiction_between_three_values() -> None:
    with pytest.raises(RecipeError, match="16 = 2 per device x 4 accumulated x 2 ranks") as caught:
        batch.splits(asked(per_device_train_batch_size=2, gradient_accumulation_steps=4), 2, 64)
    assert "--global_batch_size 16" in str(caught.value.fix)


def test_groups_must_be_whole() -> None:
    splits = batch.splits(asked(), 8, 128)
    with pytest.raises(RecipeError, match="whole groups of 14") as caught:
        batch.whole_groups(asked(), splits, 14)
    assert "112" in str(caught.value.fix) and "--num_generations" in str(caught.value.fix)
    assert batch.whole_groups(asked(), splits, 16) == splits


def test_one_generation_is_no_group() -> None:
    with pytest.raises(RecipeError, match="must be 2 or more"):
        batch.whole_groups(asked(), [Split(1, 1, 1)], 1)


def test_generation_keys_follow_trl() -> None:
    split = Split(4, 4, 2)
    assert batch.generation_steps(asked(), split) == (4, 32)
    assert batch.generation_steps(asked(generation_batch_size=64), split) == (8, 64)
    with pytest.raises(RecipeError, match="twice"):
        batch.generation_steps(asked(generation_batch_size=64, steps_per_generation=8), split)
    with pytest.raises(RecipeError, match="multiple"):
        batch.generation_steps(asked(generation_batch_size=60), split)


@pytest.mark.parametrize("value", [0, -8, 2.5, "many"])
def test_a_global_batch_that_is_no_count(value: object) -> None:
    with pytest.raises(RecipeError, match="whole number"):
        batch.global_batch(asked(global_batch_size=value), 1)


def test_evaluation_holds_whole_groups() -> None:
    assert batch.eval_batch(Split(2, 8, 1), 8, True).value == 8
    assert batch.eval_batch(Split(2, 8, 4), 8, True).value == 2
    assert batch.eval_batch(Split(2, 8, 1), 8, False).value == 2
