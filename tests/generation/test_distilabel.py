"""distilabel with our engine: the seed's pipeline with one class changed, ledger, failures, metadata."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distilabel.models.llms import LLM

from openr1.generation.distilabel import OpenR1LLM
from openr1.generation.follow import Follower
from openr1.runs.files import write_json
from openr1.runs.folder import RunFolder
from openr1.sampling.ledger import Ledger
from openr1.sampling.quarantine import Quarantine
from openr1.sampling.requests import Completion, Failure, Request, SamplingParams, Unit
from tests.conftest import Cli, rows_of
from tests.sampling.fake_server import serving
from tests.sampling.test_backends import model, needs_vllm, served

__all__ = ["model"]  # a fixture
MODEL = "builtin:tiny-qwen2?layers=1&hidden=64"

# The pipeline of open-r1's README. Changed: the LLM's class with its ledger, dataset, model and sizes.
SEEDS_PIPELINE = r'''
from datasets import Dataset
from distilabel.pipeline import Pipeline
from distilabel.steps.tasks import TextGeneration

from openr1.generation.distilabel import OpenR1LLM

prompt_template = r"""
You will be given a problem. Please reason step by step, and put your final answer within \boxed{}:
{{ instruction }}"""

dataset = Dataset.from_list([{"problem": f"What is {i}+{i}?"} for i in (1, 2, 3, 1)])
model_id = "builtin:tiny-qwen2?layers=1&hidden=64"

with Pipeline(name="distill-qwen-7b-r1", description="A pipeline to generate data") as pipeline:
    llm = OpenR1LLM(
        model=model_id,
        tokenizer=model_id,
        extra_kwargs={"tensor_parallel_size": 1, "max_model_len": 8192},
        generation_kwargs={"temperature": 0.6, "max_new_tokens": 6},
        ledger="traces/ledger.jsonl",
    )
    prompt_column = "problem"
    text_generation = TextGeneration(
        llm=llm,
        template=prompt_template,
        num_generations=4,
        input_mappings={"instruction": prompt_column} if prompt_column is not None else {},
    )

if __name__ == "__main__":
    distiset = pipeline.run(dataset=dataset, use_cache=False)
    distiset["default"]["train"].to_json("out.jsonl")
'''


def from_servers(url: str) -> str:
    """The same pipeline, drawing from a running server."""
    return SEEDS_PIPELINE.replace("model=model_id,\n", f"model='', server=['{url}'],\n").replace(
        "tokenizer=model_id,", ""
    )


def run_seeds_pipeline(cli: Cli) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "pipeline.py"],
        cwd=cli.folder,
        env=cli.env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return rows_of(cli.folder / "out.jsonl")


def test_the_seeds_pipeline_with_one_class_changed_and_continued(cli: Cli) -> None:
    cli.env["HOME"] = str(cli.folder)  # distilabel keeps a folder of its own there
    cli.write("pipeline.py", SEEDS_PIPELINE)
    rows = run_seeds_pipeline(cli)
    assert len(rows) == 16
    assert sorted(rows[0]) == ["distilabel_metadata", "generation", "model_name", "problem"]
    assert len({row["generation"] for row in rows}) == 16  # also of the problem that comes twice
    metadata = rows[0]["distilabel_metadata"]
    assert "\\boxed{}" in metadata["raw_input_text_generation_0"][0]["content"]
    statistics = metadata["statistics_text_generation_0"]
    assert statistics["finish_reason"] in ("stop", "length") and 1 <= statistics["output_tokens"] <= 6
    assert statistics["is_reasoning_complete"] is (statistics["finish_reason"] == "stop")
    ledger = cli.folder / "traces" / "ledger.jsonl"
    whole = ledger.read_text()
    assert len(whole.splitlines()) == 16
    assert run_seeds_pipeline(cli) == rows  # all of it from the ledger
    assert ledger.read_text() == whole


def test_the_seeds_pipeline_against_a_server_that_fails_on_one_prompt(cli: Cli) -> None:
    """One prompt is refused: four None of sixteen, where distilabel's own client gives a batch of None."""
    cli.env["HOME"] = str(cli.folder)

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if "3+3" in body["messages"][-1]["content"]:
            return {"status": 400, "body": "not allowed"}
        return {"text": "4", "reasoning": "two and two", "tokens": 7, "finish": "stop"}

    with serving(answer) as server:
        cli.write("pipeline.py", from_servers(server.url))
        rows = run_seeds_pipeline(cli)
        asked = len(server.asked)
        assert run_seeds_pipeline(cli) == rows
        assert len(server.asked) == asked + 4  # what failed is tried again, the rest is in the ledger
    assert sum(row["generation"] is None for row in rows) == 4
    good = rows[0]["distilabel_metadata"]["statistics_text_generation_0"]
    assert rows[0]["generation"] == "<think>\ntwo and two\n</think>\n4"
    assert good["output_tokens"] == 7 and good["finish_reason"] == "stop" and good["is_reasoning_complete"]


@needs_vllm
@pytest.mark.slow
def test_the_seeds_pipeline_in_process_with_vllm(cli: Cli) -> None:
    """What distilabel's own class cannot do with this vLLM; stopped and continued."""
    cli.env |= {"HOME": str(cli.folder), "VLLM_CPU_KVCACHE_SPACE": "1"}
    text = SEEDS_PIPELINE.replace('"max_model_len": 8192', '"max_model_len": 256')
    cli.write("pipeline.py", text.replace("model=model_id,\n", 'model=model_id, backend="vllm",\n', 1))
    rows = run_seeds_pipeline(cli)
    assert len(rows) == 16 and all(row["generation"] for row in rows)
    assert len(rows_of(cli.folder / "traces" / "ledger.jsonl")) == 16
    assert run_seeds_pipeline(cli) == rows


@needs_vllm
@pytest.mark.slow
def test_the_seeds_pipeline_against_a_served_vllm(cli: Cli, model: str) -> None:
    cli.env["HOME"] = str(cli.folder)
    with served(model) as port:
        cli.write("pipeline.py", from_servers(f"http://127.0.0.1:{port}"))
        rows = run_seeds_pipeline(cli)
        assert run_seeds_pipeline(cli) == rows
    assert len(rows) == 16 and all(row["generation"] is not None for row in rows)
    statistics = rows[0]["distilabel_metadata"]["statistics_text_generation_0"]
    assert statistics["output_tokens"] >= 1 and statistics["input_tokens"] > 10


class Sampler:
    """A backend that fails on some prompts, and counts what it is asked."""

    device, fingerprint, context, unit_size = "cpu", "f", None, 4

    def __init__(self) -> None:
        self.asked = 0

    def prompt_lengths(self, requests: Any) -> list[int]:
        return [len(r.messages[0]["content"].split()) for r in requests]

    def close(self) -> None: ...

    def run(
        self, units: Iterable[Unit | None], params: SamplingParams
    ) -> Iterator[tuple[Unit, list[Completion]]]:
        for unit in filter(None, units):
            self.asked += len(unit.requests)
            if any("bad" in r.messages[0]["content"] for r in unit.requests):
                raise ValueError("cannot")
            texts = [f"{r.messages[0]['content']}/{r.row}/{r.index}</think>2" for r in unit.requests]
            yield (
                unit,
                [Completion(t, r.index + 1, "stop", True) for t, r in zip(texts, unit.requests, strict=True)],
            )


@pytest.fixture
def llm(tmp_path: Path) -> OpenR1LLM:
    made = OpenR1LLM(model=MODEL, ledger=str(tmp_path / "ledger.jsonl"))
    LLM.load(made)  # the logger; the model is this test's own
    made._sampler = Sampler()
    return made


def turns(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def test_one_bad_prompt_is_one_none(llm: OpenR1LLM) -> None:
    good, bad, other = llm.generate(turns("a b", "bad", "c"), num_generations=2)
    assert [text.partition("/")[0] for text in good["generations"]] == ["<think>\na b", "<think>\na b"]
    assert [text[-11:] for text in good["generations"]] == ["/0</think>2", "/1</think>2"]
    assert (
        good["statistics"]
        == {
            "input_tokens": [2],
            "output_tokens": [1, 2],  # each its own
            "finish_reason": ["stop", "stop"],
            "is_reasoning_complete": [True, True],
            "ledger_key": [row["key"] for row in rows_of(Path(llm.ledger))[:2]],
        }
    )
    assert bad["generations"] == [None, None]
    assert bad["statistics"]["finish_reason"] == ["error", "error"]
    assert other["generations"][0] is not None
    assert len(rows_of(Path(llm.ledger))) == 4  # what failed is not done


def test_what_is_in_the_ledger_is_not_drawn_again(llm: OpenR1LLM, tmp_path: Path) -> None:
    first = llm.generate(turns("a", "a"), num_generations=2)
    assert first[0]["generations"] != first[1]["generations"]
    again = OpenR1LLM(model=MODEL, ledger=str(tmp_path / "ledger.jsonl"))
    LLM.load(again)
    again._sampler = Sampler()
    assert again.generate(turns("a", "a"), num_generations=2) == first
    assert again._sampler.asked == 0


PROBLEMS = [{"problem": f"{n}+{n}?", "answer": str(2 * n)} for n in (1, 2, 3, 1, 4)]
LATER = ("latency_s", "server")  # what no two runs share


def written(cli: Cli, temperature: int = 1) -> tuple[object, ...]:
    """The problems in a file; the words that sample them."""
    cli.env["HOME"] = str(cli.folder)
    cli.write("d.jsonl", "".join(json.dumps(row) + "\n" for row in PROBLEMS))
    words = ("generate", "--dataset", "d.jsonl", "--num-generations", 3, "--keep", "any", "--threads", 1)
    return (*words, "--max-new-tokens", 6, "--temperature", temperature)


def samples_in(cli: Cli, name: str) -> list[dict[str, Any]]:
    rows = rows_of(cli.folder / "runs" / name / "samples.jsonl")
    for row in rows:
        for told in row["api_metadata"]:
            for key in LATER:
                told.pop(key, None)
    return rows


def by_seed(body: dict[str, Any]) -> dict[str, Any]:
    """A server whose answers are decided by prompt and seed, and which will not have one prompt."""
    asked = body["messages"][-1]["content"]
    if "3+3" in asked:
        return {"status": 400, "body": "not allowed"}
    return {
        "text": f"{asked} {body['seed']}",
        "reasoning": "hm",
        "tokens": body["seed"] % 7,
        "finish": "stop",
    }


@pytest.mark.slow
def test_the_command_returns_the_same_rows_from_a_server_by_way_of_a_pipeline(cli: Cli) -> None:
    """The very same samples, the same failures by name, and one ledger: either engine goes on with it."""
    words, enough = written(cli), ("--max_failed", 0.5)
    with serving(by_seed) as server:
        for engine in ("distilabel", "openr1"):
            said = cli(*words, *enough, "--server", server.url, "--engine", engine, "--run_name", engine).err
            assert "sample 12/15" in said and "tok/s" in said and "ended 12  failed 3" in said
        failed = [rows_of(cli.folder / "runs" / e / "quarantine.jsonl") for e in ("distilabel", "openr1")]
        asked = len(server.asked)
        again = (*words, "--server", server.url, "--engine", "distilabel")
        told = cli(*again, *enough, "--run_name", "distilabel", "--json").json["result"]
        assert told["failed"] == 3 and len(server.asked) == asked + 3  # those that failed
        said = cli(*again, code=7).err
    assert samples_in(cli, "distilabel") == samples_in(cli, "openr1")
    assert [len(row["generations"]) for row in samples_in(cli, "openr1")] == [3, 3, 0, 3, 3]
    theirs, ours = ([(r["key"], r["row"], r["kind"], r["reason"]) for r in rows] for rows in failed)
    assert sorted(theirs) == sorted(ours) and {kind for _, _, kind, _ in ours} == {"refused"}
    assert "3 of 15 samples failed (3 refused)" in " ".join(said.split())


def test_a_pipeline_is_followed_while_it_goes_on_and_ended_when_too_much_fails(tmp_path: Path) -> None:
    """What the step's process writes down is told at once, what it had before is done before it begins."""
    told: list[dict[str, Any]] = []
    run = RunFolder(tmp_path)
    child: Any = SimpleNamespace(
        run=run, stop_asked=False, values={"solution_column": None, "max_failed": 0.5}
    )
    child.events = SimpleNamespace(send=lambda event, **fields: told.append({"event": event, **fields}))
    ledger, quarantine = Ledger(run.samples / "ledger.jsonl", shard_bytes=1), tmp_path / "quarantine.jsonl"

    def drawn(row: int) -> None:
        completion = Completion("2", 5, "stop" if row % 2 else "length")
        ledger.add([{"key": f"{row}", "row": row, "index": 0, "model": "m", **completion.as_dict()}])

    def until(reached: Callable[[], bool]) -> dict[str, Any]:
        end = time.monotonic() + 20
        while not reached():
            assert time.monotonic() < end, told
            time.sleep(0.02)
        return told[-1]

    drawn(0)
    stop = tmp_path / "distilabel" / "stop"
    with Follower(child, stop, [{}] * 40, [], samples=1, in_flight=2):
        drawn(1)
        assert not told
        write_json(stop.with_name("begun"), {"fingerprint": "m"})
        for row in (2, 3):
            drawn(row)
            last = until(lambda row=row: bool(told) and told[-1].get("done") == row + 1)
        assert told[0] == {"event": "start", "total": 40, "done": 1, "unit": "sample"}
        assert (last["tokens"], last["outcomes"]) == (15, {"stop": 2, "length": 1}) and last["seconds"] > 0
        failure = Failure("server error", "no", 3, "s")
        for row in range(10, 25):
            Quarantine(quarantine).add(Request(row, 0, ()), f"{row}", failure)
        until(stop.exists)
    assert told[-1]["outcomes"]["failed"] >= 10
    assert "samples failed" in json.loads(stop.read_text())["what"]


@pytest.mark.slow
def test_a_pipeline_is_stopped_and_goes_on_and_its_errors_end_the_run(cli: Cli) -> None:
    words = (*written(cli), "--engine", "distilabel", "--batch_size", 1, "--run_name", "r")
    ledger = cli.folder / "runs" / "r" / "samples" / "ledger.jsonl"
    with serving(lambda body: {"text": "2", "tokens": 1}, delay=0.5) as server:
        for sent in (signal.SIGINT, signal.SIGKILL):
            process = cli.start(*words, "--server", server.url)
            had = len(rows_of(ledger)) if ledger.exists() else 0

            def stop(parent: subprocess.Popen[str], sent: signal.Signals = sent) -> None:
                parent.send_signal(sent)

            while process.poll() is None and (len(rows_of(ledger)) if ledger.exists() else 0) <= had:
                time.sleep(0.05)
            stop(process)
            _, err = process.communicate(timeout=120)
            assert process.returncode == (130 if sent is signal.SIGINT else -signal.SIGKILL), err
        kept = ledger.read_text()
        assert 2 <= len(kept.splitlines()) < 15
        assert cli(*words, "--server", server.url, "--json").json["result"]["samples"] == 15
    assert ledger.read_text().startswith(kept) and len({row["key"] for row in rows_of(ledger)}) == 15
    gone = cli(*written(cli), "--engine", "distilabel", "--server", "http://127.0.0.1:9", code=5)
    assert "the server does not answer" in " ".join(gone.err.split())


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--processes", 2)], ids=["alone", "two-processes"])
def test_the_command_returns_the_same_rows_with_transformers(cli: Cli, more: tuple[object, ...]) -> None:
    words = (*written(cli, temperature=0), "--model", MODEL, *more)
    for engine in ("distilabel", "openr1"):
        cli(*words, "--engine", engine, "--run_name", engine)
    assert samples_in(cli, "distilabel") == samples_in(cli, "openr1")
    refused = cli(*words, "--engine", "distilabel", "--truncated", "retry", code=3)
    assert "does not draw again" in refused.err


@needs_vllm
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["vllm", "server"])
def test_the_command_returns_the_same_rows_with_vllm(cli: Cli, backend: str) -> None:
    """In process, and served by a vLLM that openr1 starts; every sample has a seed of its own."""
    words = (*written(cli), "--model", MODEL, "--backend", backend, "--max_model_length", 128)
    for engine in ("distilabel", "openr1"):
        cli(*words, "--dtype", "float32", "--engine", engine, "--run_name", engine)
    theirs, ours = (samples_in(cli, engine) for engine in ("distilabel", "openr1"))
    for row in (*theirs, *ours):
        for told in row["api_metadata"]:
            told.pop("request_id", None)
    assert theirs == ours and all(len(row["generations"]) == 3 for row in ours)
