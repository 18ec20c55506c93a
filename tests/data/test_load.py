"""Datasets from files of every kind, folders and built-in tasks, in this process; and those that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openr1.data.broken import broken_row
from openr1.data.load import fingerprint, training_set
from openr1.data.sources import rows_of
from openr1.errors import EnvironmentProblem, RecipeError

ROWS = [{"prompt": f"{i}+1", "completion": str(i + 1), "answer": str(i + 1)} for i in range(5)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / ".cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def values(name: object, **changed: Any) -> dict[str, Any]:
    """What a section resolves to, as far as loading reads it."""
    return {
        "dataset_name": str(name),
        "dataset_config": None,
        "dataset_train_split": "train",
        "dataset_prompt_column": None,
        "dataset_solution_column": None,
        "system_prompt": None,
        "limit": None,
        "seed": 7,
        **changed,
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows in the format that the file's suffix says."""
    from datasets import Dataset

    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        keys = list(rows[0])
        path.write_text("\n".join([",".join(keys), *(",".join(row[k] for k in keys) for row in rows)]) + "\n")
    else:
        Dataset.from_list(rows).to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["d.jsonl", "d.json", "d.csv", "d.parquet"])
def test_every_kind_of_file_gives_the_same_conversations(tmp_path: Path, name: str) -> None:
    dataset, facts = training_set("sft", values(write(tmp_path / name, ROWS)))
    assert (facts["rows"], len(dataset)) == (5, 5)
    assert dataset.column_names == ["prompt", "completion"]
    assert dataset[1]["prompt"] == [{"role": "user", "content": "1+1"}]
    assert dataset[1]["completion"] == [{"role": "assistant", "content": "2"}]
    assert facts["columns"].startswith("prompt → prompt")


def test_grpo_keeps_the_columns_that_rewards_may_read(tmp_path: Path) -> None:
    rows = [{**row, "level": i} for i, row in enumerate(ROWS)]
    dataset, _ = training_set("grpo", values(write(tmp_path / "d.jsonl", rows)))
    assert set(dataset.column_names) == {"prompt", "answer", "level", "solution"}
    assert dataset[2]["solution"] == "3"


def test_a_folder_and_its_splits(tmp_path: Path) -> None:
    write(tmp_path / "d" / "train.jsonl", ROWS)
    assert len(rows_of(str(tmp_path / "d"), None, "train")) == 5
    assert len(rows_of(str(tmp_path / "d"), None, "train[:2]")) == 2
    with pytest.raises(RecipeError, match="no split `test`") as caught:
        rows_of(str(tmp_path / "d"), None, "test")
    assert caught.value.fix == "it has: train"


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_built_in_task(stage: str) -> None:
    name = "builtin:chain-sum?steps=2"
    dataset, facts = training_set(stage, values(name, limit=10, system_prompt="think"))
    assert facts == {**facts, "name": name, "rows": 10, "columns": "built-in"}
    assert dataset[0]["prompt"][0] == {"role": "system", "content": "think"}
    again = training_set(stage, values(name, limit=10, system_prompt="think"))[1]
    assert again["fingerprint"] == facts["fingerprint"]
    other = training_set(stage, values(name, limit=10, system_prompt="think", seed=8))[1]
    assert other["fingerprint"] != facts["fingerprint"]


def test_limit_and_system_prompt(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", ROWS)
    dataset, facts = training_set("sft", values(path, limit=2, system_prompt="think"))
    assert facts["rows"] == 2
    assert [m["role"] for m in dataset[0]["prompt"]] == ["system", "user"]
    assert training_set("sft", values(path, limit=99))[1]["rows"] == 5


def test_the_fingerprint_is_that_of_the_rows(tmp_path: Path) -> None:
    """Not of the file's kind, name or age: a run continues when its data has only moved."""
    loaded = [rows_of(str(write(tmp_path / n, ROWS)), None, "train") for n in ("a.jsonl", "b.parquet")]
    assert fingerprint(loaded[0]) == fingerprint(loaded[1])
    other = rows_of(str(write(tmp_path / "c.jsonl", [*ROWS[:-1], ROWS[0]])), None, "train")
    assert fingerprint(other) != fingerprint(loaded[0])


@pytest.mark.parametrize(
    ("name", "content", "what", "where"),
    [
        ("zero.jsonl", b"", "is empty", "zero.jsonl"),
        ("head.csv", b"prompt,completion\n", "no rows", "head.csv"),
        (
            "oops.jsonl",
            b'{"prompt": "a", "completion": "b"}\n\n{"prompt": oops}\n',
            "not JSON",
            "oops.jsonl:3",
        ),
        (
            "cut.jsonl",
            b'{"prompt": "a", "completion": "b"}\n{"prompt": "a", "comp',
            "not JSON",
            "cut.jsonl:2",
        ),
        ("list.jsonl", b"[1]\n", "must be a JSON object", "list.jsonl:1"),
        ("bytes.jsonl", b"\x89PNG\xff\xfe\n", "not text", "bytes.jsonl:1"),
        ("fake.parquet", b"nope", "cannot be read", "fake.parquet"),
        ("rows.xlsx", b"PK", "not `.xlsx`", "rows.xlsx"),
        ("columns.jsonl", b'{"a": 1}\n', "no columns to fine-tune on", "columns.jsonl"),
        (
            "null.jsonl",
            b'{"prompt":"a","completion":"b"}\n{"prompt":null,"completion":"b"}\n',
            "text",
            "row 2",
        ),
    ],
)
def test_what_is_no_dataset_is_refused_with_its_place(
    tmp_path: Path, name: str, content: bytes, what: str, where: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        training_set("sft", values(tmp_path / name))
    assert what in caught.value.what
    assert str(caught.value.where).endswith(where)


def test_no_rows_in_a_parquet_file(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_dict({"prompt": [], "completion": []}).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(RecipeError, match=r"empty|no rows"):
        training_set("sft", values(tmp_path / "d.parquet"))


def test_a_missing_file_and_a_name_the_hub_is_needed_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RecipeError, match="no such dataset file"):
        rows_of(str(tmp_path / "none.jsonl"), None, "train")
    with pytest.raises(EnvironmentProblem, match="the hub cannot be reached") as caught:
        rows_of("owner/none", None, "train")
    assert "HF_ENDPOINT" in str(caught.value.fix)


def test_a_whole_file_has_no_broken_row(tmp_path: Path) -> None:
    assert broken_row(write(tmp_path / "d.jsonl", ROWS)) is None
    assert broken_row(write(tmp_path / "d.csv", ROWS)) is None
