"""GRPO for real: rewards, completions kept, and an exact restart."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import TINY, Cli, only_run, rows_of

START = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")
PATTERN = "tiny-grpo-*"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    cli = Cli(tmp_path_factory.mktemp("grpo"))
    cli.write("tiny.yaml", TINY)
    cli("grpo", "tiny.yaml", *START)
    return cli


def test_rewards_metrics_and_completions(uninterrupted: Cli) -> None:
    run = only_run(uninterrupted, PATTERN)
    metrics = rows_of(run / "metrics.jsonl")
    assert [row["step"] for row in metrics] == [1, 2, 3, 4]
    for row in metrics:
        assert {"reward", "rewards/accuracy/mean", "rewards/format/mean", "completions/mean_length"} <= set(
            row
        )
    samples = rows_of(run / "samples" / "completions.jsonl")
    assert {s["step"] for s in samples} == {1, 2, 3, 4}
    assert set(samples[0]["rewards"]) == {"accuracy", "format"}
    assert samples[0]["prompt"]
    assert (run / "model" / "config.json").exists()


def test_a_restart_continues_at_the_right_step_with_everything_restored(
    uninterrupted: Cli, cli: Cli, tiny: str
) -> None:
    """Rollouts are sampled; that the weights agree bit for bit shows that the random state, the data order,
    the optimizer and the schedule were all restored."""
    process = cli.start("grpo", tiny, *START)
    cli.when(process, f"runs/{PATTERN}/metrics.jsonl", '"step": 3,', cli.kill_children)
    process.communicate(timeout=120)
    assert process.returncode == 6, "the run was faster than the kill"
    done = cli("grpo", tiny, *START)
    assert "continuing after step" in done.err
    run, other = only_run(cli, PATTERN), only_run(uninterrupted, PATTERN)
    name = Path("model") / "model.safetensors"
    assert (run / name).read_bytes() == (other / name).read_bytes()
    assert [row["step"] for row in rows_of(run / "metrics.jsonl")] == [1, 2, 3, 4]
    steps = [row["step"] for row in rows_of(run / "samples" / "completions.jsonl")]
    assert steps == sorted(steps)
    assert steps.count(3) == steps.count(2)


def test_a_run_killed_after_its_last_step_makes_no_other(uninterrupted: Cli, cli: Cli, tiny: str) -> None:
    """In the middle of an epoch, where transformers would make one step too many."""
    source = only_run(uninterrupted, PATTERN)
    run = cli.folder / "runs" / source.name
    shutil.copytree(source, run)
    back_to(run, 4)
    done = cli("grpo", tiny, *START)
    assert "continuing after step 4" in done.err
    assert [row["step"] for row in rows_of(run / "metrics.jsonl")] == [1, 2, 3, 4]
    name = Path("model") / "model.safetensors"
    assert (run / name).read_bytes() == (source / name).read_bytes()


@pytest.mark.slow
def test_a_half_used_rollout_batch_is_made_anew_and_said(cli: Cli, tiny: str) -> None:
    """Two optimizer steps per rollout, stopped between them."""
    words = ("grpo", tiny, *START, "--steps_per_generation", 2, "--max_steps", 4, "--save_steps", 1)
    cli(*words, "--save_total_limit", 4)
    run = only_run(cli, PATTERN)
    back_to(run, 1)
    done = cli(*words)
    assert "continuing after step 1" in done.err
    assert "made anew" in done.err
    assert [row["step"] for row in rows_of(run / "metrics.jsonl")] == [1, 2, 3, 4]
    back_to(run, 2)
    assert "made anew" not in cli(*words).err


def back_to(run: Path, step: int) -> None:
    """Make a finished run look as if it had been killed after the checkpoint of `step`."""
    for checkpoint in (run / "checkpoints").glob("checkpoint-*"):
        if int(checkpoint.name.rsplit("-", 1)[1]) > step:
            shutil.rmtree(checkpoint)
    shutil.rmtree(run / "model")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"state": "running"}))


def test_an_unknown_reward_names_the_nearest(cli: Cli, tiny: str) -> None:
    done = cli("grpo", tiny, *START, "--reward_funcs", "[acuracy]", code=3)
    assert "accuracy" in done.err
    assert "Traceback" not in done.err
    assert not (cli.folder / "runs").exists()


def test_grpo_alone_says_that_its_sft_is_missing(cli: Cli, tiny: str) -> None:
    done = cli("grpo", tiny, code=2)
    assert "openr1 sft tiny.yaml" in done.err
    assert json.loads(cli("grpo", tiny, "--json", code=2).out)["error"]["code"] == 2


def test_golds_that_cannot_be_judged_are_said_and_then_stop_the_run(cli: Cli) -> None:
    """None is no score: a notice at the first batch, exit 7 when most of the last 256 could not be judged."""
    cli.write(
        "d.jsonl",
        "".join(json.dumps({"problem": f"p{i}", "answer": None if i else "3"}) + "\n" for i in range(64)),
    )
    words = ("grpo", *START, "--dataset_name", "d.jsonl", "--num_generations", 8, "--global_batch_size", 64)
    more = ("--max_completion_length", 4, "--max_steps", 8, "--save_steps", 1, "--threads", 1)
    done = cli(*words, *more, code=7)
    assert "could not be judged" in done.err
    assert re.search(r"could not judge 2\d\d of 256", done.err)
    run = next((cli.folder / "runs").iterdir())
    assert json.loads((run / "manifest.json").read_text())["state"] == "failed"
    assert list((run / "checkpoints").glob("checkpoint-*"))
