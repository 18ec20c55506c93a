"""Killed at random moments, parent or child, again and again: nothing is lost, nothing is left running."""

from __future__ import annotations

import os
import random
import time

import psutil
import pytest

from tests.conftest import TINY, Cli, only_run

pytestmark = pytest.mark.slow

ROUNDS = 8


def test_kill_9_at_random_moments_ends_with_the_same_weights(
    cli: Cli, tiny: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Cli(tmp_path_factory.mktemp("whole"))
    other.write("tiny.yaml", TINY)
    other("sft", "tiny.yaml")
    seed = int.from_bytes(os.urandom(2), "big")
    dice = random.Random(seed)
    for number in range(ROUNDS):
        process = cli.start("sft", tiny)
        time.sleep(dice.uniform(1, 14))
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        if number % 2 and children:
            children[0].kill()
        else:
            process.kill()
        process.communicate(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive, f"seed {seed}, round {number}"
    cli("sft", tiny)
    name = "model/model.safetensors"
    assert (only_run(cli, "tiny-sft-*") / name).read_bytes() == (
        only_run(other, "tiny-sft-*") / name
    ).read_bytes(), f"seed {seed}"
