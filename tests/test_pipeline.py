"""All sections in order, the table at the end, and the same command again."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from openr1.cli.pipeline import command
from openr1.services.pipeline import prepare
from tests.conftest import TINY, Cli, rows_of


@pytest.fixture(scope="module")
def piped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, Path]:
    """A pipeline stopped with Ctrl-C in its grpo section and continued to the end."""
    cli = Cli(tmp_path_factory.mktemp("pipeline"))
    cli.write("tiny.yaml", TINY)
    process = cli.start("pipeline", "tiny.yaml")
    press = lambda p: p.send_signal(signal.SIGINT)  # noqa: E731
    cli.when(process, "runs/tiny-*/grpo/logs/*/rank-0.log", "", press)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    done = cli("pipeline", "tiny.yaml")
    assert "grpo" in done.out
    assert "95 %" in done.out
    (run,) = (cli.folder / "runs").iterdir()
    return cli, run


def test_sections_lie_side_by_side_and_build_on_each_other(piped: tuple[Cli, Path]) -> None:
    _, run = piped
    assert sorted(p.name for p in run.iterdir()) == ["eval", "grpo", "pipeline.json", "sft"]
    manifests = {
        name: json.loads((run / name / "manifest.json").read_text()) for name in ("sft", "grpo", "eval")
    }
    assert all(m["state"] == "finished" for m in manifests.values())
    assert manifests["grpo"]["parents"] == {"sft": manifests["sft"]["hash"]}
    assert set(manifests["eval"]["parents"]) == {"sft", "grpo"}
    assert manifests["grpo"]["model"].endswith("sft/model")
    assert len(manifests["sft"]["attempts"]) == 1  # what had finished was not done again


def test_before_and_after_stand_side_by_side(piped: tuple[Cli, Path]) -> None:
    _, run = piped
    scores = json.loads((run / "eval" / "results.json").read_text())["scores"]
    assert [s["model"] for s in scores] == ["base", "sft", "grpo"]
    for score in scores:
        assert score["problems"] == 20
        low, high = score["interval"]
        assert 0 <= low <= score["accuracy"] <= high <= 1
        assert score["protocol"] == "quick-v1 temperature=1 max_new_tokens=16"
        assert sum(score["verdicts"].values()) == 20
    rows = rows_of(next((run / "eval" / "samples").glob("grpo-*.jsonl")))
    assert {"problem", "gold", "text", "verdict", "extracted", "tokens", "finish_reason"} <= set(rows[0])


def test_a_finished_pipeline_is_shown_and_nothing_is_started(piped: tuple[Cli, Path]) -> None:
    cli, run = piped
    logs = sorted(run.rglob("attempt-*"))
    done = cli("pipeline", "tiny.yaml", "--json")
    assert [s["was_finished"] for s in done.json["sections"]] == [True, True, True]
    assert sorted(run.rglob("attempt-*")) == logs


def test_on_another_machine_a_pipeline_keeps_the_protocol_of_its_start(piped: tuple[Cli, Path]) -> None:
    cli, run = piped
    words = ("pipeline", "tiny.yaml", "--simulate", "8xH100", "--dry-run", "--json")
    found = cli(*words).json
    (evaluation,) = (s for s in found["sections"] if s["stage"] == "eval")
    assert found["run"] == f"runs/{run.name}"
    assert evaluation["values"]["protocol"]["value"] == "quick"
    assert evaluation["values"]["protocol"]["origin"].startswith("profile: what cpu can finish")
    begun_there = cli(*words, "--seed", 8).json["sections"][-1]
    assert begun_there["values"]["protocol"]["value"] == "open-r1"


def test_a_later_section_alone_finds_the_pipelines_result(piped: tuple[Cli, Path]) -> None:
    cli, _ = piped
    plan = cli("grpo", "tiny.yaml", "--dry-run", "--json").json
    found = plan["values"]["model_name_or_path"]
    assert found["value"].endswith("sft/model")
    assert found["origin"] == "pipeline: result of section sft"


def test_an_override_reaches_its_section_only(piped: tuple[Cli, Path]) -> None:
    cli, run = piped
    plan = cli("pipeline", "tiny.yaml", "--grpo.learning_rate", "5e-5", "--dry-run", "--json").json
    rates = {s["section"]: s["values"].get("learning_rate", {}).get("value") for s in plan["sections"]}
    assert rates == {"sft": 1e-3, "grpo": 5e-5, "eval": None}
    assert plan["run"] != f"runs/{run.name}"


def test_a_plain_override_of_grpo_leaves_its_finished_sft_alone(piped: tuple[Cli, Path]) -> None:
    cli, _ = piped
    plan = cli("grpo", "tiny.yaml", "--learning_rate", "3e-4", "--dry-run", "--json").json
    assert plan["values"]["model_name_or_path"]["value"].endswith("sft/model")
    assert not any("not trained" in notice for notice in plan["notices"])


def test_the_start_of_the_chain_is_the_first_sections(piped: tuple[Cli, Path]) -> None:
    cli, _ = piped
    words = (
        "pipeline",
        "tiny.yaml",
        "--model",
        "builtin:tiny-qwen2?layers=2&hidden=64",
        "--dry-run",
        "--json",
    )
    sft, grpo, _ = cli(*words).json["sections"]
    assert sft["values"]["model_name_or_path"]["value"] == "builtin:tiny-qwen2?layers=2&hidden=64"
    assert grpo["values"]["model_name_or_path"]["value"].endswith("sft/model")
    assert set(grpo["parents"]) == {"sft"}


def test_a_sections_own_override_wins_in_any_order(piped: tuple[Cli, Path]) -> None:
    cli, _ = piped
    for words in (("--sft.max_steps", 20, "--max_steps", 2), ("--max_steps", 2, "--sft.max_steps", 20)):
        sections = cli("pipeline", "tiny.yaml", *words, "--dry-run", "--json").json["sections"]
        assert [s["values"]["max_steps"]["value"] for s in sections[:2]] == [20, 2]


def test_a_run_name_is_not_taken_from_another_configuration(piped: tuple[Cli, Path]) -> None:
    cli, run = piped
    name = f"{run.name}/sft"
    assert cli("sft", "tiny.yaml", "--run_name", name).out.startswith("finished earlier")
    done = cli("sft", "tiny.yaml", "--run_name", name, "--learning_rate", "1e-5", code=3)
    assert "another configuration" in done.err


def test_a_number_of_gpus_that_one_section_cannot_take_is_told_with_that_section(cli: Cli) -> None:
    """112 completions can be split over 7 cards, the 128 rows of the sft section cannot."""
    words = ("pipeline", "qwen1.5b-instruct", "--simulate", "8xH100", "--dry-run")
    said = " ".join(cli(*words, "--gpus", 7, code=3).err.split())
    assert "128 cannot be split evenly over 7 ranks" in said
    assert "the sft section; --gpus 7 holds for every training section" in said
    assert "leave --gpus out" in said and "--gpus 4" in said
    assert cli(*words, "--gpus", 4, "--json").json["sections"][0]["plan"]["processes"] == 4


@pytest.mark.parametrize(("given", "rehearse"), [((), None), (("--no-rehearse",), False)])
def test_long_sections_can_start_without_their_rehearsal(
    monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], rehearse: bool | None
) -> None:
    """The way out that a rehearsal's no names must be there."""
    seen: list[Any] = []
    monkeypatch.setattr("openr1.cli.pipeline_view.run_pipeline", lambda asked, **_: seen.append(asked))
    app = typer.Typer()
    app.command(context_settings={"ignore_unknown_options": True})(command)
    done = CliRunner().invoke(app, ["tiny-cpu", *given])
    assert done.exit_code == 0, done.output
    (asked,) = seen
    prepared = prepare(replace(asked, dry_run=True)).sections[0]
    assert asked.rehearse is prepared.rehearse is rehearse
