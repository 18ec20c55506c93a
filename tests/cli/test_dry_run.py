"""A dry run of every command: readable, complete as JSON, and without a trace. See also test_parent.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli

MODEL = "builtin:tiny-qwen2?layers=1&hidden=64"
ROWS = '{"prompt": "1+1", "completion": "2", "answer": "2"}\n'

# command, its words, the module that would run, what it would write
STAGES = [
    ("sft", ["tiny.yaml"], "openr1.training", "checkpoints/, model/"),
    ("grpo", ["tiny.yaml", "--model", MODEL], "openr1.training", "samples/, checkpoints/, model/"),
    ("eval", ["gsm8k", "--model", MODEL, "--dataset", "rows.jsonl"], "openr1.evaluation", "results.json"),
    ("generate", ["--model", MODEL, "--dataset", "rows.jsonl"], "openr1.generation", "samples.jsonl"),
]
IDS = [stage[0] for stage in STAGES]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))
    }


@pytest.fixture
def stocked(cli: Cli, tiny: str) -> Cli:
    cli.write("rows.jsonl", ROWS)
    return cli


@pytest.mark.parametrize(("command", "words", "module", "written"), STAGES, ids=IDS)
def test_the_page(stocked: Cli, command: str, words: list[str], module: str, written: str) -> None:
    before = contents(stocked.folder)
    done = stocked(command, *words, "--dry-run")
    assert contents(stocked.folder) == before
    assert "run folder  runs/" in done.out
    assert "where it comes from" in done.out
    assert re.search(r"\d+ more values at their defaults: --all-values", done.out)
    assert f"-m {module} " in " ".join(done.out.split())
    assert written in " ".join(done.out.split("would write")[1].split())
    assert "Traceback" not in done.err


def test_simulated_nodes_are_on_the_machine_s_line(cli: Cli) -> None:
    words = ("sft", "openr1-distill-7b", "--simulate", "2x8xH100", "--dry-run")
    assert "8 × H100, 64 cores, on each of 2 nodes\n" in cli(*words).out
    assert "8 × H100，64 核，2 个节点各如此\n" in cli(*words, OPENR1_LANG="zh").out


def test_defaults_are_shown_where_they_are_asked_for(stocked: Cli) -> None:
    """`--all-values` is a dry run of its own; without it a default shows nowhere, set values always."""
    before = contents(stocked.folder)
    short, whole = (
        stocked("sft", "tiny.yaml", "--dry-run").out,
        stocked("sft", "tiny.yaml", "--all-values").out,
    )
    assert contents(stocked.folder) == before
    assert "learning_rate" in short and "adam_beta1" not in short
    assert "adam_beta1=0.9 " in whole and "more values" not in whole
    count = re.search(r"(\d+) more values", short), re.search(r"(\d+) values at their defaults", whole)
    assert count[0] and count[1] and count[0][1] == count[1][1]
    assert "adam_beta1" in stocked("sft", "tiny.yaml", "--dry-run", "--json").json["values"]


@pytest.mark.parametrize(("command", "words", "module", "written"), STAGES, ids=IDS)
def test_as_json(stocked: Cli, command: str, words: list[str], module: str, written: str) -> None:
    before = contents(stocked.folder)
    done = stocked(command, *words, "--dry-run", "--json")
    assert contents(stocked.folder) == before
    assert done.err == ""
    plan = done.json  # nothing but one JSON document on stdout
    assert plan["stage"] == command
    assert plan["state"] is None
    assert plan["command"]["argv"][1:] == ["-m", module, plan["run"]]
    assert all(set(entry) == {"value", "origin"} and entry["origin"] for entry in plan["values"].values())


def test_a_pipeline_shows_every_section_in_order(stocked: Cli) -> None:
    before = contents(stocked.folder)
    page = stocked("pipeline", "tiny.yaml", "--dry-run").out
    plan = stocked("pipeline", "tiny.yaml", "--dry-run", "--json").json
    assert contents(stocked.folder) == before
    assert [section["stage"] for section in plan["sections"]] == ["sft", "grpo", "eval"]
    assert [section["run"] for section in plan["sections"]] == [
        f"{plan['run']}/{name}" for name in ("sft", "grpo", "eval")
    ]
    places = [page.index(f"tiny · {name} ({name})") for name in ("sft", "grpo", "eval")]
    assert places == sorted(places)
    grpo = plan["sections"][1]["values"]["model_name_or_path"]
    assert grpo == {"value": f"{plan['run']}/sft/model", "origin": "pipeline: result of section sft"}


@pytest.mark.parametrize(("command", "words", "module", "written"), STAGES, ids=IDS)
def test_environment_over_recipe_and_flag_over_environment(
    stocked: Cli, command: str, words: list[str], module: str, written: str
) -> None:
    def seed(*more: object, **env: str) -> Any:
        return stocked(command, *words, *more, "--dry-run", "--json", **env).json["values"]["seed"]

    below = {"sft": 7, "grpo": 7}.get(command, 42)
    assert seed()["value"] == below
    assert seed(OPENR1_SEED="5") == {"value": 5, "origin": "environment: OPENR1_SEED"}
    assert seed("--seed", 6, OPENR1_SEED="5") == {"value": 6, "origin": "command line: --seed"}


def test_a_variable_that_names_no_key_is_said_and_not_used(stocked: Cli) -> None:
    done = stocked("sft", "tiny.yaml", "--dry-run", OPENR1_LERNING_RATE="1")
    assert "OPENR1_LEARNING_RATE" in done.err


def test_a_mistyped_flag_does_not_start_anything(stocked: Cli) -> None:
    """`--dry-rn` would be an override of a key that is none; it is told from one."""
    done = stocked("sft", "tiny.yaml", "--dry-rn", code=2)
    assert "did you mean `--dry-run`?" in done.err
    assert not (stocked.folder / "runs").exists()


def test_a_recipes_evaluation_is_planned_before_its_models_are_there(cli: Cli, tiny: str) -> None:
    done = cli("eval", tiny, "--dry-run")
    assert "not trained yet: sft, grpo; planned with the model that the recipe starts from" in " ".join(
        (done.out + done.err).split()
    )
    plan = cli("eval", tiny, "--dry-run", "--json").json["plan"]
    assert plan["to_come"] == ["sft", "grpo"]
    assert [model["label"] for model in plan["models"]] == ["base", "sft", "grpo"]
    job = cli("eval", tiny, "--slurm", "--simulate", "cpu", "--dry-run", code=2)
    assert "section sft of this recipe is not trained yet" in job.err
