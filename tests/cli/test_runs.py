"""`openr1 runs` and `openr1 report` on runs of the real command: a pipeline, one interrupted, one running."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openr1.runs.folder import RunFolder, locked
from tests.conftest import TINY, Cli, rows_of
from tests.runs.report.test_bad_input import check_harmless


@pytest.fixture(scope="module")
def piped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, Path]:
    """A pipeline stopped in its sft section, seen so, and continued by the command that `ls` says."""
    cli = Cli(tmp_path_factory.mktemp("runs"))
    cli.env.pop("OPENR1_REPORT")
    cli.write("tiny recipe.yaml", TINY)
    words = ("pipeline", "tiny recipe.yaml", "--seed", "3", "--sft.max_steps", "10")
    process = cli.start(*words, "--fresh", "--quiet")
    cli.when(process, "runs/*/sft/metrics.jsonl", '"step": 2', lambda p: p.send_signal(signal.SIGINT))
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    (run,) = (cli.folder / "runs").iterdir()
    assert "interrupted" in (run / "report.html").read_text()  # the page of what there is, and of the section
    assert "interrupted" in (run / "sft" / "report.html").read_text()
    (listed,) = cli("runs", "ls", "--json").json["runs"]
    assert (listed["kind"], listed["state"]) == ("pipeline", "interrupted")
    command = listed["command"]
    assert command == "openr1 pipeline 'tiny recipe.yaml' --seed 3 --sft.max_steps 10"
    assert command in cli("runs", "ls").out.replace("\n", "")
    shown = cli("runs", "show", run.name).out
    assert "continue" in shown
    assert "interrupted, 1 attempt" in shown
    out = subprocess.run(
        command.replace("openr1", f"{sys.executable} -m openr1", 1),
        shell=True,
        cwd=cli.folder,
        env=cli.env,
        capture_output=True,
        text=True,
    )
    assert out.returncode == 0, out.stderr
    assert [p.name for p in (cli.folder / "runs").iterdir()] == [run.name]
    return cli, run


def test_a_finished_pipeline_in_the_list(piped: tuple[Cli, Path]) -> None:
    cli, run = piped
    (listed,) = cli("runs", "ls", "--json").json["runs"]
    assert (listed["state"], listed["command"]) == ("finished", None)
    assert [s["section"] for s in listed["sections"]] == ["sft", "grpo", "eval"]
    scores = json.loads((run / "eval" / "results.json").read_text())["scores"]
    assert listed["best"]["accuracy"] == max(s["accuracy"] for s in scores)
    assert listed["bytes"] == sum(p.lstat().st_size for p in run.rglob("*") if p.is_file())
    out = cli("runs", "ls").out
    assert run.name in out
    assert "unfinished" not in out


def test_show_says_where_it_comes_from_and_where_the_bytes_are(piped: tuple[Cli, Path]) -> None:
    cli, run = piped
    out = cli("runs", "show", run.name[:8]).out  # the beginning of a name is enough
    assert "builtin:tiny-qwen2?layers=1&hidden=64 → sft → grpo → eval" in out
    for words in ("checkpoints", "finished, 2 attempts", "report.html", "95 %"):
        assert words in out
    shown = cli("runs", "show", f"{run.name}/grpo", "--json").json
    assert shown["kind"] == "grpo"
    assert [n["label"] for n in shown["lineage"]][1:] == ["sft", "grpo", "eval"]
    assert shown["manifests"]["grpo"]["total_steps"] == 4


def test_every_run_and_the_pipeline_left_a_page(piped: tuple[Cli, Path]) -> None:
    _, run = piped
    pages = {p.relative_to(run).as_posix(): p.read_text() for p in run.rglob("report.html")}
    assert set(pages) == {"report.html", "sft/report.html", "grpo/report.html", "eval/report.html"}
    for html in pages.values():
        check_harmless(html)
    read = check_harmless(pages["report.html"])
    hrefs = [v for tag, name, v in read.attributes if tag == "a" and name == "href"]
    assert hrefs == ["sft/report.html", "grpo/report.html", "eval/report.html"]
    grpo = check_harmless(pages["grpo/report.html"])
    hrefs = [v for tag, name, v in grpo.attributes if tag == "a" and name == "href"]
    assert hrefs == ["../report.html", "../sft/report.html"]  # written before there was an eval section
    for href in hrefs:
        assert (run / "grpo" / href).is_file()


def test_the_page_tells_the_whole_story(piped: tuple[Cli, Path]) -> None:
    _, run = piped
    read = check_harmless((run / "report.html").read_text())
    pictures = [v for tag, name, v in read.attributes if tag == "svg" and name == "aria-label"]
    drawn = {label.partition(":")[0] for label in pictures}
    assert {"Loss", "Reward", "Rewards, one by one", "Reward spread", "Completion length"} <= drawn
    assert {"Entropy", "Learning rate", "Speed", "Memory, at most", "Cut off at the limit"} <= drawn
    rows = rows_of(run / "sft" / "metrics.jsonl")
    assert any(f"Loss: loss {rows[0]['loss']:.4g} → {rows[-1]['loss']:.4g}" in p for p in pictures)
    text = read.text
    assert "command line: --seed" in text  # where a value came from
    assert "tiny recipe.yaml:6" in text
    assert "plan: " in text
    assert "openr1 pipeline 'tiny recipe.yaml' --seed 3 --sft.max_steps 10" in text
    completions = rows_of(run / "grpo" / "samples" / "completions.jsonl")
    assert completions[0]["prompt"][0]["content"] in text
    assert "At step 1, by reward" in text
    assert "At step 4, by reward" in text
    scores = json.loads((run / "eval" / "results.json").read_text())["scores"]
    for score in scores:
        low, high = score["interval"]
        assert f"[{100 * low:.1f} – {100 * high:.1f}]" in text
    assert "sft → grpo" in text
    graded = rows_of(next((run / "eval" / "samples").glob("grpo-*.jsonl")))
    assert any(row["problem"] in text for row in graded)


def test_the_summary_in_the_terminal_and_as_json(piped: tuple[Cli, Path]) -> None:
    cli, run = piped
    done = cli("report", run.name)
    for words in ("▁", "Reward", "95 %", "compared problem by problem", "report.html"):
        assert words in done.out
    found = cli("report", run, "--json").json
    (side,) = found["runs"]
    assert [s["section"] for s in side["sections"]] == ["sft", "grpo", "eval"]
    assert side["sections"][0]["rows"] == 10
    assert found["report"].endswith("report.html")
    assert cli("report", run.name, "--quiet", "--out", "elsewhere.html").out.strip() == "elsewhere.html"
    assert (cli.folder / "elsewhere.html").is_file()


def test_pairs_on_the_page_are_those_of_the_statistics(piped: tuple[Cli, Path]) -> None:
    from openr1.evaluation.statistics import mcnemar, paired_bootstrap

    cli, run = piped
    pairs = cli("report", run, "--json").json["paired"]
    assert [(p["first"], p["second"]) for p in pairs] == [("base", "sft"), ("sft", "grpo")]
    sides = [rows_of(next((run / "eval" / "samples").glob(f"{name}-*.jsonl"))) for name in ("sft", "grpo")]
    right = [{row["problem"]: row["verdict"] == "right" for row in side} for side in sides]
    problems = list(right[0])
    first, second = ([side[p] for p in problems] for side in right)
    expected = paired_bootstrap([float(x) for x in first], [float(x) for x in second])
    assert pairs[1]["difference"] == pytest.approx(expected.difference)
    assert pairs[1]["p_value"] == mcnemar(first, second)
    assert (pairs[1]["better"], pairs[1]["worse"]) == (expected.better, expected.worse)


def test_two_runs_side_by_side(piped: tuple[Cli, Path]) -> None:
    """The pipeline's grpo section and a copy of it with another learning rate and other rewards."""
    cli, run = piped
    copy = cli.folder / "runs" / "faster"
    shutil.copytree(run / "grpo", copy)
    values = (copy / "resolved.yaml").read_text()
    assert "  learning_rate: 0.0001  #" in values
    (copy / "resolved.yaml").write_text(values.replace("learning_rate: 0.0001", "learning_rate: 0.0003"))
    rows = rows_of(copy / "metrics.jsonl")
    (copy / "metrics.jsonl").write_text(
        "".join(json.dumps(row | {"reward": row["step"] / 4}) + "\n" for row in rows)
    )
    done = cli("report", f"{run.name}/grpo", "faster")
    assert "learning_rate" in done.out
    page = run / "grpo" / "compare-faster.html"
    read = check_harmless(page.read_text())
    assert "0.0001" in read.text
    assert "0.0003" in read.text
    labels = [v for tag, name, v in read.attributes if tag == "svg" and name == "aria-label"]
    assert any(label.startswith("Reward: grpo ") and "; faster 0.25 → 1" in label for label in labels), labels
    found = cli("report", f"{run.name}/grpo", "faster", "--json").json
    changed = {row["key"] for row in found["differences"][0]["values"]}
    assert "learning_rate" in changed
    assert "global_batch_size" not in changed
    cli("runs", "rm", "faster", "--yes")


def test_two_evaluations_are_paired_and_unlike_ones_are_not(piped: tuple[Cli, Path]) -> None:
    """Two evaluations of one model each, cut out of the pipeline's: first sft, second grpo."""
    cli, run = piped
    for name, model in (("first", "sft"), ("second", "grpo"), ("unlike", "grpo"), ("emptied", "grpo")):
        copy = cli.folder / "runs" / name
        shutil.copytree(run / "eval", copy)
        found = json.loads((copy / "manifest.json").read_text())
        found["result"]["scores"] = [s for s in found["result"]["scores"] if s["model"] == model]
        if name == "unlike":
            score = found["result"]["scores"][0]
            score["protocol"], score["conditions"]["temperature"] = "another", 0.123
        (copy / "manifest.json").write_text(json.dumps(found))
    shutil.rmtree(cli.folder / "runs" / "emptied" / "samples")
    inside = cli("report", run, "--json").json["paired"][1]
    (pair,) = cli("report", "first", "second", "--json").json["paired"]
    assert pair["why_not"] is None
    assert pair["problems"] == 20
    assert {k: pair[k] for k in ("difference", "low", "high", "p_value")} == {
        k: inside[k] for k in ("difference", "low", "high", "p_value")
    }
    (pair,) = cli("report", "first", "unlike", "--json").json["paired"]
    assert pair["why_not"].startswith("not asked alike")
    (pair,) = cli("report", "first", "emptied", "--json").json["paired"]
    assert pair["why_not"] == "the graded samples are not there"
    for name in ("first", "second", "unlike", "emptied"):
        cli("runs", "rm", name, "--yes")


def test_reports_that_cannot_be(piped: tuple[Cli, Path]) -> None:
    cli, run = piped
    assert "openr1 runs ls" in cli("report", "nonsense", code=2).err
    assert f"did you mean {run.name}?" in cli("report", f"x{run.name}", code=2).err
    assert "the same run" in cli("report", run.name, run, code=2).err
    (cli.folder / "empty").mkdir()
    assert "holds no run" in cli("report", "empty", code=2).err
    (cli.folder / "file").write_text("")
    assert "where a folder is needed" in cli("report", run.name, "--out", "file/page.html", code=5).err


def test_rm_asks_refuses_and_removes(piped: tuple[Cli, Path]) -> None:
    cli, run = piped
    done = cli("runs", "rm", f"{run.name}/sft", code=2)
    assert "--yes" in done.err
    assert "grpo began with its weights" in done.err
    assert (run / "sft").exists()
    with locked(RunFolder(run / "sft")):
        done = cli("runs", "rm", run.name, "--yes", code=5)
        assert "is going on" in done.err
    assert (run / "sft" / "model").exists()
    (cli.folder / "runs" / "link").symlink_to(run)
    assert "is a link" in cli("runs", "rm", "link", "--yes", code=2).err
    (cli.folder / "runs" / "link").unlink()
    copy = cli.folder / "runs" / "copy"
    shutil.copytree(run, copy)
    removed = cli("runs", "rm", "copy", "--yes", "--json").json
    assert removed["bytes"] > 1_000_000
    assert [p.name for p in (cli.folder / "runs").iterdir()] == [run.name]  # nothing is left of it


def test_a_killed_run_and_an_empty_folder(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    assert "openr1 pipeline tiny-cpu" in cli("runs", "ls").out
    assert cli("runs", "ls", "--json").json["runs"] == []
    cli.write("tiny.yaml", TINY)
    process = cli.start("sft", "tiny.yaml", "--quiet")

    def act(started: subprocess.Popen[str]) -> None:
        assert cli("runs", "ls", "--json").json["runs"][0]["state"] == "running"
        started.kill()

    cli.when(process, "runs/*/manifest.json", '"running"', act)
    process.wait()
    (listed,) = cli("runs", "ls", "--json").json["runs"]
    assert listed["state"] == "killed"
    assert listed["command"] == "openr1 sft tiny.yaml"
