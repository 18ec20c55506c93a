"""GRPO for real: rewards, completions kept, and an exact restart."""

from __future__ import annotations

import json
import signal
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
    done = cli("grpo", tiny, *START)
    if process.returncode != 0:
        assert "continuing after step" in done.err
    run, other = only_run(cli, PATTERN), only_run(uninterrupted, PATTERN)
    name = Path("model") / "model.safetensors"
    assert (run / name).read_bytes() == (other / name).read_bytes()
    assert [row["step"] for row in rows_of(run / "metrics.jsonl")] == [1, 2, 3, 4]
    steps = [row["step"] for row in rows_of(run / "samples" / "completions.jsonl")]
    assert steps == sorted(steps)
    assert steps.count(3) == steps.count(2)


def test_a_half_used_rollout_batch_is_made_anew_and_said(cli: Cli, tiny: str) -> None:
    """Two optimizer steps per rollout, stopped between them."""
    words = ("grpo", tiny, *START, "--steps_per_generation", 2, "--max_steps", 8, "--save_steps", 100)
    process = cli.start(*words)
    press = lambda p: p.send_signal(signal.SIGINT)  # noqa: E731
    cli.when(process, f"runs/{PATTERN}/metrics.jsonl", '"step": 1,', press)
    _, err = process.communicate(timeout=120)
    assert process.returncode in (0, 130), err
    run = only_run(cli, PATTERN)
    step = max(row["step"] for row in rows_of(run / "metrics.jsonl"))
    done = cli(*words)
    if process.returncode == 130:
        assert ("made anew" in done.err) == (step % 2 == 1)
    assert [row["step"] for row in rows_of(run / "metrics.jsonl")] == list(range(1, 9))


def test_an_unknown_reward_names_the_nearest(cli: Cli, tiny: str) -> None:
    done = cli("grpo", tiny, *START, "--reward_funcs", "[acuracy]", code=3)
    assert "accuracy" in done.err
    assert "Traceback" not in done.err
    assert not (cli.folder / "runs").exists()


def test_grpo_alone_says_that_its_sft_is_missing(cli: Cli, tiny: str) -> None:
    done = cli("grpo", tiny, code=2)
    assert "openr1 sft tiny.yaml" in done.err
    assert json.loads(cli("grpo", tiny, "--json", code=2).out)["error"]["code"] == 2
