"""Rows from which GRPO learns nothing are counted and said before training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openr1.errors import RecipeError
from openr1.training.grpo import reads_gold
from openr1.training.run import train
from tests.conftest import Cli
from tests.training.in_process import child_of, write_rows

ROW = {"problem": "1+1", "answer": "2"}
WORDS = ("--max_steps", 1, "--global_batch_size", 2, "--num_generations", 2)


def said(tmp_path: Path, rows: list[dict[str, Any]], *words: object) -> str:
    path = write_rows(tmp_path / "rows.jsonl", rows)
    child, heard = child_of("grpo", tmp_path, "--dataset_name", path, *WORDS, *words)
    train(child)
    start = next(i for i, e in enumerate(heard.events) if e["event"] == "start")
    return "\n".join(e["text"] for e in heard.events[:start] if e["event"] == "notice")


def test_golds_that_are_missing(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "answer": None}, {**ROW, "answer": " "}, ROW]
    assert "2 of 4 rows have no gold answer" in said(tmp_path, rows, "--max_completion_length", 4)


def test_prompts_that_are_too_long(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "problem": "9" * 20}, {**ROW, "problem": "9" * 300}]
    # The built-in model's context is 512 tokens, one of its tokens a character.
    text = said(tmp_path, rows, "--max_completion_length", 300, "--max_prompt_length", 10)
    assert "prompts have at most 302 tokens" in text
    assert "2 of 3 rows have a prompt longer than max_prompt_length 10" in text
    assert "first row 2" in text
    assert "1 of 3 rows have a prompt longer than the 212 tokens" in text
    assert "first row 3" in text


@pytest.mark.parametrize(
    ("row", "words", "what"),
    [
        ({**ROW, "answer": ""}, (), "no row has a gold answer"),
        ({**ROW, "problem": "9" * 600}, ("--max_completion_length", 10), "no prompt leaves room to answer"),
    ],
)
def test_when_no_row_is_of_use(
    tmp_path: Path, row: dict[str, Any], words: tuple[Any, ...], what: str
) -> None:
    with pytest.raises(RecipeError, match=what):
        said(tmp_path, [row] * 3, *words)


def test_a_dataset_without_gold_where_no_reward_reads_it(tmp_path: Path) -> None:
    text = said(tmp_path, [{"problem": "1+1"}] * 3, "--reward_funcs=[format]", "--max_completion_length", 4)
    assert "problem → prompt, no gold answer" in text
    rewards = {"reward_funcs": ["format", {"cosine": {"max_len": 9}}]}
    assert reads_gold(rewards)
    assert not reads_gold({"reward_funcs": ["format", "code"]})


@pytest.mark.slow
def test_samples_are_prompts_with_their_gold_answers_and_no_run_is_left_behind(cli: Cli) -> None:
    rows = [{"problem": f"{n}+1", "answer": str(n + 1)} for n in range(6)]
    cli.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    words = ("grpo", "--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")
    words += ("--dataset_name", "rows.jsonl", "--system_prompt", "be brief")
    shown = cli(*words, "--show-samples").out
    assert "<|system|>be brief" in shown and "<|user|>2+1" in shown and "gold: 3" in shown
    assert [line for line in shown.splitlines() if line.startswith("row ")] == [
        line for line in shown.splitlines() if "tokens" in line and line.startswith("row ")
    ]
    assert (
        shown.count("▌") == 4 and "row 3: " in shown and "row 5: " in shown
    )  # three, and the line that says so
    assert not (cli.folder / "runs").exists()
    found = cli(*words, "--show-samples", 1, "--json").json
    assert found["samples"][0]["gold"] == "1" and found["samples"][0]["text"].count("0+1") == 1
