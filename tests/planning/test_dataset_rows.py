"""A plan for a well-known dataset tells the run's time before anything is fetched."""

from __future__ import annotations

from typing import Any

import pytest

from openr1.planning.dataset_rows import known_rows
from tests.conftest import Cli

TIR = {"dataset_name": "AI-MO/NuminaMath-TIR"}


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        (TIR, 72_441),
        (TIR | {"limit": 1000}, 1000),
        (TIR | {"limit": 100_000}, 72_441),
        (TIR | {"eval_split_size": 441}, 72_000),
        (TIR | {"eval_split_size": 0.5}, 72_441 - 36_220),
        (TIR | {"dataset_train_split": "test"}, None),
        (TIR | {"dataset_config": "other"}, None),
        (TIR | {"datasets": ["x"]}, None),
        ({"dataset_name": "open-r1/OpenR1-Math-220k", "dataset_config": "all"}, 225_129),
        ({"dataset_name": "somebody/else"}, None),
        ({}, None),
    ],
)
def test_rows_of_what_is_known(values: dict[str, Any], rows: int | None) -> None:
    assert known_rows(values) == rows


def test_a_learner_sees_how_long_grpo_takes_on_one_card(cli: Cli) -> None:
    done = cli("grpo", "qwen0.5b-light", "--simulate", "RTX 3060", "--dry-run", "--json").json["plan"]
    time = done["run_time"]
    assert time["low"] < time["seconds"] < time["high"]
    assert time["seconds"] == pytest.approx(time["steps"] * done["step_seconds"]["value"])
