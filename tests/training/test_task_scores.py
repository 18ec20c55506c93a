"""The recipe's eval tasks while training: scores on the way, and the same weights as without."""

from __future__ import annotations

import pytest

from tests.conftest import Cli, only_run, rows_of


@pytest.mark.slow
def test_scores_come_on_the_way_and_training_does_not_notice(cli: Cli, tiny: str) -> None:
    words = ("sft", tiny, "--max_steps", 4, "--eval.temperature", 1.0)
    cli(*words, "--output_dir", "plain")
    done = cli(*words, "--eval_tasks_steps", 2, "--output_dir", "scored")
    assert "step 2: builtin:chain-sum" in done.err and "of 20 problems" in done.err

    def weights(name: str) -> bytes:
        return (cli.folder / name / "model" / "model.safetensors").read_bytes()

    assert weights("scored") == weights("plain")
    rows = rows_of(cli.folder / "scored" / "metrics.jsonl")
    key = "tasks/builtin:chain-sum?steps=2/accuracy"
    scores = [(row["step"], row[key]) for row in rows if key in row]
    assert [step for step, _ in scores] == [2, 4]
    graded = rows_of(cli.folder / "scored" / "samples" / "tasks-step-4.jsonl")
    assert len(graded) == 20
    assert scores[1][1] == sum(row["verdict"] == "right" for row in graded) / 20
    assert all(row["gold"] and row["text"] is not None for row in graded)


@pytest.mark.slow
def test_the_last_score_is_that_of_the_evaluation_afterwards(cli: Cli, tiny: str) -> None:
    """Same weights, seed and conditions: the score while training is the one `openr1 eval` gives."""
    cli("sft", tiny, "--max_steps", 4, "--eval_tasks_steps", 4)
    run = only_run(cli, "tiny-sft-*")
    key = "tasks/builtin:chain-sum?steps=2/accuracy"
    found = [row[key] for row in rows_of(run / "metrics.jsonl") if key in row]
    scores = cli("eval", tiny, "--model", run, "--json").json["result"]["scores"]
    assert found == [scores[0]["accuracy"]]


@pytest.mark.slow
def test_of_two_ranks_the_first_scores_and_the_other_waits(cli: Cli, tiny: str) -> None:
    words = ("sft", tiny, "--processes", 2, "--max_steps", 4, "--eval.temperature", 1.0)
    cli(*words, "--output_dir", "plain")
    cli(*words, "--eval_tasks_steps", 2, "--output_dir", "scored")
    key = "tasks/builtin:chain-sum?steps=2/accuracy"
    scored = [row["step"] for row in rows_of(cli.folder / "scored" / "metrics.jsonl") if key in row]
    assert scored == [2, 4]
    plain, other = (cli.folder / name / "model" / "model.safetensors" for name in ("plain", "scored"))
    assert plain.read_bytes() == other.read_bytes()


def test_without_tasks_it_is_refused_before_anything_starts(cli: Cli) -> None:
    cli.write("no-eval.yaml", "sft:\n  dataset_name: builtin:chain-sum\n  eval_tasks_steps: 5\n")
    done = cli("sft", "no-eval.yaml", "--model", "builtin:tiny-qwen2", "--dry-run", code=3)
    assert "no eval section with tasks" in done.err and "no-eval.yaml:3" in done.err
    cli.write("bridged.yaml", "sft:\n  eval_tasks_steps: 5\neval:\n  tasks: [lighteval:gsm8k]\n")
    words = ("sft", "bridged.yaml", "--model", "builtin:tiny-qwen2", "--dataset", "builtin:chain-sum")
    assert "cannot be run while training" in cli(*words, "--dry-run", code=3).err
