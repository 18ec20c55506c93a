"""`openr1 eval` and `openr1 generate` for real, on local files, with samples that survive a kill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openr1.evaluation.protocol import protocol_id
from openr1.evaluation.score import score_rows
from openr1.sampling.ledger import Ledger
from openr1.sampling.requests import Request, SamplingParams
from tests.conftest import Cli, only_run, rows_of

MODEL = ("--model", "builtin:tiny-qwen2?layers=1&hidden=64", "--threads", 1)
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


def test_local_files_of_both_tasks_with_several_samples(cli: Cli) -> None:
    cli.write("math.jsonl", jsonl(MATH))
    done = cli(
        "eval",
        "math_500",
        *MODEL,
        "--dataset",
        "math.jsonl",
        "--max_new_tokens",
        8,
        "--num_samples",
        3,
        "--json",
    )
    (score,) = done.json["result"]["scores"]
    assert (score["problems"], score["samples"]) == (3, 3)
    assert score["interval_method"] == "bootstrap over problems"
    assert score["other_run"] is not None
    assert score["protocol"] == "quick-v1 num_samples=3 max_new_tokens=8"
    run = only_run(cli, "eval-*")
    rows = rows_of(next((run / "samples").glob("*math_500.jsonl")))
    assert [(r["row"], r["index"]) for r in rows] == [(i, j) for i in range(3) for j in range(3)]
    assert len({r["text"] for r in rows if r["row"] == 0}) > 1  # samples differ
    assert rows[6]["problem"] == MATH[2]["problem"]


def test_gsm8k_gold_is_what_stands_behind_the_hashes(cli: Cli) -> None:
    cli.write("gsm.jsonl", jsonl(GSM))
    done = cli("eval", "gsm8k", *MODEL, "--dataset", "gsm.jsonl", "--max_new_tokens", 4, "--temperature", 0)
    assert "2 problems; the published gsm8k has 1,319" in done.err
    rows = rows_of(next((only_run(cli, "eval-*") / "samples").glob("*gsm8k.jsonl")))
    assert [r["gold"] for r in rows] == ["4", "1000"]


def test_finished_samples_are_kept_and_the_rest_comes_out_the_same(cli: Cli) -> None:
    words = ("eval", "builtin:chain-sum", *MODEL, "--limit", 12, "--batch_size", 4, "--max_new_tokens", 6)
    cli(*words)
    run = only_run(cli, "eval-*")
    ledger = run / "samples" / "ledger.jsonl"
    whole = rows_of(ledger)
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(lines[:6]) + lines[6][:20])  # killed in the middle of a line
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"state": "running"}))
    cli(*words)
    assert sorted(map(str, rows_of(ledger))) == sorted(map(str, whole))


def test_a_context_that_is_too_short_is_said_and_changes_the_protocol(cli: Cli) -> None:
    done = cli("eval", "builtin:chain-sum", *MODEL, "--limit", 2, "--max_new_tokens", 600, "--batch_size", 2)
    assert "limited to" in done.err
    assert "max_new_tokens=4" in done.out  # four hundred and something


def test_generate_keeps_the_rows_and_adds_completions(cli: Cli) -> None:
    cli.write("d.jsonl", jsonl([{"problem": f"p{i}", "extra": str(i)} for i in range(3)]))
    done = cli(
        "generate", *MODEL, "--dataset", "d.jsonl", "--num_generations", 2, "--max_new_tokens", 5, "--json"
    )
    rows = rows_of(Path(cli.folder / done.json["result"]["file"]))
    assert [r["extra"] for r in rows] == ["0", "1", "2"]
    assert all(len(r["generations"]) == len(r["finish_reasons"]) == 2 for r in rows)
    assert done.json["result"]["samples"] == 6


def test_protocol_ids_name_what_differs() -> None:
    base = {
        "protocol": "quick",
        "num_samples": 1,
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": None,
        "max_new_tokens": 4096,
        "system_prompt": None,
    }
    assert protocol_id(base, 4096) == "quick-v1"
    assert protocol_id(base, 100) == "quick-v1 max_new_tokens=100"
    assert protocol_id(base | {"temperature": 0.0, "top_p": 1.0}, 4096) == "quick-v1 temperature=0"
    assert protocol_id(base | {"temperature": 0.25, "system_prompt": "x"}, 4096) == (
        "quick-v1 temperature=0.25 system_prompt"
    )
    assert protocol_id(base | {"max_new_tokens": 1_234_567}, 1_234_567).endswith("max_new_tokens=1234567")


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
    assert again.done == {"a", "b", "c"}
    again.add([{"key": "d"}])
    assert [r["key"] for r in again.rows()] == ["a", "b", "c", "d"]


def test_a_key_names_prompt_model_and_sampling() -> None:
    params = SamplingParams(0.6, 0.95, None, 10, 0)
    one = Request(0, 0, ({"role": "user", "content": "x"},))
    keys = {
        one.key("m", params),
        one.key("other", params),
        one.key("m", SamplingParams(0.7, 0.95, None, 10, 0)),
        Request(0, 1, one.messages).key("m", params),
        Request(0, 0, ({"role": "user", "content": "y"},)).key("m", params),
    }
    assert len(keys) == 5
    assert one.key("m", params) == one.key("m", params)
