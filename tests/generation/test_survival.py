"""`openr1 generate` against a hostile server, killed, stopped, and with too much failing: nothing is lost."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, only_run, rows_of, small_disk
from tests.sampling.fake_server import serving
from tests.sampling.hostile_server import ILLS, Hostile, hostile

TIMES = 2  # samples per problem


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def problems(rounds: int) -> list[str]:
    """Every ill, some more than once; two that never pass."""
    found = [f"{n} {ILLS[n % len(ILLS)]} {1 + n // len(ILLS) % 2}" for n in range(rounds * len(ILLS))]
    return [*found, f"{len(found)} error500 never", f"{len(found) + 1} refused never"]


def command(server: Hostile, times: int, *more: object) -> tuple[object, ...]:
    words = ("generate", "--dataset", "d.jsonl", "--server", server.url, "--num-generations", times)
    words = (*words, "--server_timeout", 1.5, "--max_new_tokens", 60, "--batch_size", 8)
    return (*words, "--max_failed", 0.2, *more)


def dies_for_a_while(server: Hostile) -> None:
    """Once, and for longer than a retry waits."""
    count = sum(server.attempts.values())
    if count == 20 and not server.dead:
        server.dead = True
        import threading

        threading.Timer(2.0, lambda: setattr(server, "dead", False)).start()


def survives(cli: Cli, kills: int, rounds: int, seed: int) -> None:
    prompts = problems(rounds)
    cli.write("d.jsonl", jsonl([{"problem": p} for p in prompts]))
    rng = random.Random(seed)
    kept: list[str] = []
    with hostile(delay=0.05) as server:
        server.on_request = dies_for_a_while
        for number in range(kills):
            process = cli.start(*command(server, TIMES))
            before = len(kept)
            while process.poll() is None and len(lines(cli)) <= before:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 1.2))
            if number % 3 == 1:
                cli.kill_children(process)
            process.kill()
            process.communicate(timeout=60)
            finished = lines(cli)
            assert finished[: len(kept)] == kept
            kept = finished
        done = cli(*command(server, TIMES), "--json").json["result"]
    run = only_run(cli, "*")
    ledger, failed = rows_of(run / "samples" / "ledger.jsonl"), rows_of(run / "quarantine.jsonl")
    everything = {(row, index) for row in range(len(prompts)) for index in range(TIMES)}
    had, named = [(r["row"], r["index"]) for r in ledger], [(r["row"], r["index"]) for r in failed]
    assert len(had) == len(set(had)) and len(named) == len(set(named))
    assert set(had) | set(named) == everything and not set(had) & set(named)
    assert sorted({(r["row"] - len(prompts), r["kind"]) for r in failed}) == [
        (-2, "server error"),
        (-1, "refused"),
    ]
    assert all(r["text"] == f"re {prompts[r['row']].split()[0]}" for r in ledger)
    assert (done["failed"], done["samples"]) == (2 * TIMES, len(ledger))
    rows = rows_of(run / "samples.jsonl")
    assert [len(row["generations"]) for row in rows] == [TIMES] * (len(prompts) - 2) + [0, 0]


def lines(cli: Cli) -> list[str]:
    """The whole lines of the ledger."""
    found = list(cli.folder.glob("runs/*/samples/ledger.jsonl"))
    text = found[0].read_text().splitlines(keepends=True) if found else []
    return [line for line in text if line.endswith("\n")]


def test_kill_9_among_failures_loses_and_repeats_nothing(cli: Cli) -> None:
    survives(cli, kills=1, rounds=1, seed=1)


@pytest.mark.slow
def test_ten_kills_among_failures_lose_and_repeat_nothing(cli: Cli) -> None:
    survives(cli, kills=10, rounds=8, seed=2)


def test_ctrl_c_once_drains_and_twice_stops(cli: Cli) -> None:
    cli.write("d.jsonl", jsonl([{"problem": f"{n} fine 0"} for n in range(40)]))
    with hostile(delay=0.5) as server:
        words = command(server, 1)
        process = cli.start(*words)
        cli.when(process, "runs/*/samples/ledger.jsonl", "key", lambda p: p.send_signal(signal.SIGINT))
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and "finishing what is in flight" in err
        assert "the same command continues" in " ".join(err.split())
        asked = sum(server.attempts.values())
        assert 8 <= asked < 40
        assert len(lines(cli)) == asked  # what was in flight is there
        assert not (only_run(cli, "*") / "samples.jsonl").exists()

        server.delay = 30.0
        process = cli.start(*words)
        while process.poll() is None and sum(server.attempts.values()) == asked:
            time.sleep(0.01)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130 and time.monotonic() - begun < 25
        server.delay = 0.0
        assert cli(*words, "--json").json["result"]["samples"] == 40
    assert max(server.answered.values()) <= 2 and len(lines(cli)) == 40


def test_failed_is_not_done_and_the_same_command_tries_again(cli: Cli) -> None:
    cli.write("d.jsonl", jsonl([{"problem": f"{n}", "answer": str(n)} for n in range(12)]))
    broken = [True]

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        text = str(body["messages"][-1]["content"])
        if broken[0] and text == "3":
            return {"status": 400, "body": "not allowed"}
        return {"text": f"\\boxed{{{text}}}", "tokens": 2}

    with serving(answer) as server:
        words = ("generate", "--dataset", "d.jsonl", "--server", server.url, "--num-generations", 2)
        first = cli(*words)
        run = only_run(cli, "*")
        assert "2 samples failed (2 refused)" in " ".join(first.err.split())
        assert "quarantine.jsonl says why" in " ".join(first.out.split())
        (one, two) = rows_of(run / "quarantine.jsonl")
        assert (one["row"], one["kind"], one["status"]) == (3, "refused", 400) and two["index"] == 1
        assert len(rows_of(run / "verdicts.jsonl")[3]["verdicts"]) == 0
        asked = len(server.asked)
        broken[0] = False
        second = cli(*words, "--json").json
        assert len(server.asked) == asked + 2
        assert second["result"]["samples"] == 24 and second["result"]["failed"] == 0
        assert second["result"]["verdicts"] == {"right": 24}
        assert not (run / "quarantine.jsonl").exists()
        assert cli(*words, "--json").json["was_finished"]


def test_too_many_failures_end_the_run_and_it_can_be_continued(cli: Cli) -> None:
    cli.write("d.jsonl", jsonl([{"problem": f"{n}"} for n in range(60)]))
    broken = [True]

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        text = str(body["messages"][-1]["content"])
        if broken[0] and int(text) >= 20:
            return {"status": 422, "body": "not allowed"}
        return {"text": "x", "tokens": 1}

    with serving(answer) as server:
        words = ("generate", "--dataset", "d.jsonl", "--server", server.url, "--batch_size", 4)
        stopped = cli(*words, code=7)
        said = " ".join(stopped.err.split())
        assert "samples failed (" in said and "refused)" in said and "--max_failed SHARE allows more" in said
        assert 20 <= len(server.asked) < 60
        assert len(lines(cli)) == 20
        broken[0] = False
        assert cli(*words, "--json").json["result"]["samples"] == 60
    assert len(list(cli.folder.glob("runs/*"))) == 1


def test_what_is_refused_altogether_is_the_commands_fault(cli: Cli) -> None:
    cli.write("d.jsonl", jsonl([{"problem": f"{n}"} for n in range(20)]))
    with serving(lambda body: {"status": 400, "body": "unknown parameter top_k"}) as server:
        done = cli("generate", "--dataset", "d.jsonl", "--server", server.url, "--top_k", 5, code=3)
    assert "unknown parameter top_k" in " ".join(done.err.split())
    assert len(server.asked) < 80


@pytest.mark.slow
def test_a_server_that_dies_for_good(cli: Cli) -> None:
    cli.write("d.jsonl", jsonl([{"problem": f"{n} fine 0"} for n in range(30)]))
    with hostile(delay=0.02) as server:
        server.on_request = lambda here: setattr(here, "dead", sum(here.attempts.values()) >= 16)
        words = command(server, 1, "--server_patience", 1)
        done = cli(*words, code=7)
        assert "no server has answered for 1 seconds" in " ".join(done.err.split())
        assert "the same command continues" in " ".join(done.err.split())
        kept = len(lines(cli))
        server.on_request, server.dead = None, False
        assert cli(*words, "--json").json["result"]["samples"] == 30
    assert kept >= 1 and len(lines(cli)) == 30


def test_progress_says_how_it_stands(cli: Cli) -> None:
    cli.write("d.jsonl", jsonl([{"problem": f"{n}", "answer": str(n % 2)} for n in range(60)]))

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        number = int(body["messages"][-1]["content"])
        if number == 7:
            return {"status": 400, "body": "no"}
        return {"text": "\\boxed{1}", "tokens": 5, "finish": "length" if number % 10 == 0 else "stop"}

    with serving(answer, delay=0.15) as server:
        done = cli("generate", "--dataset", "d.jsonl", "--server", server.url, "--batch_size", 2)
    said = " ".join(done.err.split())
    assert "sample 59/60" in said
    assert "ended 53 cut off 6 failed 1" in said
    assert "tok/s" in said and "right 0." in said


@pytest.mark.slow
def test_a_full_disk_while_sampling(cli: Cli) -> None:
    """The ledger itself does not fit; what is in it stays whole."""
    with small_disk(cli.folder / "runs", 1) as make_room:
        cli.write("d.jsonl", jsonl([{"problem": f"{n}"} for n in range(300)]))
        with serving(lambda body: {"text": "x" * 5_000, "tokens": 9}) as server:
            words = ("generate", "--dataset", "d.jsonl", "--server", server.url, "--batch_size", 4)
            done = cli(*words, code=5)
            assert "disk is full" in done.err
            kept = lines(cli)
            assert 50 < len(kept) < 300
            make_room()
            assert cli(*words, "--json").json["result"]["samples"] == 300
            assert lines(cli)[: len(kept)] == kept and len(lines(cli)) == 300
            assert len(server.asked) <= 300 + 8


@pytest.mark.parametrize(
    ("rows", "words", "code", "said"),
    [
        ("", (), 3, "is empty"),
        ('{"problem": "a"}\n', ("--server", "http://127.0.0.1:9"), 5, "the server does not answer"),
    ],
)
def test_bad_input_is_one_message(cli: Cli, rows: str, words: tuple[str, ...], code: int, said: str) -> None:
    path: Path = cli.write("d.jsonl", rows)
    done = cli("generate", "--dataset", path.name, *(words or ("--model", "builtin:tiny-qwen2")), code=code)
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err
