"""What is counted as lost is what TRL loses: every packing and truncation, on rows of random lengths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from openr1.data.lengths import bars, histogram, lengths_report, words
from openr1.data.show import MASKED, pieces, shown_rows


@pytest.mark.parametrize("packing", ["bfd", "bfd_split", "wrapped"])
@settings(max_examples=20, deadline=None)
@given(lengths=some.lists(some.integers(1, 40), min_size=1, max_size=12), limit=some.integers(2, 30))
def test_packing_loses_what_is_said(packing: str, lengths: list[int], limit: int) -> None:
    import datasets
    from trl.data_utils import pack_dataset

    datasets.disable_progress_bars()
    ids = [[i] * n for i, n in enumerate(lengths)]
    packed = pack_dataset(datasets.Dataset.from_dict({"input_ids": ids}), limit, packing)
    kept = sum(map(len, packed["input_ids"]))
    report = lengths_report(lengths, max_length=limit, packing=packing)
    assert report["lost_tokens"] == sum(lengths) - kept
    assert report["lost"] == pytest.approx(1 - kept / sum(lengths))
    if packing != "bfd":
        assert report["lost_tokens"] == 0
        assert report["split_rows"] == sum(n > limit for n in lengths)


def test_cutting_without_packing() -> None:
    report = lengths_report([10, 30, 50], max_length=20, packing=None, unlearnt=[2])
    assert report["cut_rows"] == 1
    assert report["dropped_rows"] == 1
    assert report["lost_tokens"] == 10 + 50
    assert report["lost"] == pytest.approx(60 / 90)
    assert report["longest"] == {"row": 3, "tokens": 50}
    said = " ".join(words(report))
    assert "66.7 % of the tokens are lost" in said
    assert "1 row is longer than max_length 20 and cut there" in said
    assert "1 row is dropped" in said


def test_nothing_lost_says_nothing_of_it() -> None:
    said = words(lengths_report([10, 30, 50], max_length=None, packing=None))
    assert len(said) == 2
    assert "3 rows, 90 tokens; a row has 30 (median)" in said[0]
    split = words(lengths_report([10, 50], max_length=20, packing="bfd_split"))
    assert "1 row is longer than max_length 20: split" in split[-1]
    assert "no token is lost" in split[-1]


@given(some.lists(some.integers(0, 5000), min_size=1))
def test_every_row_is_in_one_bin(lengths: list[int]) -> None:
    bins = histogram(lengths)
    if max(lengths):
        assert sum(b["rows"] for b in bins) == sum(n > 0 for n in lengths)
        assert bins[-1]["up_to"] >= max(lengths) > bins[-1]["up_to"] // 2 or bins[-1]["up_to"] == 64


def test_a_histogram_in_one_line() -> None:
    assert histogram([100, 120, 400]) == [
        {"up_to": 128, "rows": 2},
        {"up_to": 256, "rows": 0},
        {"up_to": 512, "rows": 1},
    ]
    assert bars(histogram([100, 120, 400])) == "≤128 █ 67 %  ≤256 ▁ 0 %  ≤512 ▅ 33 %"
    assert histogram([]) == []


def test_pieces_are_the_row() -> None:
    ids, labels = [1, 2, 3, 4, 5], [MASKED, MASKED, 3, 4, MASKED]
    found: list[dict[str, Any]] = pieces(ids, labels, lambda tokens: "".join(map(str, tokens)))
    assert found == [
        {"text": "12", "learnt": False, "tokens": 2},
        {"text": "34", "learnt": True, "tokens": 2},
        {"text": "5", "learnt": False, "tokens": 1},
    ]


@pytest.mark.parametrize(
    ("total", "count", "rows"),
    [(10, 3, [0, 3, 6]), (2, 3, [0, 1]), (0, 3, []), (5, 0, []), (3, 3, [0, 1, 2])],
)
def test_shown_rows_are_spread(total: int, count: int, rows: list[int]) -> None:
    assert shown_rows(total, count) == rows
