"""More bad input, as a program sees it: the exit code and `{"error": …}` with what, where and what to do.

What a person sees, and the cases of the disk and of a second command, are in test_messages.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Cli

MODEL = ("--model", "builtin:tiny-qwen2?layers=1&hidden=64")

# words of the command, exit code, what the message holds, what its place holds, what it advises
# fmt: off
REFUSED: list[tuple[tuple[str, ...], int, str, str, str]] = [
    # recipes that are none, for the commands that test_messages.py does not try them with
    (("eval", "none.yaml"), 3, "no such file", "none.yaml", "check the path"),
    (("eval", "empty.yaml"), 3, "is empty", "empty.yaml", "key: value"),
    (("generate", "binary.yaml"), 3, "not a text file", "binary.yaml", "name a .yaml file"),
    (("generate", "list.yaml"), 3, "holds a list", "list.yaml:1", "dashes"),
    (("grpo", "folder"), 3, "directory", "folder", "name a .yaml file"),
    (("eval", "--config", "folder"), 3, "directory", "folder", "name a .yaml file"),
    # keys and values
    (("eval", "eval.yaml"), 3, "`temperatur`", "eval.yaml:3", "`temperature`"),
    (("eval", "task.yaml"), 2, "unknown task `mat_500`", "task.yaml:2", "did you mean math_500"),
    (("generate", "generate.yaml"), 3, "`num_generation`", "generate.yaml:2", "`num_generations`"),
    (("sft", "tiny.yaml", "--learning_rate", "-1"), 3, "0 or more, not -1", "--learning_rate", ""),
    (("sft", "tiny.yaml", "--max_length", "1"), 3, "2 or more, not 1", "--max_length", ""),
    (("sft", "tiny.yaml", "--max_steps", "0"), 3, "1 or more, or -1", "--max_steps", ""),
    (("pipeline", "tiny.yaml", "--grpo.temperature", "-2"), 3, "above 0", "--temperature", ""),
    (("sft", "tiny.yaml", "--learning_rate"), 3, "must be a number, not true", "--learning_rate", ""),
    (("sft", "tiny.yaml", "--seed", "1", "--seed", "2"), 2, "given twice: 1 and 2", "command line", "keep"),
    (("generate", *MODEL, "--num_generations", "0"), 3, "must be 1 or more, not 0", "--num_generations", ""),
    # options that are none
    (("sft", "tiny.yaml", "--sectoin", "sft"), 2, "`--sectoin`", "command line", "`--section`"),
    (("pipeline", "tiny.yaml", "--section", "sft"), 2, "no `--section`", "command line", "leave it out"),
    (("sft", "-x"), 2, "`-x`", "command line", "--key value"),
    (("eval", "gsm8k", "--temprature", "1"), 3, "`--temprature`", "command line", "`temperature`"),
    # words that are no task
    (("eval", "folder", *MODEL), 2, "is a folder, not a task", "command line", "--model folder"),
    (("eval", "zero.jsonl", *MODEL), 2, "is a file, not a task", "command line", "--dataset zero.jsonl"),
    (("eval", "gsm8k", "tiny.yaml"), 2, "not both", "command line", "openr1 eval tiny.yaml"),
    (("eval", "gsm8k", "--config", "tiny.yaml"), 2, "two recipes", "", "one of them"),
    (("eval", "builtin:chain-sum?steps=x", *MODEL), 3, "whole number", "command line", ""),
    (("eval", "tiny.yaml"), 2, "not trained yet", "tiny.yaml", "openr1 pipeline tiny.yaml"),
    (("grpo", "tiny.yaml"), 2, "not trained yet", "tiny.yaml", "openr1 sft tiny.yaml"),
    # models and data
    (("sft", "tiny.yaml", "--model", "no such model"), 3, "no model", "--model_name_or_path", "hub id"),
    (("sft", "tiny.yaml", "--model", "builtin:tiny-qwen2?hidden=3"), 3, "multiple of 64", "--model", ""),
    (("generate", "--model", "./folder"), 3, "no config.json", "--model_name_or_path", "weights"),
    (("sft", "tiny.yaml", "--dataset_name", "folder"), 3, "holds no data files", "--dataset_name", ".jsonl"),
    (("sft", "tiny.yaml", "--dataset_name", "rows.xlsx"), 3, "not `.xlsx`", "--dataset_name", "convert"),
    (("sft", "tiny.yaml", "--dataset_name", "a/b/c"), 3, "no dataset", "--dataset_name", "owner/name"),
    (("generate", *MODEL, "--dataset", "zero.jsonl"), 3, "is empty", "--dataset_name", "with rows"),
    (("eval", "gsm8k", *MODEL, "--dataset", "zero.jsonl"), 3, "is empty", "--dataset", "with rows"),
    # GRPO
    (("grpo", "tiny.yaml", *MODEL, "--reward_funcs", "acuracy"), 3, "unknown reward", "", "accuracy?"),
    (("grpo", "tiny.yaml", *MODEL, "--num_generations", "3"), 3, "= 8, and 8 / 3", "", "--num_generations 2"),
    (("grpo", "tiny.yaml", *MODEL, "--num_generations", "1"), 3, "2 or more, not 1", "--num_gen", ""),
    # folders of other runs
    (("sft", "tiny.yaml", "--output_dir", "other"), 3, "another configuration", "other", "choose another"),
    (("pipeline", "tiny.yaml", "--output_dir", "other"), 3, "one section's run", "other", "choose another"),
    (("sft", "tiny.yaml", "--model", "other"), 2, "no final model yet", "other", "again"),
]
# fmt: on


@pytest.fixture
def broken(cli: Cli, tiny: str) -> Cli:
    files: dict[str, str | bytes] = {
        "empty.yaml": "",
        "binary.yaml": b"\x89PNG\r\n\x1a\n\x00\xff",
        "list.yaml": "- a\n- b\n",
        "eval.yaml": "eval:\n  tasks: [gsm8k]\n  temperatur: 1\n",
        "task.yaml": "eval:\n  tasks: [mat_500]\n",
        "generate.yaml": "generate:\n  num_generation: 1\n",
        "folder/README": "neither a model nor data",
        "zero.jsonl": "",
        "rows.xlsx": b"PK\x03\x04",
        "nocolumns.jsonl": '{"a": 1}\n',
        "other/manifest.json": '{"format": 1, "state": "interrupted", "hash": "0ther"}',
    }
    for name, content in files.items():
        cli.write(name, content)
    return cli


def refused(cli: Cli, words: tuple[str, ...], code: int) -> dict[str, Any]:
    """Run with --json; returns the error, which must be all there is."""
    done = cli(*words, "--json", code=code)
    document = json.loads(done.out)
    assert set(document) == {"error"}
    error: dict[str, Any] = document["error"]
    assert error["code"] == code
    assert done.err == ""
    return error


@pytest.mark.parametrize(
    ("words", "code", "what", "where", "fix"), REFUSED, ids=[" ".join(case[0])[:60] for case in REFUSED]
)
def test_refused_at_once(
    broken: Cli, words: tuple[str, ...], code: int, what: str, where: str, fix: str
) -> None:
    error = refused(broken, words, code)
    assert what in error["what"]
    assert where in (error["where"] or "")
    assert fix in (error["fix"] or "")
    assert error["where"] or error["fix"]
    assert not (broken.folder / "runs").exists()


def test_all_that_is_wrong_in_a_recipe_at_once(broken: Cli) -> None:
    broken.write("many.yaml", "sft:\n  dataset_name: d\n  max_length: 1\n  max_steps: ten\n  limit: 0\n")
    problems = refused(broken, ("sft", "many.yaml"), 3)["problems"]
    assert sorted(p["where"] for p in problems) == ["many.yaml:3", "many.yaml:4", "many.yaml:5"]


def test_a_dataset_without_a_prompt_for_generate(broken: Cli) -> None:
    error = refused(broken, ("generate", *MODEL, "--dataset", "nocolumns.jsonl", "--threads", "1"), 3)
    assert "for the prompt" in error["what"]
    assert error["where"] == "nocolumns.jsonl"
    assert "set prompt_column" in error["fix"]


@pytest.mark.parametrize("words", [("sft", "none.yaml"), ("eval", "mat_500"), ("generate",)], ids=" ".join)
def test_debug_shows_the_traceback_and_only_debug(broken: Cli, words: tuple[str, ...]) -> None:
    assert "Traceback" not in broken(*words, code=None).err
    done = broken(*words, "--debug", code=None)
    assert "Traceback" in done.err
    assert done.err.rstrip().splitlines()[-1].startswith("  do  ")  # the message stays the last word
