"""Run folders: named, continued, locked, never overwritten; files whole or not there."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from openr1.config.origins import Origin, Setting
from openr1.config.resolve import Resolved
from openr1.errors import EnvironmentProblem, RecipeError, UsageError
from openr1.runs import manifest, resolved_file
from openr1.runs.files import (
    append_line,
    clean,
    keep_rows,
    mend_tail,
    os_problem,
    read_lines,
    write_json,
    write_whole,
)
from openr1.runs.folder import RunFolder, locate, locked, model_of


def make(path: Path, state: str = "finished", hash_: str = "h") -> RunFolder:
    write_json(path / "manifest.json", manifest.new({"state": state, "hash": hash_}))
    return RunFolder(path)


def test_the_same_name_is_the_same_folder_and_fresh_counts_up(tmp_path: Path) -> None:
    assert locate("r-sft", "abc", root=tmp_path).path == tmp_path / "r-sft-abc"
    make(tmp_path / "r-sft-abc")
    assert locate("r-sft", "abc", root=tmp_path).path == tmp_path / "r-sft-abc"
    assert locate("r-sft", "abc", root=tmp_path, fresh=True).path == tmp_path / "r-sft-abc-2"
    make(tmp_path / "r-sft-abc-2")
    make(tmp_path / "r-sft-abc-10")
    make(tmp_path / "r-sft-abc-notes")
    assert locate("r-sft", "abc", root=tmp_path).path == tmp_path / "r-sft-abc-10"
    assert locate("r-sft", "abc", root=tmp_path, fresh=True).path == tmp_path / "r-sft-abc-11"


def test_a_chosen_folder_is_never_taken_from_another_run(tmp_path: Path) -> None:
    chosen = tmp_path / "mine"
    assert locate("r", "h", output_dir=str(chosen)).path == chosen
    make(chosen)
    assert locate("r", "h", output_dir=str(chosen)).path == chosen
    with pytest.raises(RecipeError, match="another configuration"):
        locate("r", "other", output_dir=str(chosen))
    with pytest.raises(RecipeError, match="--fresh"):
        locate("r", "h", output_dir=str(chosen), fresh=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    with pytest.raises(RecipeError, match="holds no run"):
        locate("r", "h", output_dir=str(tmp_path / "full"))
    (tmp_path / "shared" / "logs" / "node-1").mkdir(parents=True)  # the second node was here first
    assert locate("r", "h", output_dir=str(tmp_path / "shared")).path == tmp_path / "shared"
    (tmp_path / "shared" / "logs" / "attempt-1").mkdir()
    with pytest.raises(RecipeError, match="holds no run"):
        locate("r", "h", output_dir=str(tmp_path / "shared"))


def test_two_commands_in_one_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    with locked(run), pytest.raises(EnvironmentProblem, match="going on already"), locked(run):
        pass
    with locked(run):
        pass


def test_every_attempt_has_a_log_of_its_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert [run.next_attempt().name for _ in range(3)] == ["attempt-1", "attempt-2", "attempt-3"]


def test_a_run_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENR1_RUNS_DIR", str(tmp_path))
    run = make(tmp_path / "r1")
    with pytest.raises(UsageError, match="no final model"):
        model_of("r1")
    write_whole(run.model / "config.json", "{}")
    assert model_of("r1") == model_of(str(run.path)) == str(run.model)
    assert model_of("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"


def test_a_pipeline_offers_its_sections_the_last_one_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENR1_RUNS_DIR", str(tmp_path))
    for age, section in ((20, "sft"), (10, "grpo")):
        run = make(tmp_path / "tiny" / section)
        write_whole(run.model / "config.json", "{}")
        os.utime(run.model, (age, 100 - age))
    for name in ("tiny", str(tmp_path / "tiny")):
        with pytest.raises(UsageError, match="a pipeline") as refused:
            model_of(name)
        offered = str(refused.value.fix).removeprefix("name one of them: ").split(", ")
        assert offered == [str(tmp_path / "tiny" / "grpo"), str(tmp_path / "tiny" / "sft")]
        assert model_of(offered[0]) == f"{offered[0]}/model"


def test_a_manifest_of_a_newer_version_and_a_broken_one(tmp_path: Path) -> None:
    assert manifest.read(tmp_path) is None
    write_json(tmp_path / "manifest.json", {"format": manifest.FORMAT + 1})
    with pytest.raises(EnvironmentProblem, match="newer openr1"):
        manifest.read(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(EnvironmentProblem, match="cannot be read"):
        manifest.read(tmp_path)


def test_json_lines_survive_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for step in range(4):
        append_line(path, {"step": step, "loss": float("nan"), "text": "\ud800 a\u2028b"})
    assert [r["step"] for r in read_lines(path)] == [0, 1, 2, 3]
    assert next(read_lines(path))["loss"] is None
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    assert [r["step"] for r in read_lines(path)] == [0, 1, 2]
    mend_tail(path)
    append_line(path, {"step": 9})
    assert [r["step"] for r in read_lines(path)] == [0, 1, 2, 9]
    keep_rows(path, lambda row: row["step"] < 2)
    assert [r["step"] for r in read_lines(path)] == [0, 1]
    assert clean(float("inf")) == "inf"


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "cannot write"),
        (errno.EROFS, "cannot write"),
        (errno.ENOTDIR, "a file stands"),
        (errno.EIO, "cannot write"),
    ],
)
def test_the_systems_refusals_in_words(number: int, what: str) -> None:
    problem = os_problem(OSError(number, "x"), "/p")
    assert what in problem.what
    assert problem.where == "/p"
    assert problem.code == 5


def test_the_resolved_file_comes_back_as_it_was(tmp_path: Path) -> None:
    values = {
        "learning_rate": 1e-5,
        "text": 'quotes " and \\ and\nnewlines # no comment: {a} \u2028 é 中',
        "none": None,
        "list": ["a", 1, 2.5, True],
        "map": {"a": {"b": [1]}},
        "colon": "a: b",
    }
    origin = Origin("recipe", "r.yaml:1\nsecond line")
    one = Resolved("my recipe", "sft", "sft", {k: Setting(v, origin) for k, v in values.items()})
    path = tmp_path / "resolved.yaml"
    resolved_file.write(path, one, {"machine": "cpu", "models": [{"label": "a"}]})
    found = resolved_file.read(path)
    assert found["values"] == values
    assert found["plan"] == {"machine": "cpu", "models": [{"label": "a"}]}
    assert (found["recipe"], found["stage"], found["hash"]) == ("my recipe", "sft", one.hash)
    assert "# recipe: r.yaml:1 second line" in path.read_text()
    from openr1.config.yaml_file import load, plain

    assert plain(load(path)["values"]) == values  # and it is a YAML file like any other
    json.dumps(found)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/usr/bin/openr1", "sft", "my recipe.yaml", "--fresh", "--json"], "openr1 sft 'my recipe.yaml'"),
        (["/x/openr1/__main__.py", "grpo", "r", "--seed", "1"], "openr1 grpo r --seed 1"),
        (
            ["openr1", "sft", "r", "--hub_token", "hf_secret", "--seed=2"],
            "openr1 sft r --hub_token … --seed=2",
        ),
        (["openr1", "sft", "r", "--hub-token=hf_secret"], "openr1 sft r --hub-token=…"),
        (["openr1", "eval", "t", "--max_new_tokens", "64"], "openr1 eval t --max_new_tokens 64"),
        (["/x/pytest/__main__.py", "tests"], None),
    ],
)
def test_the_command_as_it_can_be_given_again(
    argv: list[str], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", argv)
    found = manifest.command_line()
    assert (found.replace("'…'", "…").replace("'--hub-token=…'", "--hub-token=…") if found else None) == said
