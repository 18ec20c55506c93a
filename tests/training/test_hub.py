"""Uploads: what goes where, on which branch, and what a hub that fails costs. The hub alone is a stand-in."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi

from openr1.config.resolve import NOT_HASHED
from openr1.errors import EnvironmentProblem
from openr1.training.hub import step_revision
from openr1.training.run import train
from tests.training.in_process import child_of, write_rows

ROWS = [{"messages": [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]}] * 8
WORDS = (
    "--max_steps",
    4,
    "--save_steps",
    2,
    "--global_batch_size",
    2,
    "--max_length",
    32,
    "--push_to_hub",
    "true",
)
MODEL_FILES = {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"}


class Hub:
    """Takes the calls of `HfApi` and keeps what it was sent; `refuses` names calls that fail."""

    def __init__(self) -> None:
        self.created: list[tuple[str, bool | None]] = []
        self.branches: dict[str, str | None] = {}
        self.uploads: list[tuple[str | None, str, set[str]]] = []
        self.refuses: set[str] = set()
        self.lock = threading.Lock()

    def _check(self, call: str) -> None:
        if call in self.refuses:
            raise ConnectionError("the line is cut")

    def create_repo(self, api: HfApi, repo: str, *, private: bool | None = None, **kwargs: Any) -> Any:
        self._check("create_repo")
        self.created.append((repo, private))
        return SimpleNamespace(repo_id=f"me/{repo}")

    def create_branch(
        self, api: HfApi, repo: str, *, branch: str, revision: str | None = None, **kw: Any
    ) -> None:
        assert repo == "me/tiny-qwen2-sft"
        self.branches[branch] = revision

    def list_repo_commits(self, api: HfApi, repo: str) -> list[Any]:
        return [SimpleNamespace(commit_id="newest"), SimpleNamespace(commit_id="first")]

    def upload_folder(
        self, api: HfApi, *, folder_path: Any, commit_message: str, revision: str | None = None,
        run_as_future: bool = False, **kwargs: Any,
    ) -> Any:  # fmt: skip
        if run_as_future:  # transformers' own push
            return api.run_as_future(self._take, folder_path, commit_message, revision, "every_save")
        return self._take(folder_path, commit_message, revision, "upload_folder")

    def _take(self, folder: Any, message: str, revision: str | None, call: str) -> None:
        self._check(call)
        files = {str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()}
        with self.lock:
            self.uploads.append((revision, message, files))

    def upload_file(self, api: HfApi, *, path_in_repo: str, commit_message: str, **kwargs: Any) -> None:
        self._check("upload_file")
        self.uploads.append((kwargs["revision"], commit_message, {path_in_repo}))

    def of(self, message: str) -> list[tuple[str | None, set[str]]]:
        return [(revision, files) for revision, said, files in self.uploads if said.startswith(message)]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    for name in ("create_repo", "create_branch", "list_repo_commits", "upload_folder", "upload_file"):
        taken = getattr(hub, name)
        monkeypatch.setattr(HfApi, name, lambda api, *a, taken=taken, **kw: taken(api, *a, **kw))
    return hub


def trained(folder: Path, *words: object) -> tuple[Any, Any]:
    path = write_rows(folder / "rows.jsonl", ROWS)
    child, heard = child_of("sft", folder, "--dataset_name", path, *WORDS, *words)
    child.config["values"]["hub_model_id"] = child.config["values"]["hub_model_id"] or "tiny-qwen2-sft"
    train(child)
    return child, heard


def test_each_checkpoint_is_a_revision_and_the_model_is_on_main(hub: Hub, tmp_path: Path) -> None:
    child, heard = trained(tmp_path, "--save_total_limit", 1)
    assert hub.created[0] == ("tiny-qwen2-sft", True), "private unless said otherwise"
    assert hub.branches == {"main-step-000000002": "first", "main-step-000000004": "first"}
    steps = hub.of("Add ")
    assert [revision for revision, _ in steps] == list(hub.branches)
    for _, files in steps:
        assert files >= MODEL_FILES
        assert not [f for f in files if f.endswith((".pt", ".pth")) or f.startswith("openr1-")]
    (_, card), (revision, model) = hub.of("Model save")
    assert card == {"README.md"} and revision is None and model >= MODEL_FILES
    assert hub.of("Training in progress"), "transformers' own push of every save"
    assert "the model is uploaded: me/tiny-qwen2-sft, revision main" in heard.notices
    assert not (child.run.path / ".hub").exists()


def test_a_branch_of_ones_own_and_no_revisions_when_not_wanted(hub: Hub, tmp_path: Path) -> None:
    trained(
        tmp_path, "--hub_revision", "v01.00", "--hub_step_revisions", "false", "--hub_private_repo", "false"
    )
    assert hub.created[0][1] is False
    assert hub.branches == {"v01.00": None}, "it is made before anything is pushed to it"
    assert {revision for revision, _, _ in hub.uploads} == {"v01.00"}


def test_at_the_end_only(hub: Hub, tmp_path: Path) -> None:
    trained(tmp_path, "--hub_strategy", "end")
    assert hub.branches == {} and {message for _, message, _ in hub.uploads} == {"Model save"}


def test_a_hub_that_fails_costs_neither_the_run_nor_the_model(hub: Hub, tmp_path: Path) -> None:
    hub.refuses = {"upload_folder", "every_save"}
    child, heard = trained(tmp_path)
    assert (child.run.model / "model.safetensors").exists()
    assert "the checkpoint of step 2 was not uploaded: the line is cut" in heard.notices
    assert "a save was not uploaded: the line is cut" in heard.notices
    assert f"later: hf upload me/tiny-qwen2-sft {child.run.model}" in heard.notices


def test_a_hub_that_refuses_at_the_start_is_said_before_the_first_step(hub: Hub, tmp_path: Path) -> None:
    hub.refuses = {"create_repo"}
    with pytest.raises(EnvironmentProblem, match="does not let us push to tiny-qwen2-sft: the line is cut"):
        trained(tmp_path)


def test_names_of_revisions_are_upstream_s() -> None:
    assert step_revision(None, 50) == "main-step-000000050"
    assert step_revision("v01.00", 1200) == "v01.00-step-000001200"
    assert "hub_step_revisions" in NOT_HASHED
