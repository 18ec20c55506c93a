"""`openr1 eval` and `openr1 generate` for real, on local files, with samples that survive a kill."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from openr1.evaluation.score import score_rows
from openr1.sampling.ledger import Ledger
from openr1.sampling.requests import Request, SamplingParams
from tests.conftest import Cli, only_run, rows_of
from tests.evaluation.in_process import canned, evaluated, prepared, write_rows

MODEL = ("--model", "builtin:tiny-qwen2?layers=1&hidden=64", "--threads", 1)
TINY: dict[str, Any] = {"model_name_or_path": MODEL[1], "threads": 1}
MATH = [
    {"problem": "What is $1+1$?", "solution": "It is $2$.", "answer": "2"},
    {"problem": "Simplify $\\frac{2}{4}$.", "solution": "", "answer": "\\frac{1}{2}"},
    {"problem": "Give {x} and \\boxed{y}.", "solution": "", "answer": "x"},
]
GSM = [
    {"question": "Two and two?", "answer": "2+2=<<2+2=4>>4\n#### 4"},
    {"question": "Big?", "answer": "So\n#### 1,000"},
]


def jsonl(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to evaluate in without a process of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_local_files_of_both_tasks_with_several_samples(here: Path) -> None:
    write_rows(here / "math.jsonl", MATH)
    keys = {"dataset": "math.jsonl", "max_new_tokens": 8, "num_samples": 3}
    (score,), _, run = evaluated("math_500", **TINY, **keys)
    assert (score["problems"], score["samples"]) == (3, 3)
    assert score["protocol"] == "quick-v1 num_samples=3 max_new_tokens=8"
    rows = rows_of(run / score["samples_file"])
    assert [(r["row"], r["index"]) for r in rows] == [(i, j) for i in range(3) for j in range(3)]
    assert len({r["text"] for r in rows if r["row"] == 0}) > 1  # samples differ
    assert rows[6]["problem"] == MATH[2]["problem"]


def test_gsm8k_gold_is_what_stands_behind_the_hashes(cli: Cli) -> None:
    cli.write("gsm.jsonl", jsonl(GSM))
    words = ("eval", "gsm8k", *MODEL, "--dataset", "gsm.jsonl", "--max_new_tokens", 4, "--temperature", 0)
    done = cli(*words)
    assert "2 problems; the published gsm8k has 1,319" in " ".join(done.err.split())
    assert "quick-v1 temperature=0 max_new_tokens=4" in done.out
    run = only_run(cli, "eval-*")
    rows = rows_of(next((run / "samples").glob("*gsm8k.jsonl")))
    assert [r["gold"] for r in rows] == ["4", "1000"]
    assert "finished earlier" in cli(*words).out


def test_finished_samples_are_kept_and_the_rest_comes_out_the_same(here: Path) -> None:
    keys = {"limit": 12, "batch_size": 4, "max_new_tokens": 6}
    _, _, run = evaluated("builtin:chain-sum", **TINY, **keys)
    ledger = run / "samples" / "ledger.jsonl"
    whole = rows_of(ledger)
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(lines[:6]) + lines[6][:20])  # killed in the middle of a line
    evaluated("builtin:chain-sum", **TINY, **keys)
    assert sorted(map(str, rows_of(ledger))) == sorted(map(str, whole))


def test_a_context_that_is_too_short_is_said_and_changes_the_protocol(here: Path) -> None:
    (score,), said, _ = evaluated("builtin:chain-sum", **TINY, limit=2, max_new_tokens=600)
    assert any("limited to" in text for text in said)
    assert "max_new_tokens=4" in score["protocol"]  # four hundred and something


def test_generate_keeps_the_rows_and_adds_completions(cli: Cli) -> None:
    cli.write("d.jsonl", jsonl([{"problem": f"p{i}", "extra": str(i)} for i in range(3)]))
    done = cli(
        "generate", *MODEL, "--dataset", "d.jsonl", "--num_generations", 2, "--max_new_tokens", 5, "--json"
    )
    rows = rows_of(Path(cli.folder / done.json["result"]["file"]))
    assert [r["extra"] for r in rows] == ["0", "1", "2"]
    assert all(len(r["generations"]) == len(r["finish_reasons"]) == 2 for r in rows)
    assert done.json["result"]["samples"] == 6


def test_scores_count_problems_not_samples() -> None:
    def row(problem: int, verdict: str) -> dict[str, object]:
        return {"row": problem, "verdict": verdict, "tokens": 10, "finish_reason": "stop"}

    rows = [row(0, "right"), row(0, "right"), row(1, "wrong"), row(1, "no_answer")]
    score = score_rows(rows, 2, 0)
    assert score["accuracy"] == 0.5
    assert score["problems"] == 2
    assert score["verdicts"] == {"right": 2, "wrong": 1, "no_answer": 1}
    assert score["other_run"] == pytest.approx(0.0)  # every problem always the same
    single = score_rows([row(i, "right") for i in range(10)], 1, 0)
    assert single["interval"][1] == pytest.approx(1.0)
    assert single["interval"][0] == pytest.approx(0.7225, abs=1e-3)  # Wilson, 10 of 10


def test_the_ledger_never_repeats_or_loses(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl")
    assert ledger.add([{"key": "a"}, {"key": "b"}]) == 2
    assert ledger.add([{"key": "b"}, {"key": "c"}]) == 1
    (tmp_path / "l.jsonl").open("a").write('{"key": "d"')
    again = Ledger(tmp_path / "l.jsonl")
    assert len(again) == 3 and "b" in again and "d" not in again
    again.add([{"key": "d"}])
    assert [r["key"] for r in again.rows()] == ["a", "b", "c", "d"]


def test_a_key_names_task_problem_sample_model_and_protocol() -> None:
    one = Request(0, 0, ({"role": "user", "content": "x"},), "t")
    keys = {
        one.key("m", "quick-v1"),
        one.key("other", "quick-v1"),
        one.key("m", "quick-v2"),
        Request(0, 1, one.messages, "t").key("m", "quick-v1"),
        Request(1, 0, one.messages, "t").key("m", "quick-v1"),
        Request(0, 0, one.messages, "u").key("m", "quick-v1"),
        Request(0, 0, ({"role": "user", "content": "y"},), "t").key("m", "quick-v1"),
        Request(0, 0, one.messages, "t", "<think>").key("m", "quick-v1"),
    }
    assert len(keys) == 8
    assert one.key("m", "quick-v1") == one.key("m", "quick-v1")
    params = SamplingParams(0.6, 0.95, None, 10, 0)
    assert one.seed(params) != Request(0, 1, one.messages, "t").seed(params)


def test_a_checkpoint_overwritten_at_the_same_path_is_another_model(here: Path) -> None:
    """C4: lighteval's cache answers for the new weights with what the old ones said."""
    from openr1.data.tiny_model import ModelSpec, build_tiny_model

    keys = {"model_name_or_path": "ckpt", "threads": 1, "limit": 3, "max_new_tokens": 6}
    folders, samples = [], []
    for seed in (1, 2):
        shutil.rmtree(here / "ckpt", ignore_errors=True)
        build_tiny_model(ModelSpec(1, 64), seed, here / "ckpt")
        folders.append(prepared("builtin:chain-sum", **keys).run.path)
        evaluated("builtin:chain-sum", **keys, folder="one-for-both")
        samples.append(rows_of(here / "one-for-both" / "samples" / "ledger.jsonl"))
    assert folders[0] != folders[1]  # a finished run is not shown for other weights
    assert prepared("builtin:chain-sum", **keys).run.path == folders[1]
    assert len({row["key"] for row in samples[1]}) == 6  # nor are its samples taken
    assert not list((here / "ckpt").rglob("*.parquet"))  # C5: nothing is written beside the weights


def test_the_seeds_words_on_the_command_line(cli: Cli) -> None:
    cli.write("math.jsonl", jsonl(MATH))
    args = "pretrained=builtin:tiny-qwen2,gpu_memory_utilisation=0.8,max_model_length=512"
    done = cli(
        "eval",
        "custom|math_500|0|0",
        "--model-args",
        args,
        "--use-chat-template",
        "--dataset",
        "math.jsonl",
        "--dry-run",
    )
    for said in (
        "is read as math_500",
        "--gpu_memory_utilization 0.8",
        "`--use-chat-template` is not needed",
    ):
        assert said in " ".join((done.out + done.err).split())


def test_the_seeds_numbers_of_gpus_on_the_command_line(cli: Cli) -> None:
    words = ("eval", "aime24", "math_500", "--simulate", "8xH100", "--backend", "vllm", "--dry-run", "--json")
    for seeds, engines in (
        (("PARALLEL=data", "NUM_GPUS=4"), 4),
        (("--model-args", "pretrained=deepseek-ai/DeepSeek-R1-Distill-Qwen-7B,data_parallel_size=8"), 8),
    ):
        sampling = cli(*words, *seeds).json["plan"]["sampling"]
        assert (sampling["tensor_parallel"], len(sampling["environments"])) == (1, engines)
    assert "`four` is no number of GPUs" in cli(*words, "NUM_GPUS=four", code=2).json["error"]["what"]


def test_servers_on_the_command_line(cli: Cli) -> None:
    cli.write("math.jsonl", jsonl(MATH))
    with canned(lambda q, n: "\\boxed{2}") as one, canned(lambda q, n: "\\boxed{2}") as two:
        words = ("eval", "math_500", "--dataset", "math.jsonl", "--server", one.url, f"--server={two.url}")
        done = cli(*words, "--json").json
        (score,), run = done["result"]["scores"], cli.folder / done["run"]
        assert len(one.asked) + len(two.asked) == 3
        assert one.asked and two.asked
        refused = cli(*words, "--model", "another", code=3).err
    assert score["verdicts"] == {"right": 1, "wrong": 2}
    assert "does not serve `another`; it serves tiny" in " ".join(refused.split())
    before = (run / "results.json").read_text()
    assert "0 of 3 verdicts are not what they were" in cli("eval", "--rescore", run.name).out
    assert (run / "results-before-rescore-1.json").read_text() == before
    assert json.loads((run / "results.json").read_text())["scores"] == json.loads(before)["scores"]
    assert "no finished evaluation" in cli("eval", "--rescore", "none", code=2).err
    assert "nothing else" in cli("eval", "--rescore", run.name, "gsm8k", code=2).err
    assert "--server needs an address" in cli("eval", "math_500", "--server", code=2).err


KILLED = ("eval", "builtin:chain-sum", *MODEL, "--limit", 60, "--num_samples", 2)
KILLED = (*KILLED, "--batch_size", 2, "--max_new_tokens", 60)


def killed_and_continued(cli: Cli, moments: list[float], whole: list[dict[str, object]]) -> None:
    """Kill the command or its child, random seconds after sampling began; what was finished must stay."""
    kept: list[str] = []
    for number, moment in enumerate(moments):
        process = cli.start(*KILLED)
        cli.when(process, "runs/*/samples/ledger.jsonl", "key", lambda p, m=moment: time.sleep(m))
        if process.poll() is None and number % 2:
            cli.kill_children(process)
        process.kill()
        process.communicate(timeout=60)
        lines = (only_run(cli, "eval-*") / "samples" / "ledger.jsonl").read_text().splitlines(keepends=True)
        finished = [line for line in lines if line.endswith("\n")]
        assert finished[: len(kept)] == kept
        kept = finished
    cli(*KILLED)
    rows = rows_of(only_run(cli, "eval-*") / "samples" / "ledger.jsonl")
    assert len(rows) == len({row["key"] for row in rows}) == 120
    assert sorted(map(str, rows)) == sorted(map(str, whole))


@pytest.fixture
def whole(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, object]]:
    """The samples of the same command, never stopped."""
    monkeypatch.chdir(tmp_path_factory.mktemp("whole"))
    keys = {"limit": 60, "num_samples": 2, "batch_size": 2, "max_new_tokens": 60}
    _, _, run = evaluated("builtin:chain-sum", **TINY, **keys)
    return rows_of(run / "samples" / "ledger.jsonl")


def test_kill_9_loses_and_repeats_nothing(cli: Cli, whole: list[dict[str, object]]) -> None:
    killed_and_continued(cli, [0.05], whole)


@pytest.mark.slow
def test_kill_9_at_ten_random_moments(cli: Cli, whole: list[dict[str, object]]) -> None:
    seed = int.from_bytes(os.urandom(2), "big")
    print(f"seed {seed}")  # shown when it fails
    dice = random.Random(seed)
    killed_and_continued(cli, [dice.uniform(0, 0.6) for _ in range(10)], whole)


@pytest.mark.slow
def test_two_processes_on_the_command_line(cli: Cli) -> None:
    words = ("eval", "builtin:chain-sum", *MODEL, "--limit", 12, "--max_new_tokens", 8, "--batch_size", 4)
    cli(*words, "--run_name", "one")
    cli(*words, "--run_name", "two", "--parallel", "data", "--processes", 2)
    one, two = (rows_of(cli.folder / "runs" / n / "samples" / "ledger.jsonl") for n in ("one", "two"))
    assert sorted(map(str, one)) == sorted(map(str, two))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")
def test_vllm_on_the_command_line(cli: Cli) -> None:
    words = ("eval", "builtin:chain-sum", *MODEL, "--limit", 8, "--max_new_tokens", 12, "--temperature", 0)
    found = {}
    for backend in ("transformers", "vllm"):
        done = cli(*words, "--backend", backend, "--dtype", "float32", "--json").json
        (score,) = done["result"]["scores"]
        rows = rows_of(cli.folder / done["run"] / score["samples_file"])
        found[backend] = [(r["key"], r["text"], r["tokens"], r["finish_reason"], r["verdict"]) for r in rows]
        assert score["backend"] == backend
    assert found["vllm"] == found["transformers"]
