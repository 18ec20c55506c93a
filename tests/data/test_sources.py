"""Hub datasets that are on this machine, revisions that are not; splits and configurations."""

from __future__ import annotations

from pathlib import Path

import pytest

from openr1.data.load import load_data, training_set
from openr1.data.sources import local_copy, rows_of
from openr1.errors import EnvironmentProblem, RecipeError
from tests.data.test_load import ROWS, own_cache, values, write  # noqa: F401  (a fixture)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds one revision of owner/name, as `hf download` leaves it; no network."""
    import huggingface_hub.constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repo = cache / "datasets--owner--name"
    blob = repo / "blobs" / "aa"
    write(tmp_path / "rows.jsonl", ROWS)
    blob.parent.mkdir(parents=True)
    blob.write_bytes((tmp_path / "rows.jsonl").read_bytes())
    snapshot = repo / "snapshots" / COMMIT
    (snapshot / "data").mkdir(parents=True)
    for split in ("train", "test"):
        (snapshot / "data" / f"{split}.jsonl").symlink_to(blob)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    return cache


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_downloaded_hub_dataset_is_read_without_a_network(hub_cache: Path, revision: str | None) -> None:
    assert local_copy("owner/name", revision) is not None
    assert len(rows_of("owner/name", None, "train", revision)) == 5
    assert training_set("sft", values("owner/name", dataset_revision=revision))[1]["rows"] == 5


def test_a_revision_that_is_not_here(hub_cache: Path) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        rows_of("owner/name", None, "train", "v2.0")
    error = caught.value
    assert "revision v2.0 of the dataset owner/name is not on this machine" in error.what
    assert COMMIT in error.what  # what is here
    assert "hf download owner/name --repo-type dataset --revision v2.0" in str(error.fix)
    assert str(hub_cache / "datasets--owner--name") in str(error.fix)


def test_a_prepared_copy_of_another_revision_does_not_stand_in(hub_cache: Path) -> None:
    """Offline, the library takes the newest prepared copy and forgets which revision was asked for."""
    import datasets

    prepared = Path(datasets.config.HF_DATASETS_CACHE) / "owner___name" / "default" / "0.0.0" / COMMIT
    prepared.mkdir(parents=True)
    with pytest.raises(EnvironmentProblem, match=r"revision v2\.0"):
        rows_of("owner/name", None, "train", "v2.0")


def test_a_split_that_does_not_exist(hub_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no split `dev`") as caught:
        rows_of("owner/name", None, "dev[:3]")
    assert set(str(caught.value.fix).removeprefix("it has: ").split(", ")) == {"train", "test"}
    file = write(tmp_path / "d.jsonl", ROWS)
    with pytest.raises(RecipeError, match="one file has one split"):
        training_set("sft", values(file, dataset_train_split="test"))
    assert training_set("sft", values(file, dataset_train_split="train[:2]"))[1]["rows"] == 2


def test_a_configuration_that_does_not_exist(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write(folder / "a.jsonl", ROWS)
    configs = "".join(f"- config_name: {name}\n  data_files: a.jsonl\n" for name in ("one", "two"))
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    assert len(rows_of(str(folder), "two", "train")) == 5
    for config in ("three", None):
        with pytest.raises(RecipeError, match="no such configuration") as caught:
            rows_of(str(folder), config, "train")
        assert caught.value.fix == "set dataset_config to one of: one, two"


def test_a_folder_without_data_and_one_with_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match="the folder holds no data files") as caught:
        rows_of(str(tmp_path / "empty"), None, "train")
    assert ".jsonl" in str(caught.value.fix)
    folder = tmp_path / "d"
    write(folder / "train.jsonl", ROWS)
    (folder / "train-2.jsonl").write_text(
        '{"prompt": "a", "completion": "b", "answer": "c"}\n{"prompt": oops}\n'
    )
    with pytest.raises(RecipeError, match="not JSON") as caught:
        rows_of(str(folder), None, "train")
    assert caught.value.where == f"{folder / 'train-2.jsonl'}:2"


def test_rows_held_out_of_the_training_split(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", [{"prompt": f"{i}", "completion": "x"} for i in range(20)])
    section = values(file, eval_strategy="steps", eval_split_size=0.25)
    train, held, facts = load_data("sft", section)
    assert held is not None
    asked = [[row["prompt"][0]["content"] for row in d] for d in (train, held)]
    assert sorted(asked[0] + asked[1], key=int) == [str(i) for i in range(20)]
    assert asked[0] == sorted(asked[0], key=int)  # the training rows keep their order
    assert (facts["rows"], facts["eval"]["rows"]) == (15, 5)
    again = load_data("sft", section)[2]
    assert again["eval"]["fingerprint"] == facts["eval"]["fingerprint"]
    limited = load_data("sft", {**section, "eval_split_size": 3, "limit": 4})[2]
    assert (limited["rows"], limited["eval"]["rows"]) == (4, 3)
    with pytest.raises(RecipeError, match="none is left to train on"):
        load_data("sft", {**section, "eval_split_size": 20})


def test_the_evaluation_split_and_what_to_do_without_one(hub_cache: Path, tmp_path: Path) -> None:
    section = values("owner/name", eval_strategy="steps", dataset_test_split="test", eval_limit=2)
    assert load_data("sft", section)[2]["eval"]["rows"] == 2
    assert load_data("sft", {**section, "eval_strategy": "no"})[1] is None
    assert load_data("sft", {**section, "eval_strategy": "no", "do_eval": True})[1] is not None
    with pytest.raises(
        RecipeError, match="evaluates while it trains, and the dataset has no split"
    ) as caught:
        load_data("sft", {**section, "dataset_test_split": "dev"})
    assert "eval_split_size: 100" in str(caught.value.fix)
    file = write(tmp_path / "d.jsonl", ROWS)
    with pytest.raises(RecipeError, match="evaluates while it trains, and one file has one split"):
        load_data("sft", {**section, "dataset_name": str(file)})


def test_streaming_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", ROWS)
    with pytest.raises(RecipeError, match="not streamed"):
        training_set("sft", values(file, streaming=True))
