"""Several processes train together: the same loss curve as one, whole checkpoints, nothing left running."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import TINY, Cli, rows_of

START = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")
FIXED = Path(__file__).with_name("fixed_rollouts.py")
TWO = ("--processes", 2)
NAME = Path("model") / "model.safetensors"


def curve(cli: Cli, name: str, key: str = "loss") -> list[float]:
    rows = rows_of(cli.folder / "runs" / name / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    return [row[key] for row in rows]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """SFT in one process, to compare with."""
    cli = Cli(tmp_path_factory.mktemp("ranks"))
    cli.write("tiny.yaml", TINY)
    cli("sft", "tiny.yaml", "--run_name", "one")
    return cli


def test_two_ranks_give_the_loss_curve_of_one(alone: Cli) -> None:
    alone("sft", "tiny.yaml", *TWO, "--run_name", "ddp")
    assert curve(alone, "ddp") == pytest.approx(curve(alone, "one"), rel=1e-4)
    assert curve(alone, "ddp", "num_tokens") == curve(alone, "one", "num_tokens")
    run = alone.folder / "runs" / "ddp"
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["state"] == "finished"
    assert manifest["result"]["steps"] == 12
    assert {p.name for p in (run / "logs" / "attempt-1").iterdir()} == {"rank-0.log", "rank-1.log"}
    assert {p.name for p in (run / "checkpoints").glob("*-*")} == {"checkpoint-8", "checkpoint-12"}
    assert not list(run.glob(".seen-*"))
    same_weights(run, alone.folder / "runs" / "one")


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
def test_deepspeed_gives_the_loss_curve_of_one(alone: Cli, sharding: str) -> None:
    alone("sft", "tiny.yaml", *TWO, "--sharding", sharding, "--run_name", sharding)
    assert curve(alone, sharding) == pytest.approx(curve(alone, "one"), rel=1e-4)
    run = alone.folder / "runs" / sharding
    config = json.loads((run / "deepspeed.json").read_text())
    assert config["zero_optimization"]["stage"] == int(sharding[-1])
    same_weights(run, alone.folder / "runs" / "one")


def same_weights(run: Path, other: Path) -> None:
    """Every tensor, whole, and close: nothing of it is missing or a rank's slice."""
    from safetensors.numpy import load_file

    ours, theirs = load_file(run / NAME), load_file(other / NAME)
    head = ours.pop("lm_head.weight", None)  # ZeRO-3 gathers the tied weight twice and saves it twice
    if head is not None:
        assert (head == ours["model.embed_tokens.weight"]).all()
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        assert tensor.shape == theirs[key].shape
        assert abs(tensor - theirs[key]).max() < 1e-4, key


@pytest.mark.slow
def test_grpo_gives_one_trajectory_however_it_is_shared(cli: Cli, tiny: str) -> None:
    words = ("grpo", tiny, *START, "--reward_funcs", f"{FIXED}:reward", "--learning_rate", "1e-3")
    cli(*words, "--run_name", "one")
    cli(*words, *TWO, "--run_name", "ddp")
    for sharding in ("zero2", "zero3"):
        cli(*words, *TWO, "--sharding", sharding, "--run_name", sharding)
    losses = curve(cli, "one")
    assert any(abs(loss) > 1e-4 for loss in losses), "a curve of zeros compares nothing"
    for name in ("ddp", "zero2", "zero3"):
        assert curve(cli, name) == pytest.approx(losses, rel=1e-3, abs=1e-6), name
        assert curve(cli, name, "grad_norm") == pytest.approx(curve(cli, "one", "grad_norm"), rel=1e-2)
        assert curve(cli, name, "reward") == pytest.approx(curve(cli, "one", "reward"), rel=1e-4)
        same_weights(cli.folder / "runs" / name, cli.folder / "runs" / "one")


def rank_of(process: Any) -> str | None:
    """A process's RANK; None when it is gone or has none."""
    try:
        return process.environ().get("RANK")
    except psutil.Error:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["ddp", "zero3"])
@pytest.mark.parametrize("who", ["parent", "rank 1", "stop"])
def test_ended_in_the_middle_it_continues_to_the_same_weights(alone: Cli, sharding: str, who: str) -> None:
    words = ("sft", "tiny.yaml", *TWO, "--sharding", sharding, "--run_name", f"{sharding}-{who[:4]}")
    family: list[psutil.Process] = []

    def act(process: Any) -> None:
        family.extend(psutil.Process(process.pid).children(recursive=True))
        if who == "parent":
            process.kill()
        elif who == "stop":
            process.terminate()
        else:
            next(p for p in family if rank_of(p) == "1").kill()

    process = alone.start(*words)
    alone.when(process, f"runs/{words[-1]}/metrics.jsonl", '"step": 6,', act)
    _, err = process.communicate(timeout=240)
    assert process.returncode == {"parent": -9, "rank 1": 6, "stop": 130}[who], err
    if who == "rank 1":
        assert "rank 1: " in err
        assert "rank-1.log" in err
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    done = alone(*words)
    assert "continuing after step" in done.err
    assert curve(alone, str(words[-1])) == pytest.approx(curve(alone, "one"), rel=1e-4)
    same_weights(alone.folder / "runs" / str(words[-1]), alone.folder / "runs" / "one")


@pytest.mark.slow
def test_kill_9_at_random_moments_leaves_nothing_running(alone: Cli) -> None:
    """Parent or rank, whatever they are doing: the next command goes on, and it ends."""
    import random
    import time

    seed = int.from_bytes(os.urandom(2), "big")
    dice = random.Random(seed)
    words = ("sft", "tiny.yaml", *TWO, "--run_name", "killed")
    for number in range(6):
        process = alone.start(*words)
        time.sleep(dice.uniform(1, 20))
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        if number % 2 and family:
            dice.choice(family).kill()
        else:
            process.kill()
        process.communicate(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, f"seed {seed}, round {number}"
    alone(*words)
    assert curve(alone, "killed") == pytest.approx(curve(alone, "one"), rel=1e-4), f"seed {seed}"
