"""A failure is None and counted; said loudly above 5 %; the end above a half."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from openr1.errors import ComponentFailed
from openr1.grading import Verdict
from openr1.rewards import accounting
from openr1.rewards.accounting import Accounts

R, T, E, G = Verdict.right, Verdict.timeout, Verdict.error, Verdict.gold_unparsable


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    accounting.reset()
    yield
    accounting.reset()


def test_quiet_up_to_five_percent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Accounts("accuracy").note([R] * 19 + [T])
    assert not caplog.records


def test_loud_above_five_percent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Accounts("accuracy").note([R] * 18 + [T, E], [""] * 18 + ["too slow", "broken"])
    assert "2 of 20" in caplog.text and "too slow" in caplog.text


@pytest.mark.parametrize("failure", [T, E])
def test_the_run_stops_above_a_half(failure: Verdict) -> None:
    Accounts("accuracy").note([R] * 4 + [failure] * 4)
    with pytest.raises(ComponentFailed, match="5 of 8") as problem:
        Accounts("accuracy").note([R] * 3 + [failure] * 5, [""] * 3 + ["no sandbox"] * 5)
    assert problem.value.code == 7 and "no sandbox" in str(problem.value)


def test_small_batches_are_added_up() -> None:
    accounts = Accounts("accuracy")
    for verdict in (R, R, T):
        accounts.note([verdict])
    accounts.note([R])
    for _ in range(3):
        accounts.note([T])
    with pytest.raises(ComponentFailed):
        accounts.note([R])


def test_one_bad_gold_does_not_end_a_run_but_bad_data_does() -> None:
    accounts = Accounts("accuracy")
    accounts.note([G] * 16)  # all completions of one row
    accounts.note([R] * 16)
    with pytest.raises(ComponentFailed, match="256"):
        for _ in range(20):
            accounts.note([G] * 16)


def test_judged_verdicts_never_stop_anything() -> None:
    accounts = Accounts("accuracy")
    for verdict in (Verdict.wrong, Verdict.truncated, Verdict.no_answer):
        accounts.note([verdict] * 300)
    assert sum(accounts.total.values()) == 900
