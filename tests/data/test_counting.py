"""Rows counted before anything is loaded: a run's time, and whether it is rehearsed, hang on them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from openr1.data import counting
from openr1.data.counting import BYTES_PER_TOKEN, Counted, counted
from tests.conftest import Cli

ROW = json.dumps({"problem": "What is 1+1?", "solution": "2"}) + "\n"
TIR = {"dataset_name": "AI-MO/NuminaMath-TIR"}


def rows(values: dict[str, Any]) -> int | None:
    found = counted(values)
    return found.rows if found else None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (TIR, 72_441),
        (TIR | {"limit": 1000}, 1000),
        (TIR | {"limit": 100_000}, 72_441),
        (TIR | {"eval_split_size": 441}, 72_000),
        (TIR | {"eval_split_size": 0.5}, 72_441 - 36_220),
        (TIR | {"dataset_train_split": "test"}, None),
        (TIR | {"dataset_config": "other"}, None),
        ({"dataset_name": "open-r1/OpenR1-Math-220k", "dataset_config": "all"}, 225_129),
        ({"dataset_name": "somebody/else"}, None),
        ({}, None),
    ],
)
def test_rows_of_the_hub(values: dict[str, Any], expected: int | None) -> None:
    assert rows(values) == expected
    assert (counted(values) or Counted(0)).text_bytes is None


def test_rows_of_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "d.jsonl"
    for text, expected in ((ROW * 1000, 1000), ((ROW * 3).rstrip(), 3), ("", 0)):
        file.write_text(text)
        assert counted({"dataset_name": str(file)}) == Counted(expected, len(text))
    file.write_text(ROW * 100_000)
    assert rows({"dataset_name": str(file), "limit": 80}) == 80
    assert rows({"dataset_name": str(file), "eval_split_size": 0.1}) == 90_000
    assert rows({"dataset_name": str(file), "dataset_train_split": "train[:100]"}) is None
    monkeypatch.setattr(counting, "MOST_COUNTED_BYTES", 1 << 20)
    assert rows({"dataset_name": str(file)}) == pytest.approx(100_000, rel=1e-3)


@pytest.mark.parametrize("kind", ["json", "csv", "parquet", "arrow", "folder"])
def test_rows_of_other_files_are_those_that_load(kind: str, tmp_path: Path) -> None:
    """Cells of several lines, of more than 128 KiB, and quotes within."""
    from datasets import Dataset, load_dataset

    cells = [f"{n}{text}" for n in range(4) for text in ("one", 'two\nlines, and "quotes"', "x" * 200_000)]
    data = Dataset.from_dict({"text": cells})
    path = tmp_path / f"d.{kind}"
    if kind == "json":
        path.write_text(json.dumps([{"text": cell} for cell in cells]))
    elif kind == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["text"], *([cell] for cell in cells)])
    elif kind == "parquet":
        data.to_parquet(path)
    elif kind == "arrow":
        data.save_to_disk(tmp_path / "saved")
        (path,) = (tmp_path / "saved").glob("*.arrow")
    else:
        path.mkdir()
        data.to_parquet(path / "train-00000-of-00002.parquet")
        data.select(range(5)).to_parquet(path / "train-00001-of-00002.parquet")
        data.select(range(2)).to_parquet(path / "test-00000-of-00001.parquet")
    found = counted({"dataset_name": str(path)})
    assert found is not None
    assert found.rows == (17 if kind == "folder" else 12)
    if kind == "folder":
        assert load_dataset(str(path), split="train").num_rows == 17
    assert found.text_bytes == pytest.approx(sum(map(len, cells)) * found.rows / 12, rel=0.5)


def test_a_broken_file_is_left_to_the_loading(tmp_path: Path) -> None:
    for name, text in (("d.json", "[{"), ("d.parquet", "no"), ("d.arrow", "no"), ("d.txt", "text")):
        file = tmp_path / name
        file.write_text(text)
        assert counted({"dataset_name": str(file)}) is None
    (tmp_path / "empty").mkdir()
    assert counted({"dataset_name": str(tmp_path / "empty")}) is None


def test_rows_of_a_mixture(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text(ROW * 1000)
    here, there = {"id": str(file), "weight": 0.5}, {"id": TIR["dataset_name"], "weight": 0.1}
    assert rows({"dataset_mixture": {"datasets": [here, there]}}) == 500 + 7_244
    assert rows({"dataset_mixture": {"datasets": [here], "test_split_size": 0.1}}) == 450
    assert rows({"dataset_mixture": {"datasets": [here, {"id": "somebody/else"}]}}) is None
    assert rows({"dataset_mixture": {"datasets": [{"id": str(file), "weight": 0.0001}]}}) is None


def test_packed_rows_are_as_many_as_the_text_fills() -> None:
    text = 1000 * 64 * BYTES_PER_TOKEN
    assert Counted(1000, text).packed(1024, "bfd") == 63
    assert Counted(50, text).packed(1024, "bfd") == 50  # what is longer is cut
    assert Counted(50, text).packed(1024, "bfd_split") == 63  # or becomes several rows
    assert Counted(1000, text).packed(None, "bfd") is None
    assert Counted(1000).packed(1024, "bfd") is None


@pytest.mark.parametrize(("packing", "steps"), [(False, 20_000 // 64), (True, None)])
def test_steps_of_a_run_on_a_local_file(cli: Cli, packing: bool, steps: int | None) -> None:
    cli.write("d.jsonl", ROW * 20_000)
    words = ("sft", "--model", "Qwen/Qwen2.5-1.5B", "--dataset", "d.jsonl", "--max_length", 1024)
    words = (*words, "--global_batch_size", 64, "--num_train_epochs", 1, "--packing", packing)
    plan = cli(*words, "--simulate", "8xH100", "--dry-run", "--json").json["plan"]
    packed = -(-len(ROW) * 20_000 // BYTES_PER_TOKEN // 1024)
    assert plan["run_time"]["steps"] == pytest.approx(steps or packed / 64, abs=1)


def test_a_long_run_on_local_rows_is_known_to_be_long(cli: Cli) -> None:
    cli.write("d.jsonl", ROW * 20_000)
    words = ("grpo", "--model", "Qwen/Qwen2.5-1.5B", "--dataset", "d.jsonl", "--reward_funcs", "accuracy")
    words = (*words, "--num_generations", 8, "--global_batch_size", 64, "--num_train_epochs", 1)
    time = cli(*words, "--simulate", "8xH100", "--dry-run", "--json").json["plan"]["run_time"]
    assert time["steps"] == 20_000 * 8 // 64
    assert time["seconds"] > 15 * 60


def test_a_learner_sees_how_long_grpo_takes_on_one_card(cli: Cli) -> None:
    done = cli("grpo", "qwen0.5b-light", "--simulate", "RTX 3060", "--dry-run", "--json").json["plan"]
    time = done["run_time"]
    assert time["low"] < time["seconds"] < time["high"]
    assert time["seconds"] == pytest.approx(time["steps"] * done["step_seconds"]["value"])
