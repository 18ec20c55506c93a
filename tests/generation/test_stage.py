"""A generate section in a recipe: what it samples, who learns from its export, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, rows_of

RECIPE = """\
model_name_or_path: builtin:tiny-qwen2?layers=1&hidden=64
seed: 7

start:
  stage: sft
  dataset_name: builtin:chain-sum?steps=2
  limit: 64
  global_batch_size: 8
  max_steps: 2
  learning_rate: 1.0e-3
  threads: 1

traces:
  stage: generate
  dataset_name: builtin:chain-sum?steps=2
  limit: 12
  num_generations: 2
  temperature: 1.0
  max_new_tokens: 6
  keep: any
  threads: 1

distill:
  stage: sft
  model_name_or_path: builtin:tiny-qwen2?layers=1&hidden=64
  dataset_name: {from: traces}
  global_batch_size: 4
  max_steps: 1
  threads: 1

eval:
  tasks: ["builtin:chain-sum?steps=2"]
  limit: 4
  max_new_tokens: 4
  threads: 1
"""


@pytest.fixture
def recipe(cli: Cli) -> Cli:
    cli.write("full.yaml", RECIPE)
    return cli


def plans(cli: Cli, *words: object) -> dict[str, dict[str, Any]]:
    found = cli("pipeline", "full.yaml", *words, "--dry-run", "--json").json["sections"]
    return {section["section"]: section for section in found}


def test_what_builds_on_what(recipe: Cli) -> None:
    found = plans(recipe)
    value = lambda section, key: found[section]["values"][key]  # noqa: E731
    assert found["traces"]["parents"] == {"start": found["start"]["hash"]}
    assert value("traces", "model_name_or_path")["origin"] == "pipeline: result of section start"
    assert found["distill"]["parents"] == {"traces": found["traces"]["hash"]}
    assert value("distill", "dataset_name")["value"].endswith("/traces/dataset")
    assert value("distill", "dataset_name")["origin"] == "pipeline: export of section traces"
    assert value("distill", "model_name_or_path")["value"].startswith("builtin:")
    assert [m["label"] for m in found["eval"]["plan"]["models"]] == ["base", "start", "distill"]


def test_a_change_of_the_traces_is_another_student(recipe: Cli) -> None:
    before, after = plans(recipe), plans(recipe, "--traces.num_generations", 3)
    assert before["start"]["hash"] == after["start"]["hash"]
    for section in ("traces", "distill", "eval"):
        assert before[section]["hash"] != after[section]["hash"]


def test_alone_it_says_what_is_missing(recipe: Cli) -> None:
    assert "openr1 sft full.yaml" in recipe("generate", "full.yaml", code=2).err
    done = recipe("sft", "full.yaml", "--section", "distill", code=2)
    assert "learns from the traces section, which has not finished" in done.err
    assert "openr1 generate full.yaml" in done.err
    plan = recipe("sft", "full.yaml", "--section", "distill", "--dry-run", "--json").json
    assert any("traces" in notice for notice in plan["notices"])


@pytest.mark.parametrize(
    ("old", "new", "said", "place"),
    [
        ("{from: traces}", "{from: tarces}", "names no generate section before this one", "full.yaml:26"),
        ("{from: traces}", "{form: traces}", "must be a name, or {from: NAME}", "full.yaml:26"),
        (
            "  keep: any\n",
            "  keep: any\n  from: distill\n",
            "names no training section before this one",
            ":21",
        ),
        ("  keep: any\n", "  keep: any\n  from_run: x\n", "a pipeline samples anew", "full.yaml:21"),
        ("  keep: any\n", "  keep: some\n", "`keep` must be one of right, any, not 'some'", "full.yaml:20"),
    ],
)
def test_refused(recipe: Cli, old: str, new: str, said: str, place: str) -> None:
    recipe.write("full.yaml", RECIPE.replace(old, new))
    done = recipe("pipeline", "full.yaml", "--dry-run", "--json", code=3)
    error = json.loads(done.out)["error"]
    assert said in error["what"]
    assert place in error["where"]


@pytest.mark.slow
def test_the_pipeline_runs_and_a_single_command_finds_its_results(recipe: Cli) -> None:
    done = recipe("pipeline", "full.yaml")
    assert "exported (messages)" in done.out and "distill" in done.out
    (run,) = (recipe.folder / "runs").iterdir()
    assert len(rows_of(run / "traces" / "samples.jsonl")) == 12
    manifest = json.loads((run / "distill" / "manifest.json").read_text())
    assert manifest["data"]["rows"] == 24
    assert Path(manifest["data"]["name"]) == run.relative_to(recipe.folder) / "traces" / "dataset"
    scores = json.loads((run / "eval" / "results.json").read_text())["scores"]
    assert [score["model"] for score in scores] == ["base", "start", "distill"]
    again = recipe("pipeline", "full.yaml", "--json").json
    assert all(section["was_finished"] for section in again["sections"])
    plan = recipe("sft", "full.yaml", "--section", "distill", "--dry-run", "--json").json
    assert plan["values"]["dataset_name"]["value"] == f"{run.relative_to(recipe.folder)}/traces/dataset"


@pytest.mark.slow
def test_a_pipeline_whose_traces_are_all_wrong_stops_where_they_are_needed(recipe: Cli) -> None:
    recipe.write("full.yaml", RECIPE.replace("keep: any", "keep: right"))
    done = recipe("pipeline", "full.yaml", code=3)
    assert "the distill section learns from a generate section that has exported nothing" in done.err
