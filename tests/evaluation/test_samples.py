"""`openr1 samples`: what a person sees of a run, and that a model's text cannot touch the terminal."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Cli
from tests.evaluation.in_process import write_rows

EVIL = "\x1b[2J\x1b]0;owned\x07 right \u202e gnol \r\nsecond line\ttabbed \x08\x9b31m"


def answer(row: int, verdict: str, text: str = "The answer is 4.", **more: object) -> dict[str, object]:
    return {
        "row": row,
        "index": 0,
        "problem": f"2+{row}?",
        "gold": str(2 + row),
        "extracted": "4",
        "verdict": verdict,
        "reason": "same",
        "text": text,
        "tokens": 7,
        "finish_reason": "length" if verdict == "truncated" else "stop",
        **more,
    }


@pytest.fixture
def run(cli: Cli) -> str:
    found = [
        answer(0, "right"),
        answer(1, "wrong", EVIL),
        answer(2, "truncated", "x" * 5000),
        answer(3, "right"),
    ]
    write_rows(cli.folder / "runs" / "eval-1" / "samples" / "m-math_500.jsonl", found)
    write_rows(cli.folder / "runs" / "eval-1" / "samples" / "ledger.jsonl", [{"key": "a", "text": "raw"}])
    cli.write("runs/pipe/sft-1/manifest.json", "{}")
    completion = {
        "step": 3,
        "prompt": "P?",
        "completion": "C!",
        "rewards": {"accuracy": 1.0},
        "advantage": 0.1,
    }
    write_rows(cli.folder / "runs" / "pipe" / "sft-1" / "samples" / "completions.jsonl", [completion])
    generated = {
        "problem": "G?",
        "answer": "5",
        "generations": ["a", "b"],
        "finish_reasons": ["stop", "length"],
    }
    write_rows(cli.folder / "runs" / "gen" / "samples.jsonl", [generated | {"tokens": [1, 2]}])
    return "eval-1"


def test_what_was_wrong(cli: Cli, run: str) -> None:
    out = cli("samples", run, "--wrong").out
    assert "problem    2+1?" in out
    assert "gold       3" in out
    assert "verdict    wrong (same)" in out
    assert "cut off" in out
    assert "2 shown of 2 that match, of 4" in out
    assert "samples/m-math_500.jsonl: 4 = 2 right, 1 wrong, 1 truncated" in out
    assert "raw" not in out
    assert "characters (--full shows them)" in out
    assert "x" * 100 in cli("samples", run, "--verdict", "truncated", "--full").out


def test_escapes_do_nothing(cli: Cli, run: str) -> None:
    out = cli("samples", run, "--row", 1).out
    for bad in ("\x1b", "\x07", "\u202e", "\x08", "\x9b"):
        assert bad not in out
    assert "second line\ttabbed" in out.replace("    tabbed", "\ttabbed") or "second line" in out
    assert json.loads(cli("samples", run, "--row", 1, "--json").out)["samples"][0]["text"] == EVIL


def test_other_kinds_of_runs_and_mistakes(cli: Cli, run: str) -> None:
    grpo = cli("samples", "pipe").out
    assert "P?" in grpo and "C!" in grpo and "accuracy 1" in grpo
    both = cli("samples", "runs/gen", "--json").json["samples"]
    assert [(s["text"], s["finish_reason"]) for s in both] == [("a", "stop"), ("b", "length")]
    assert cli("samples", "runs/gen", "--json").json["verdicts"] == {"not judged": 2}
    judged = {"row": 0, "verdicts": ["right", "truncated"], "extracted": ["5", None], "rewards": []}
    write_rows(cli.folder / "runs" / "gen" / "verdicts.jsonl", [judged])
    (cut,) = cli("samples", "runs/gen", "--wrong", "--json").json["samples"]
    assert (cut["index"], cut["verdict"]) == (1, "truncated")
    assert "1 right, 1 truncated" in cli("samples", "runs/gen").out


def test_all_answers_to_one_problem(cli: Cli, run: str) -> None:
    """All of them, however many, and no logged completion of GRPO, whose problems have no number."""
    rows = [answer(0, "right", index=n) for n in range(7)] + [answer(1, "wrong")]
    write_rows(cli.folder / "runs" / "pipe" / "eval" / "samples" / "m-t.jsonl", rows)
    cli.write("runs/pipe/eval/manifest.json", "{}")
    asked = cli("samples", "pipe", "--row", 0, "--json").json
    assert [s["index"] for s in asked["samples"]] == list(range(7))
    assert len(cli("samples", "pipe", "--row", 0, "-n", 2, "--json").json["samples"]) == 2
    assert "step 3" in cli("samples", "pipe", "--of", "completions").out
    assert "did you mean eval-1" in cli("samples", "eval-2", code=2).err
    assert "did you mean truncated" in cli("samples", run, "--verdict", "truncate", code=2).err
    assert "no samples of `gsm8k`" in cli("samples", run, "--of", "gsm8k", code=2).err
    cli.write("runs/empty/manifest.json", "{}")
    assert "holds no samples" in cli("samples", "empty", code=2).err


def test_the_last_model_comes_first_and_counts_add_up(cli: Cli, run: str) -> None:
    files = {name: f"samples/{name}-t.jsonl" for name in ("base", "sft", "a-grpo")}
    for name, file in files.items():
        write_rows(cli.folder / "runs/eval-2" / file, [answer(0, "right", f"by {name}"), answer(1, "wrong")])
    scores = [{"samples_file": file} for file in files.values()]
    manifest = {"format": 1, "state": "finished", "result": {"scores": scores}}
    cli.write("runs/eval-2/manifest.json", json.dumps(manifest))
    found = cli("samples", "eval-2", "--json").json
    assert found["samples"][0]["text"] == "by a-grpo"
    assert list(found["files"]) == ["samples/a-grpo-t.jsonl", "samples/sft-t.jsonl", "samples/base-t.jsonl"]
    assert found["total"] == found["matching"] == 6 == sum(found["verdicts"].values())
    grpo = cli("samples", "pipe", "--json").json
    assert (grpo["total"], grpo["verdicts"]) == (1, {"right": 1})


def test_without_a_name_the_newest_run_is_taken_and_said(cli: Cli, run: str) -> None:
    cli.write("runs/eval-3/samples/m-t.jsonl", "")
    write_rows(cli.folder / "runs/eval-3/samples/m-t.jsonl", [answer(0, "right", "the newest")])
    later = {"format": 1, "state": "finished", "created": "2099-01-01T00:00:00+00:00"}
    cli.write("runs/eval-3/manifest.json", json.dumps(later))
    cli.write("runs/sft-9/manifest.json", json.dumps(later | {"created": "2100-01-01T00:00:00+00:00"}))
    done = cli("samples")
    assert "the newest" in done.out and "taking the newest, runs/eval-3" in done.err
    assert "taking the newest, runs/sft-9" in cli("report").err  # it holds no samples, but it is a run
    assert "no run is here" in cli("report", code=2, OPENR1_RUNS_DIR="nowhere").err
    assert "no run holds samples" in cli("samples", code=2, OPENR1_RUNS_DIR="nowhere").err
