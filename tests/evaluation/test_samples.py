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
    assert "2 of 2 shown; in all 2 right, 1 wrong, 1 truncated" in out
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
    assert "did you mean eval-1" in cli("samples", "eval-2", code=2).err
    assert "did you mean truncated" in cli("samples", run, "--verdict", "truncate", code=2).err
    assert "no samples of `gsm8k`" in cli("samples", run, "--of", "gsm8k", code=2).err
    cli.write("runs/empty/manifest.json", "{}")
    assert "holds no samples" in cli("samples", "empty", code=2).err
