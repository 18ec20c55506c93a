"""Killed at random moments, parent or child, again and again: nothing is lost, nothing is left running.

The quick tests kill one run of each (`training/test_sft.py`, `training/test_grpo.py`).
"""

from __future__ import annotations

import os
import random
import time

import psutil
import pytest

from tests.conftest import TINY, Cli, only_run, rows_of

# Runs that are killed; each goes on where the one before was cut off.
ROUNDS = {"sft": 10, "grpo": 10}
START = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")
NAME = "model/model.safetensors"


def killed_again_and_again(cli: Cli, other: Cli, stage: str, rounds: int, longest: float) -> None:
    """Kill `rounds` runs, each going on where the one before was killed; the end is that of one whole run."""
    for one in (cli, other):
        one.write("tiny.yaml", TINY)
    words = (stage, "tiny.yaml", *START, "--max_steps", 24, "--save_steps", 2)
    other(*words)
    seed = int.from_bytes(os.urandom(2), "big")
    dice = random.Random(seed)
    for number in range(rounds):
        process = cli.start(*words)
        time.sleep(dice.uniform(1, longest))
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        if number % 2 and children:
            dice.choice(children).kill()
        else:
            process.kill()
        process.communicate(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive, f"seed {seed}, round {number}"
    cli(*words)
    run, whole = only_run(cli, f"tiny-{stage}-*"), only_run(other, f"tiny-{stage}-*")
    assert [row["step"] for row in rows_of(run / "metrics.jsonl")] == list(range(1, 25)), f"seed {seed}"
    assert (run / NAME).read_bytes() == (whole / NAME).read_bytes(), f"seed {seed}"
    mine = [p for p in psutil.process_iter(["cmdline"]) if str(run) in " ".join(p.info["cmdline"] or [])]
    assert not mine, f"seed {seed}"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_kill_9_at_random_moments_ends_with_the_same_weights(
    cli: Cli, stage: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    killed_again_and_again(cli, Cli(tmp_path_factory.mktemp("whole")), stage, ROUNDS[stage], longest=16)
