"""Which rows go together: every live row once, within the budget, in step on all ranks, at the least cost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from openr1.training.micro_batches import LIVE, make_parts
from openr1.training.updates import Rules, rules_of


def table(ranks: int, rows: int, seed: int, idle: float = 0.5) -> np.ndarray:
    """(ranks, rows, 4) of random rows."""
    rng = np.random.default_rng(seed)
    prompts = rng.integers(1, 20, (ranks, rows))
    completions = np.clip(rng.lognormal(3, 0.8, (ranks, rows)), 1, 100).astype(np.int64)
    live = (rng.random((ranks, rows)) >= idle).astype(np.int64)
    return np.stack([prompts, completions, completions, live], axis=2)


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_whole_within_budget_and_in_step(seed: int) -> None:
    ranks, rows, budget = 3, 24, 150
    everyone = table(ranks, rows, seed)
    plans = [make_parts(everyone, rank, budget=budget, part_cost=10) for rank in range(ranks)]
    assert len({tuple(len(part.rows) for part in plan) for plan in plans}) == 1
    assert len({tuple(part.scored for part in plan) for plan in plans}) == 1
    most = max(1, everyone[:, :, LIVE].sum(axis=1).max())
    for rank, plan in enumerate(plans):
        chosen = np.concatenate([part.rows for part in plan])
        assert len(chosen) == len(set(chosen)) == most
        assert set(np.flatnonzero(everyone[rank, :, LIVE])) <= set(chosen)
        for part in plan:
            own = everyone[rank, part.rows]
            assert (part.prompt, part.completion) == (own[:, 0].max(), own[:, 1].max())
            assert len(part.rows) == 1 or len(part.rows) * (part.prompt + part.completion) <= budget


def test_fillers_are_the_shortest_and_one_row_is_left_where_nothing_is_live() -> None:
    everyone = table(2, 8, 0, idle=0.0)
    everyone[1, :, LIVE] = 0
    everyone[0, 5:, LIVE] = 0
    filled = np.concatenate([p.rows for p in make_parts(everyone, 1, budget=10**6, part_cost=1)])
    total = everyone[1, :, :2].sum(axis=1)
    assert sorted(total[filled]) == sorted(total)[:5]
    everyone[:, :, LIVE] = 0
    assert [len(p.rows) for p in make_parts(everyone, 0, budget=10**6, part_cost=1)] == [1]
    assert sum(len(p.rows) for p in make_parts(everyone, 0, budget=10**6, part_cost=1, skip=False)) == 8


@pytest.mark.parametrize("seed", range(5))
def test_no_other_cuts_of_the_sorted_rows_cost_less(seed: int) -> None:
    everyone, cost = table(1, 9, seed, idle=0.0), 30
    parts = make_parts(everyone, 0, budget=10**6, part_cost=cost)
    order = np.concatenate([part.rows for part in parts])
    rows = everyone[0, order]

    def price(cuts: tuple[int, ...]) -> int:
        groups = itertools.pairwise((0, *cuts, 9))
        return sum(cost + (b - a) * (rows[a:b, 0].max() + rows[a:b, 1].max()) for a, b in groups)

    every = [cuts for n in range(9) for cuts in itertools.combinations(range(1, 9), n)]
    assert sum(part.padded + cost for part in parts) == min(map(price, every))


def test_a_fixed_number_of_rows() -> None:
    parts = make_parts(table(1, 10, 0, idle=0.0), 0, budget=0, part_cost=0, largest=4)
    assert [len(part.rows) for part in parts] == [4, 4, 2]


def test_the_rules_of_a_section() -> None:
    values = {
        "trim_micro_batches": True, "micro_batch_by": "tokens", "micro_batch_tokens": None,
        "skip_idle_rows": True,
        "max_prompt_length": None, "max_completion_length": 64, "max_length": 128,
    }  # fmt: skip
    assert rules_of("grpo", values, 8) == Rules(trim=True, skip=True, budget=8 * (512 + 64))
    assert rules_of("sft", values, 8) == Rules(trim=True, skip=False, budget=8 * 128)
    assert rules_of("grpo", values | {"micro_batch_tokens": 99}, 8) == Rules(True, True, 99)
    assert rules_of("grpo", values | {"micro_batch_by": "rows", "skip_idle_rows": False}, 8) == Rules(
        True, False, None
    )
    off = {"trim_micro_batches": False, "micro_batch_by": "rows"}
    assert rules_of("sft", values | off, 8) is None  # TRL's own way, untouched
    assert rules_of("grpo", values | off, 8) == Rules(trim=False, skip=True, budget=None)
