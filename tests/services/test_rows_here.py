"""Rows of a local file, counted before the start: a run's time, and whether it is rehearsed, hang on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openr1.services import lineage
from openr1.services.lineage import rows_here
from tests.conftest import Cli

ROW = json.dumps({"problem": "What is 1+1?", "solution": "2"}) + "\n"


def test_rows_of_a_file_of_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "d.jsonl"
    for text, rows in ((ROW * 1000, 1000), ((ROW * 3).rstrip(), 3), ("", 0)):
        file.write_text(text)
        assert rows_here({"dataset_name": str(file)}) == rows
    file.write_text(ROW * 100_000)
    assert rows_here({"dataset_name": str(file), "limit": 80}) == 80
    monkeypatch.setattr(lineage, "MOST_COUNTED_BYTES", 1 << 20)
    assert rows_here({"dataset_name": str(file)}) == pytest.approx(100_000, rel=1e-3)
    for other in (tmp_path, tmp_path / "d.parquet", "org/name", None):
        assert rows_here({"dataset_name": other and str(other)}) is None
    assert rows_here({"dataset_name": str(file), "datasets": [{"name": "x"}]}) is None


def test_a_long_run_on_local_rows_is_known_to_be_long(cli: Cli) -> None:
    cli.write("d.jsonl", ROW * 20_000)
    words = ("grpo", "--model", "Qwen/Qwen2.5-1.5B", "--dataset", "d.jsonl", "--reward_funcs", "accuracy")
    words = (*words, "--num_generations", 8, "--global_batch_size", 64, "--num_train_epochs", 1)
    time = cli(*words, "--simulate", "8xH100", "--dry-run", "--json").json["plan"]["run_time"]
    assert time["steps"] == 20_000 * 8 // 64
    assert time["seconds"] > 15 * 60
