"""Mixtures: what they take of each dataset, as open-r1 and TRL do, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openr1.data.load import load_data, training_set
from openr1.data.mixture import mixture_of, rows_taken
from openr1.data.sources import rows_of
from openr1.errors import RecipeError
from tests.data.test_load import own_cache, values, write  # noqa: F401  (a fixture)

A = [{"prompt": f"a{i}", "completion": "x"} for i in range(10)]
B = [{"problem": f"b{i}", "solution": "y", "uuid": str(i)} for i in range(20)]


def mix(*datasets: Any, **more: Any) -> dict[str, Any]:
    return {"dataset_mixture": {"datasets": list(datasets), **more}}


def prompts(dataset: Any) -> list[str]:
    return [row["prompt"][-1]["content"] for row in dataset]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "a.jsonl", A), write(tmp_path / "b.jsonl", B)


def mixed(*datasets: Any, **changed: Any) -> dict[str, Any]:
    return values("", **{"dataset_name": None, **mix(*datasets), **changed})


def test_weights_are_shares_of_each_dataset(files: tuple[Path, Path]) -> None:
    a, b = map(str, files)
    dataset, facts = training_set("sft", mixed({"id": a, "weight": 0.55}, {"id": b, "weight": 0.25}))
    assert [(p["rows"], p["of"]) for p in facts["parts"]] == [(5, 10), (5, 20)]
    assert sum(p.startswith("a") for p in prompts(dataset)) == 5
    assert dataset.column_names == ["prompt", "completion"]


def test_the_rows_are_those_that_upstream_takes(files: tuple[Path, Path]) -> None:
    """open-r1: each dataset shuffled by the seed and cut, all joined, shuffled by the seed, then split."""
    from datasets import concatenate_datasets

    a, b = map(str, files)
    upstream = []
    for path, weight in ((a, 0.5), (b, 0.25)):
        raw = rows_of(path, None, "train")
        name = "prompt" if path == a else "problem"
        raw = raw.select_columns([name]).rename_column(name, "text")
        upstream.append(raw.shuffle(seed=3).select(range(int(len(raw) * weight))))
    whole = concatenate_datasets(upstream).shuffle(seed=3).train_test_split(test_size=0.2, seed=3)
    section = mixed({"id": a, "weight": 0.5}, {"id": b, "weight": 0.25}, eval_strategy="steps", do_eval=False)
    section["dataset_mixture"] |= {"seed": 3, "test_split_size": 0.2}
    train, held, facts = load_data("sft", section)
    assert held is not None
    assert prompts(train) == list(whole["train"]["text"])
    assert prompts(held) == list(whole["test"]["text"])
    assert facts["eval"]["rows"] == 2


def test_no_weight_takes_all_and_null_keeps_the_order(files: tuple[Path, Path]) -> None:
    a, b = map(str, files)
    assert training_set("sft", mixed(a, b))[1]["rows"] == 30
    assert training_set("sft", mixed(a, {"id": b, "weight": None}))[1]["rows"] == 30
    assert training_set("sft", mixed(a, b, limit=7))[1]["rows"] == 7


def test_fractions_are_shares_of_the_mixture(files: tuple[Path, Path]) -> None:
    """TRL's `datasets`: the largest mixture in which no dataset gives more rows than it has."""
    from trl import DatasetMixtureConfig
    from trl.scripts.utils import get_dataset

    a, b = map(str, files)
    entries = [
        {"path": "json", "data_files": a, "split": "train", "columns": ["prompt"], "fraction": 1},
        {"path": "json", "data_files": a, "split": "train", "columns": ["prompt"], "fraction": 3},
    ]
    theirs = get_dataset(DatasetMixtureConfig(datasets=entries))["train"]
    mixture = mixture_of({"datasets": [{"path": a, "fraction": 1}, {"path": a, "fraction": 3}]})
    assert mixture is not None
    assert sum(rows_taken([10, 10], mixture)) == len(theirs)
    section = values("", dataset_name=None, datasets=[{"path": a, "fraction": 1}, {"path": b, "fraction": 1}])
    dataset, facts = training_set("sft", section)
    assert [p["rows"] for p in facts["parts"]] == [10, 10]
    assert prompts(dataset)[:3] == ["a0", "a1", "a2"]  # TRL shuffles nothing


def test_grpo_drops_the_columns_that_were_mapped(files: tuple[Path, Path], tmp_path: Path) -> None:
    c = write(tmp_path / "c.jsonl", [{"question": "c", "answer": "1"}] * 3)
    d = write(tmp_path / "d.jsonl", [{"problem": "d", "solution": "2"}] * 3)
    dataset, _ = training_set("grpo", mixed(str(c), str(d)))
    assert set(dataset.column_names) == {"prompt", "solution"}


def test_columns_that_differ(files: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = map(str, files)
    c = str(write(tmp_path / "c.jsonl", [{"text": "x"}]))
    with pytest.raises(RecipeError) as caught:
        training_set("sft", mixed(a, c))
    assert caught.value.what == f"the columns of the mixture differ: {a} has prompt, completion; {c} has text"
    assert "columns" in str(caught.value.fix)
    d = str(write(tmp_path / "d.jsonl", [{"prompt": "d", "solution": "2", "level": "1"}]))
    with pytest.raises(RecipeError, match="the columns of the mixture differ"):
        training_set("grpo", mixed(b, d))
    two = ({"id": b, "columns": ["problem", "solution"]}, {"id": d, "columns": ["prompt", "solution"]})
    with pytest.raises(RecipeError, match="the columns of the mixture differ") as caught:
        training_set("grpo", mixed(*two))
    assert caught.value.where == "dataset_mixture.datasets[2].columns"


def test_a_column_of_two_kinds(tmp_path: Path) -> None:
    rows = {"prompt": "d", "solution": "2"}
    c = str(write(tmp_path / "c.jsonl", [{**rows, "level": 1}] * 3))
    d = str(write(tmp_path / "d.jsonl", [{**rows, "level": "hard"}] * 3))
    with pytest.raises(RecipeError) as caught:
        training_set("grpo", mixed(c, d))
    assert caught.value.what == f"column `level` is int64 in {c} and string in {d}"
    assert "leave this one out" in str(caught.value.fix)
    empty = str(write(tmp_path / "e.jsonl", [{**rows, "level": None}] * 3))
    assert len(training_set("grpo", mixed(c, empty))[0]) == 6


def test_columns_that_are_not_there_and_rows_that_are_broken(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    a, _ = map(str, files)
    with pytest.raises(RecipeError, match="no column nope") as caught:
        training_set("sft", mixed({"id": a, "columns": ["prompt", "nope"]}))
    assert "prompt, completion" in str(caught.value.fix)
    bad = [{"prompt": "x", "completion": "y"}] * 5 + [{"prompt": None, "completion": "y"}]
    c = str(write(tmp_path / "c.jsonl", bad))
    with pytest.raises(RecipeError) as caught:
        training_set("sft", mixed(a, c))
    assert caught.value.where == f"{c}, row 6"  # in the file, not in the shuffled rows


NONSENSE = [
    (mix({"id": "a", "weight": -1}), "dataset_mixture.datasets[1].weight", "at most 1"),
    (mix({"id": "a", "weight": 0}), "datasets[1].weight", "above 0"),
    (mix({"id": "a"}, {"id": "b", "weight": 1.5}), "datasets[2].weight", "at most 1"),
    (mix({"id": "a", "weight": float("nan")}), "weight", "here is nan"),
    (mix({"id": "a", "weight": "half"}), "weight", "here is 'half'"),
    (mix({"id": "a", "weight": True}), "weight", "here is True"),
    (mix({"id": "a", "fraction": 0.5}), "datasets[1]", "`fraction` belongs to `datasets`"),
    (mix({"weight": 1}), "datasets[1]", "no id"),
    (mix({"id": "a", "wieght": 1}), "datasets[1]", "unknown key `wieght`"),
    (mix(7), "datasets[1]", "is a map"),
    (mix(), "dataset_mixture.datasets", "needs a list"),
    (mix("a", sed=1), "dataset_mixture", "unknown key `sed`"),
    (mix("a", seed=-1), "dataset_mixture.seed", "whole number"),
    (mix("a", test_split_size=0), "test_split_size", "here is 0"),
    (mix("a", test_split_size=1.5), "test_split_size", "here is 1.5"),
    (mix({"id": "a", "columns": "prompt"}), "columns", "list of names"),
    ({**mix("a"), "dataset_name": "b"}, "dataset_name", "both name what to train on"),
    ({"datasets": [{"path": "a", "fraction": 0}, {"path": "b", "fraction": 0}]}, "datasets", "sum to 0"),
    ({"datasets": [{"path": "a", "fraction": -1}, {"path": "b", "fraction": 2}]}, "fraction", "0 or more"),
    ({"datasets": [{"path": "a", "fraction": 1}, {"path": "b"}]}, "datasets", "others none"),
    ({"datasets": [{"path": "a", "weight": 1}]}, "datasets[1]", "`weight` belongs to `dataset_mixture`"),
]


@pytest.mark.parametrize(("section", "where", "what"), NONSENSE)
def test_nonsense(section: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(RecipeError) as caught:
        mixture_of(section)
    assert where in str(caught.value.where)
    assert what in caught.value.what


def test_a_weight_that_leaves_nothing() -> None:
    mixture = mixture_of(mix({"id": "a", "weight": 0.01}))
    assert mixture is not None
    with pytest.raises(RecipeError, match="leaves none of the 10 rows"):
        rows_taken([10], mixture)


def test_both_spellings_of_an_entry() -> None:
    mixture = mixture_of(
        mix({"id": "o/n", "config": "c", "split": "s"}, {"path": "o/n", "name": "c"}, {"name": "o/n"})
    )
    assert mixture is not None
    assert [(p.name, p.config, p.split) for p in mixture.parts] == [
        ("o/n", "c", "s"),
        ("o/n", "c", "train"),
        ("o/n", None, "train"),
    ]
    assert mixture_of({"dataset_name": "x"}) is None
