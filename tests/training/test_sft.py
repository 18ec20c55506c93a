"""SFT for real: TRL, a model built on the spot, the real command; killed, cut off, stopped, continued."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from tests.conftest import TINY, Cli, only_run, rows_of

PATTERN = "tiny-sft-*"


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """One run from beginning to end, for all tests of this file to compare with."""
    cli = Cli(tmp_path_factory.mktemp("sft"))
    cli.write("tiny.yaml", TINY)
    done = cli("sft", "tiny.yaml")
    assert "12 steps" in done.out
    return cli


def test_a_run_leaves_what_the_design_promises(uninterrupted: Cli) -> None:
    run = only_run(uninterrupted, PATTERN)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["state"] == "finished"
    assert manifest["result"]["steps"] == 12
    assert manifest["data"]["rows"] == 96
    assert manifest["versions"]["trl"]
    metrics = rows_of(run / "metrics.jsonl")
    assert [row["step"] for row in metrics] == list(range(1, 13))
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert all(row["tokens_per_second"] > 0 for row in metrics)
    kept = sorted(p.name for p in (run / "checkpoints").glob("checkpoint-*"))
    assert kept == ["checkpoint-12", "checkpoint-8"]  # save_steps 4, save_total_limit 2
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(run / "model")
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    assert tokenizer.chat_template
    assert model.config.model_type == "qwen2"


def test_a_finished_run_is_shown_and_not_repeated(uninterrupted: Cli) -> None:
    run = only_run(uninterrupted, PATTERN)
    stamp = (run / "model" / "model.safetensors").stat().st_mtime_ns
    done = uninterrupted("sft", "tiny.yaml", "--json")
    assert done.json["was_finished"] is True
    assert done.json["result"]["steps"] == 12
    assert (run / "model" / "model.safetensors").stat().st_mtime_ns == stamp


def test_sigkill_at_any_step_ends_with_the_same_weights(uninterrupted: Cli, cli: Cli, tiny: str) -> None:
    """Bit for bit. The training process is killed after some step past the first checkpoint, twice."""
    kills = 0
    for step in sorted(random.Random(os.urandom(4)).sample(range(5, 12), 2)):
        process = cli.start("sft", tiny)
        cli.when(process, f"runs/{PATTERN}/metrics.jsonl", f'"step": {step},', cli.kill_children)
        _, err = process.communicate(timeout=120)
        assert process.returncode in (6, 0), err  # 0: it was faster than the kill
        kills += process.returncode == 6
        if process.returncode == 6:
            assert "the same command again" in err
    assert kills, "the run was faster than both kills"
    done = cli("sft", tiny)
    assert "continuing after step" in done.err or "finished earlier" in done.out
    run = only_run(cli, PATTERN)
    other = only_run(uninterrupted, PATTERN)
    assert weights(run) == weights(other)
    rows = [rows_of(folder / "metrics.jsonl") for folder in (run, other)]
    same = ("step", "loss", "learning_rate", "num_tokens", "epoch")
    assert [[row[key] for key in same] for row in rows[0]] == [[row[key] for key in same] for row in rows[1]]


def test_a_cut_off_checkpoint_is_detected_and_the_one_before_is_used(
    uninterrupted: Cli, cli: Cli, tiny: str
) -> None:
    source = only_run(uninterrupted, PATTERN)
    run = cli.folder / "runs" / source.name
    shutil.copytree(source, run)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"state": "running"}))
    shutil.rmtree(run / "model")
    cut = run / "checkpoints" / "checkpoint-12" / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    done = cli("sft", tiny)
    assert "checkpoint-12 was cut off" in done.err
    assert "continuing after step 8" in done.err
    assert weights(run) == weights(source)


def test_ctrl_c_saves_and_the_same_command_continues(uninterrupted: Cli, cli: Cli, tiny: str) -> None:
    words = ("sft", tiny, "--save_steps", 100)  # how often to save does not make it another run
    process = cli.start(*words)
    press = lambda p: p.send_signal(signal.SIGINT)  # noqa: E731
    cli.when(process, f"runs/{PATTERN}/metrics.jsonl", '"step": 3,', press)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "is whole" in err
    assert "the same command continues" in err
    run = only_run(cli, PATTERN)
    assert json.loads((run / "manifest.json").read_text())["state"] == "interrupted"
    assert list((run / "checkpoints").glob("checkpoint-*"))
    done = cli(*words)
    assert "continuing after step" in done.err
    assert weights(run) == weights(only_run(uninterrupted, PATTERN))


def test_ctrl_c_before_the_first_step(cli: Cli, tiny: str) -> None:
    process = cli.start("sft", tiny)
    cli.when(process, "runs/*/logs/*/rank-0.log", "", lambda p: p.send_signal(signal.SIGINT))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err


def test_another_seed_is_another_run_and_fresh_is_a_new_folder(uninterrupted: Cli) -> None:
    changes = ([], ["--seed", 8], ["--fresh"])
    folders = [uninterrupted("sft", "tiny.yaml", "--dry-run", "--json", *c).json["run"] for c in changes]
    assert len(set(folders)) == 3
    assert folders[2] == f"{folders[0]}-2"
    assert not (uninterrupted.folder / folders[1]).exists()


@pytest.mark.slow
def test_data_that_changed_under_an_unfinished_run(cli: Cli) -> None:
    rows = [{"prompt": f"{i}+1", "completion": str(i + 1)} for i in range(20)]
    cli.write("d.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
    model = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64", "--dataset_name", "d.jsonl")
    words = ("sft", *model, "--max_steps", 3, "--threads", 1, "--global_batch_size", 4, "--run_name", "mine")
    cli(*words)
    run = cli.folder / "runs" / "mine"
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"state": "interrupted"}))
    cli.write("d.jsonl", "".join(json.dumps(r) + "\n" for r in rows[:10]))
    done = cli(*words, code=3)
    assert "20 rows then, 10 now" in done.err
