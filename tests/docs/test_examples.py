"""The four worked examples of docs/extending.md, taken from the page and run as they stand there."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from openr1.errors import RecipeError
from openr1.evaluation.task_file import task_from
from tests.conftest import Cli, Done, only_run, rows_of
from tests.docs.pages import ROOT, files_and_commands, section

PAGE = "docs/extending.md"


def follow(cli: Cli, title: str) -> list[Done]:
    """Write the section's files and give its commands, each of which must end well."""
    files, commands = files_and_commands(section(PAGE, title))
    assert commands
    for name, text in files.items():
        cli.write(name, text)
    return [cli(*shlex.split(command)[1:]) for command in commands]


def result(run: Path) -> dict[str, Any]:
    found = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert found["state"] == "finished"
    return dict(found["result"])


def test_a_reward_of_one_s_own_is_checked_and_trains(cli: Cli) -> None:
    checked, _ = follow(cli, "A reward")
    assert "brevity" in checked.out
    rows = rows_of(only_run(cli, "short-answers-grpo-*") / "metrics.jsonl")
    paid = [row["rewards/brevity/mean"] for row in rows if "rewards/brevity/mean" in row]
    assert paid and all(0 <= value <= 1 for value in paid) and any(paid)


def test_a_task_of_one_s_own_is_asked_and_graded(cli: Cli) -> None:
    follow(cli, "A task")
    (score,) = result(only_run(cli, "eval-*"))["scores"]
    assert (score["task"], score["problems"], score["unjudged"]) == ("sums", 2, 0)
    (file,) = (only_run(cli, "eval-*") / "samples").glob("*sums.jsonl")
    assert [row["gold"] for row in rows_of(file)] == ["5", "42"]


@pytest.mark.slow
def test_a_recipe_of_one_s_own_runs_as_a_pipeline(cli: Cli) -> None:
    planned, done = follow(cli, "A recipe")
    assert "my-loop.yaml:" in planned.out and "would run" in planned.out
    run = only_run(cli, "my-loop-*")
    assert [s["model"] for s in result(run / "eval")["scores"]] == ["base", "sft", "grpo"]
    assert f"results: {run.relative_to(cli.folder)}" in done.out


def test_a_backend_of_one_s_own_answers_and_is_graded(cli: Cli) -> None:
    follow(cli, "A sampling backend")
    (score,) = result(only_run(cli, "eval-*"))["scores"]
    assert score["accuracy"] == 1.0 and score["problems"] == 500
    assert (score["backend"], score["fingerprint"]) == ("calculator.py:Calculator", "calculator-1")


def test_the_four_places_are_named_where_contributors_look() -> None:
    for page in ("CONTRIBUTING.md", "AGENTS.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for place in ("docs/extending.md", "registry.py", "tasks.py", "configs/", "sampling/backend.py"):
            assert place in text, (page, place)
            if place.endswith(".md"):
                assert (ROOT / place).is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sums = Tasc('x')\n", "has no task `sums`"),
        ("sums = Task('x', 'd.jsonl', colums=('a', 'b'))\n", "has no `colums`"),
        ("sums = Task('x', 'd' + '.jsonl')\n", "a value is computed"),
        ("sums = Task('x', 'd.jsonl', kind='essay')\n", "kind must be one of"),
        ("sums = Task('x', 'd.jsonl', columns='question')\n", "columns are two names"),
        ("sums = Task('x', 3)\n", "hub must be text"),
        ("sums = Task(\n", "is no Python"),
        (
            "import os; os.remove(__file__)\nsums = Task('x', 'd.jsonl', rows=open('f'))\n",
            "a value is computed",
        ),
    ],
)
def test_a_task_file_that_cannot_be_meant_is_refused_and_never_run(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "t.py"
    file.write_text(text)
    with pytest.raises(RecipeError, match=words) as caught:
        task_from(f"{file}:sums")
    assert file.exists() and caught.value.fix and str(file) in str(caught.value.where)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("eval none.py:sums", 3, "task file none.py does not exist"),
        (
            "eval builtin:chain-sum --backend vlm",
            3,
            "must be one of auto, vllm, server, transformers, or file.py:CLASS",
        ),
        ("eval builtin:chain-sum --backend none.py:B --limit 2", 3, "backend file none.py does not exist"),
        ("eval builtin:chain-sum --backend bad.py:B --limit 2", 3, "has no backend B"),
    ],
)
def test_what_cannot_be_plugged_in_is_one_message(cli: Cli, words: str, code: int, said: str) -> None:
    cli.write("bad.py", "class C: ...\n")
    done = cli(*words.split(), "--model", "builtin:tiny-qwen2?layers=1&hidden=64", code=code)
    assert said in done.err and "Traceback" not in done.err
