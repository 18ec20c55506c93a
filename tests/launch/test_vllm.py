"""GRPO with vLLM, for real, on the CPU build of vLLM."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from openr1.launch.command import free_port
from openr1.launch.vllm_server import Serve, running
from openr1.services.launching import built_model
from tests.conftest import Cli, only_run, rows_of
from tests.launch.test_supervise import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
START = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")
SYNC = Path(__file__).with_name("vllm_sync.py")


def synced(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return subprocess.run(
        [sys.executable, str(SYNC), str(folder), *words], capture_output=True, text=True, env=env, timeout=600
    )


def agreement(one: list[list[int]], other: list[list[int]]) -> float:
    pairs = [(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs)


def test_after_a_sync_vllm_answers_as_the_trained_weights_do(tmp_path: Path) -> None:
    done = synced(tmp_path)
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
    assert lines, done.stderr[-3000:]
    answers = json.loads(lines[0].removeprefix("ANSWERS "))
    assert agreement(answers["trained"], answers["before"]) < 0.5, "the training changed nothing"
    assert agreement(answers["served"], answers["trained"]) > 0.9


def test_stock_vllm_still_needs_the_work_around(tmp_path: Path) -> None:
    """When this fails, remove `keep_linear_weights`."""
    done = synced(tmp_path, "stock")
    assert done.returncode != 0
    assert "weight_loader" in done.stderr


def test_grpo_trains_with_colocated_vllm(cli: Cli, tiny: str) -> None:
    done = cli("grpo", tiny, *START, "--use_vllm", "true")
    assert "4 steps" in done.out
    run = only_run(cli, "tiny-grpo-*")
    rows = rows_of(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    # vLLM's and the trainer's probabilities of the same tokens: far apart if the weights were not synced
    assert all(row["sampling/sampling_logp_difference/mean"] < 0.1 for row in rows)


SERVED = ("--use_vllm", "true", "--vllm_mode", "server", "--vllm_max_model_length", 128)


def engine(folder: Path) -> psutil.Process:
    """The process in which the server's model runs."""
    for process in psutil.process_iter(["cmdline", "name"]):
        words = " ".join(process.info["cmdline"] or []) + str(process.info["name"])
        if "EngineCore" in words and any(str(folder) in word for word in environment(process)):
            return process
    raise AssertionError("no engine is running")


def environment(process: psutil.Process) -> list[str]:
    try:
        return [process.cwd(), *process.environ().values()]
    except psutil.Error:
        return []


def test_grpo_trains_with_a_served_vllm(cli: Cli, tiny: str) -> None:
    done = cli("grpo", tiny, *START, *SERVED)
    assert "starting the vLLM server" in done.err
    run = only_run(cli, "tiny-grpo-*")
    rows = rows_of(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["sampling/sampling_logp_difference/mean"] < 0.1 for row in rows)
    assert (run / "logs" / "attempt-1" / "vllm.log").exists()
    with pytest.raises(AssertionError, match="no engine"):
        engine(cli.folder)


def test_vllm_counts_its_tokens(tmp_path: Path) -> None:
    """By these we see that a server works whose queue is longer than our patience."""
    model = built_model(START[1], 7, tmp_path)
    with running(Serve(model, max_length=128), tmp_path / "vllm.log") as server:
        before = server._tokens()
        assert before > 0
        assert server._complete(60)
        assert wait_for(lambda: server._tokens() > before, 20)


def two_nodes(cli: Cli, *words: object, **env: str) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """The first node, which trains, and the last, which serves: here both are this host."""
    every = (*words, *SERVED, "--nodes", 2, "--master", f"localhost:{free_port()}")
    return cli.start(*every, **env), cli.start(*every, "--node-rank", 1, **env)


def test_vllm_on_a_node_of_its_own(cli: Cli, tiny: str) -> None:
    first, last = two_nodes(cli, "grpo", tiny, *START)
    out, err = first.communicate(timeout=400)
    served, served_err = last.communicate(timeout=60)
    assert first.returncode == 0, err + served_err
    assert last.returncode == 0, served_err
    assert "4 steps" in out
    assert "served vLLM for" in served
    run = only_run(cli, "tiny-grpo-*")
    rows = rows_of(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["sampling/sampling_logp_difference/mean"] < 0.1 for row in rows)
    assert (run / "logs" / "node-1" / "attempt-1" / "vllm.log").exists()
    assert not (run / "logs" / "attempt-1" / "vllm.log").exists()
    assert json.loads((run / "manifest.json").read_text())["state"] == "finished"


def test_a_served_node_rehearses_with_the_training_one(cli: Cli, tiny: str) -> None:
    """With weight sync over the net; both hear the same figures, and nothing is left."""
    first, last = two_nodes(cli, "grpo", tiny, *START, "--rehearse", "--json")
    out, err = first.communicate(timeout=500)
    served, served_err = last.communicate(timeout=60)
    assert first.returncode == 0, err + served_err
    assert last.returncode == 0, served_err
    found, heard = json.loads(out), json.loads(served)
    assert found["go"] is True
    assert found["phases"]["rollout"]["seconds"] > 0
    for own in ("seconds", "temperatures_c"):  # of this node's clock and cards
        found.pop(own), heard.pop(own)
    assert heard == found
    assert not list((cli.folder / "runs").iterdir())


@pytest.mark.parametrize("who", ["first", "last", "engine"])
def test_each_of_the_two_nodes_hears_how_the_other_ends(cli: Cli, tiny: str, who: str) -> None:
    words = ("grpo", tiny, *START, "--max_steps", 2000, "--save_steps", 1000)
    first, last = two_nodes(cli, *words, OPENR1_SERVER_PATIENCE="5")
    family: list[psutil.Process] = []

    def act(parent: subprocess.Popen[str]) -> None:
        for node in (first, last):
            family.extend(psutil.Process(node.pid).children(recursive=True))
        if who == "engine":
            engine(cli.folder).kill()
        else:
            {"first": first, "last": last}[who].kill()

    cli.when(first, "runs/*/metrics.jsonl", '"step": 2,', act)
    _, err = first.communicate(timeout=180)
    _, last_err = last.communicate(timeout=180)
    codes = {"first": (-9, 7), "last": (7, -9), "engine": (7, 7)}[who]
    assert (first.returncode, last.returncode) == codes, err + last_err
    if who == "first":
        assert "the first node is gone" in last_err
    else:
        assert ("node 1 is gone" if who == "last" else "node 1: the vLLM server") in err
        assert "same command again" in err
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive


@pytest.mark.parametrize(("how", "says"), [("SIGKILL", "vLLM server"), ("SIGSTOP", "vLLM server hangs")])
def test_a_server_that_dies_or_hangs_ends_the_run_with_words(
    cli: Cli, tiny: str, how: str, says: str
) -> None:
    words = ("grpo", tiny, *START, *SERVED, "--max_steps", 2000, "--save_steps", 1000)
    process = cli.start(*words, OPENR1_SERVER_PATIENCE="5")
    family: list[psutil.Process] = []

    def act(parent: subprocess.Popen[str]) -> None:
        family.extend(psutil.Process(parent.pid).children(recursive=True))
        engine(cli.folder).send_signal(getattr(signal, how))

    cli.when(process, "runs/*/metrics.jsonl", '"step": 3,', act)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 7, err
    assert says in err
    assert "vllm.log" in err
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
