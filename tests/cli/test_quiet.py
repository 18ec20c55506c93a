"""One printer: `--quiet` gives results only and `--json` one document, in every command; usage errors too."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from tests.cli.test_parent import COMMANDS
from tests.conftest import TINY, Cli

CLI = Path(__file__).parents[2] / "openr1" / "cli"
GROUPS = {"configs": ["ls", "show", "cp", "explain", "migrate"], "runs": ["ls", "show", "rm"]}
EVERY = [
    *((name,) for name in COMMANDS if name not in GROUPS),
    *((g, c) for g, cs in GROUPS.items() for c in cs),
]


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_every_command_has_json_quiet_and_debug(cli: Cli, command: tuple[str, ...]) -> None:
    shown = cli(*command, "--help", COLUMNS="200").out
    for flag in ("--json", "--quiet", "--debug"):
        assert re.search(rf"^  {flag}\s", shown, re.MULTILINE), flag


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (("hw-profile", "--simulate", "RTX 3060"), ["light"]),
        (
            ("hw-profile", "--simulate", "RTX 3060", "--for", "qwen1.5b-instruct"),
            ["sft: does not fit", "grpo: does not fit"],
        ),
        (("hw-profile", "--simulate", "RTX 3060", "--for", "qwen0.5b-light"), ["sft: fits", "grpo: fits"]),
        (("configs", "explain", "beta"), ["0.0"]),
        (("configs", "explain", "beta", "r1-distill-qwen-1.5b"), ["0.04"]),
        (("configs", "cp", "tiny-cpu", "mine.yaml"), ["mine.yaml"]),
    ],
)
def test_quiet_is_the_answer_alone(cli: Cli, words: tuple[str, ...], lines: list[str]) -> None:
    done = cli(*words, "--quiet")
    assert done.out.splitlines() == lines
    assert done.err == ""


def test_quiet_lists_hold_a_name_on_each_line(cli: Cli) -> None:
    names = cli("configs", "ls", "--quiet").out.split()
    assert "tiny-cpu" in names and set(names) == {e["name"] for e in cli("configs", "ls", "--json").json}
    jobs = cli("bench", "--list", "--quiet", "--models", "Qwen-7B", "--benchmarks", "math_500")
    assert re.fullmatch(r"bench_math_500_\S+Qwen-7B\S*\n", jobs.out)
    table = cli("bench", "--quiet", "--models", "Qwen-7B", "--benchmarks", "math_500").out
    assert "Qwen-7B" in table and "difference: ours minus" not in table and "not run here yet" not in table


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A tiny pipeline that was run quietly."""
    cli = Cli(tmp_path_factory.mktemp("ran"))
    cli.write("tiny.yaml", TINY)
    done = cli("pipeline", "tiny.yaml", "--quiet")
    assert done.err == ""
    assert "accuracy" in done.out and "results:" in done.out and "next:" not in done.out
    return cli


@pytest.mark.slow
def test_quiet_looks_at_a_run(ran: Cli) -> None:
    (name,) = ran("runs", "ls", "--quiet").out.splitlines()
    assert (ran.folder / name / "pipeline.json").is_file()
    assert ran("runs", "show", name, "--quiet").out == "finished\n"
    samples = ran("samples", f"{name}/eval", "-n", "1", "--quiet").out
    assert "verdict" in samples and "shown of" not in samples
    trained = ran("sft", "tiny.yaml", "--output_dir", f"{name}/sft", "--quiet")
    assert "model:" in trained.out and "next:" not in trained.out and trained.err == ""
    checked = ran("grpo", "tiny.yaml", "--check-rewards", "4", "--quiet")
    assert "4 rows looked at" in checked.out and checked.err == ""
    assert ran("runs", "rm", name, "--yes", "--quiet").out.startswith("removed")


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (("--nope",), "No such option: --nope", "openr1 --help"),
        (("runs", "ls", "--nope"), "No such option: --nope", "openr1 runs ls --help"),
        (("samples", "-n", "x"), "--number", "openr1 samples --help"),
        (("bench", "--gpus", "0"), "--gpus", "openr1 bench --help"),
        (("runs", "show"), "RUN", "openr1 runs show --help"),
        (("report", "a", "b", "c"), "(c)", "openr1 report --help"),
        (("configs", "lss"), "Did you mean `ls`?", "openr1 configs --help"),
        (("runs", "lss"), "Did you mean `ls`?", "openr1 runs --help"),
        (("sftt",), "Did you mean `sft`?", "openr1 --help"),
        (("sft", "--node-rank", "-1"), "--node-rank", "openr1 sft --help"),
        (("sft", "tiny-cpu", "--slurm", "--nodes", "x"), "--nodes needs", "--nodes 2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_usage_error_is_a_message_like_any_other(
    cli: Cli, words: tuple[str, ...], what: str, fix: str
) -> None:
    said = cli(*words, code=2)
    assert said.out == "" and "Traceback" not in said.err
    assert said.err.startswith("Error: ") and what in said.err and fix in said.err
    as_json = cli(*words, "--json", code=2)
    assert as_json.err == ""
    error = json.loads(as_json.out)["error"]
    assert (error["kind"], error["code"], error["fix"]) == ("UsageError", 2, fix)
    assert what in error["what"] and error["where"] == "the command line"


@pytest.mark.parametrize("words", [("samples", "nope"), ("runs", "show", "nope"), ("report", "nope")])
def test_a_run_that_is_not_there_points_to_the_list(cli: Cli, words: tuple[str, ...]) -> None:
    assert "openr1 runs ls" in cli(*words, code=2).err


def test_only_the_printer_prints() -> None:
    """Every module of the command line goes through it: `print` and `echo` elsewhere would know no --json."""
    found = []
    for path in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo", "click.echo"):
                found.append((path.name, ast.unparse(node)))
    assert {name for name, _ in found} == {"printer.py", "app.py"}  # app.py: the version
