"""Evaluation while training: rows held out, their loss or reward in metrics.jsonl and on the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from openr1.errors import RecipeError
from openr1.training.run import train
from tests.conftest import rows_of
from tests.training.in_process import child_of, write_rows

PAIRS = [{"prompt": f"{i}+1", "completion": str(i + 1), "answer": str(i + 1)} for i in range(12)]
SFT = ("--max_steps", 4, "--global_batch_size", 4, "--logging_steps", 1)
GRPO = ("--max_steps", 2, "--global_batch_size", 4, "--num_generations", 2, "--max_completion_length", 4)
EVERY = ("--eval_strategy", "steps", "--eval_steps")


def test_sft_held_out_loss(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", PAIRS)
    words = ("--dataset_name", path, *SFT, *EVERY, 2, "--eval_split_size", 3)
    child, heard = child_of("sft", tmp_path, *words)
    train(child)
    metrics = rows_of(child.run.metrics)
    assert [row["step"] for row in metrics if "eval_loss" in row] == [2, 4]
    assert [row["step"] for row in metrics if "loss" in row] == [1, 2, 3, 4]
    assert "evaluated while training: 3 rows (3 rows of split train, not trained on)" in heard.notices
    shown = [e["metrics"] for e in heard.events if e["event"] == "progress" and e.get("metrics")]
    assert sum("eval_loss" in row for row in shown) == 2
    assert child.run.manifest is not None
    assert child.run.manifest["data"]["rows"] == 9
    assert child.run.manifest["data"]["eval"]["rows"] == 3


def test_sft_with_a_test_split_and_packing(tmp_path: Path) -> None:
    for split, rows in (("train", PAIRS), ("test", PAIRS[:5])):
        write_rows(tmp_path / "data" / f"{split}.jsonl", rows)
    words = ("--dataset_name", tmp_path / "data", *SFT, *EVERY, 4, "--packing", "--max_length", 32)
    child, heard = child_of("sft", tmp_path, *words)
    train(child)
    assert "evaluated while training: 5 rows (split test)" in heard.notices
    assert sum("eval_loss" in row for row in rows_of(child.run.metrics)) == 1


def test_do_eval_alone_evaluates_once_at_the_end(tmp_path: Path) -> None:
    """Upstream's recipes set it beside eval_strategy; alone it crashed there."""
    path = write_rows(tmp_path / "rows.jsonl", PAIRS)
    words = ("--dataset_name", path, *SFT, "--do_eval", "--eval_split_size", 0.25)
    child, _ = child_of("sft", tmp_path, *words)
    train(child)
    assert [row["step"] for row in rows_of(child.run.metrics) if "eval_loss" in row] == [4]


def test_grpo_held_out_reward(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", PAIRS)
    words = ("--dataset_name", path, *GRPO, *EVERY, 1, "--eval_split_size", 2)
    child, _ = child_of("grpo", tmp_path, *words)
    train(child)
    evals = [row for row in rows_of(child.run.metrics) if "eval_reward" in row]
    assert [row["step"] for row in evals] == [1, 2]
    assert all("eval_rewards/accuracy/mean" in row for row in evals)
    kept = rows_of(child.run.samples / "completions.jsonl")
    assert {(row["step"], row["held_out"]) for row in kept} == {(s, h) for s in (1, 2) for h in (False, True)}
    held = {row["prompt"][-1]["content"] for row in kept if row["held_out"]}
    seen = {row["prompt"][-1]["content"] for row in kept if not row["held_out"]}
    assert not held & seen


def test_no_split_to_evaluate_on_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", PAIRS)
    child, _ = child_of("sft", tmp_path, "--dataset_name", path, *SFT, *EVERY, 2)
    with pytest.raises(RecipeError, match="evaluates while it trains") as caught:
        train(child)
    assert "eval_split_size" in str(caught.value.fix)


def test_a_built_in_task_brings_its_test_problems(tmp_path: Path) -> None:
    words = ("--dataset_name", "builtin:chain-sum?steps=2", "--limit", 20, "--max_length", 64, *SFT)
    child, heard = child_of("sft", tmp_path, *words, *EVERY, 4)
    train(child)
    assert "evaluated while training: 200 rows (the task's test problems)" in heard.notices
    assert [row["step"] for row in rows_of(child.run.metrics) if "eval_loss" in row] == [4]
