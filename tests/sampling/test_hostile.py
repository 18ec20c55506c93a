"""Servers at their worst: every sample ends in the ledger or, by name, in the quarantine; none twice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from openr1.errors import ComponentFailed
from openr1.sampling.answers import TooLong, retry_after
from openr1.sampling.draw import Tally, stream
from openr1.sampling.fleet import Patience
from openr1.sampling.ledger import Ledger
from openr1.sampling.requests import Completion, Failure, Request, SamplingParams, Unit
from openr1.sampling.server_backend import ServerSampler
from tests.sampling.fake_server import serving
from tests.sampling.hostile_server import ILLS, Hostile, hostile

PARAMS = SamplingParams(0.6, 0.95, None, 60, 7)
FAST = Patience().scaled(0.02)


def asked(*prompts: str) -> list[Request]:
    return [Request(n, 0, ({"role": "user", "content": p},)) for n, p in enumerate(prompts)]


def drawn(
    urls: list[str], requests: list[Request], folder: Path, patience: Patience = FAST, timeout: float = 0.5
) -> dict[int, Completion | Failure]:
    sampler = ServerSampler(urls, None, timeout_s=timeout, patience=patience)
    ledger = Ledger(folder / "ledger.jsonl")
    found: dict[int, Completion | Failure] = {}
    try:
        for outcomes in stream(sampler, requests, PARAMS, ledger, Tally()):
            for request, key, outcome in outcomes:
                assert request.row not in found
                assert isinstance(outcome, Completion) is (key in ledger)
                found[request.row] = outcome
    finally:
        sampler.close()
        ledger.close()
    return found


@pytest.mark.parametrize("ill", ILLS)
def test_every_ill_passes_and_is_named_when_it_does_not(ill: str, tmp_path: Path) -> None:
    often = ill in ("fine", "too-long")
    prompts = [f"0 {ill} 2", *(f"{n} fine 0" for n in range(1, 6)), *([] if often else [f"6 {ill} never"])]
    patience = replace(FAST, told_to_wait_s=0.7, attempts=4)
    with hostile() as server:
        found = drawn([server.url], asked(*prompts), tmp_path, patience)
    assert len(found) == len(prompts)
    for n in range(6):
        completion = found[n]
        assert isinstance(completion, Completion), completion
        assert (completion.text, completion.tokens, completion.prompt_tokens) == (f"re {n}", 3, 5)
        assert completion.server == server.url and completion.request_id == f"x-re {n}"
    if not often:
        failure = found[6]
        assert isinstance(failure, Failure)
        kinds = {"error500": "server error", "busy429": "rate limited", "hang": "timeout", "drip": "timeout"}
        kinds |= {"reset": "connection", "truncated": "connection"}
        assert failure.kind == kinds.get(ill, "bad answer")
        assert failure.attempts >= 4
    if ill == "too-long":
        first = found[0]
        assert isinstance(first, Completion) and first.limit == 54  # 64 less the prompt's 10
        assert server.limits[prompts[0]] == [60, 54]


def test_a_refused_prompt_is_one_named_failure(tmp_path: Path) -> None:
    with hostile() as server:
        found = drawn([server.url], asked("0 fine 0", "1 refused never", "2 fine 0"), tmp_path)
    failure = found.pop(1)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.status, failure.attempts) == ("refused", 400, 1)
    assert "not allowed" in failure.reason
    assert all(isinstance(outcome, Completion) for outcome in found.values())


def test_retry_after_is_kept_to(tmp_path: Path) -> None:
    with hostile() as server:
        begun = time.monotonic()
        drawn([server.url], asked("0 busy429 3"), tmp_path)
    assert time.monotonic() - begun >= 0.6  # three times 0.2 s; our own pauses are 0.01 s
    assert retry_after("3") == 3.0
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after("soon") is None


def test_a_server_that_is_dead_for_a_while_fails_nothing(tmp_path: Path) -> None:
    """Longer than all attempts of a sample take together: who waits for a server is not charged for it."""

    def die(server: Hostile) -> None:
        if sum(server.attempts.values()) == 20:
            server.dead = True

    with hostile() as server:
        server.on_request = die
        sampler = ServerSampler([server.url], None, per_server=8, timeout_s=5, patience=FAST)
        ledger, tally = Ledger(tmp_path / "l.jsonl"), Tally()
        begun = 0.0
        for _ in stream(sampler, asked(*(f"{n} fine 0" for n in range(60))), PARAMS, ledger, tally):
            if server.dead and not begun:
                begun = time.monotonic()

                def revive(at: Hostile = server) -> None:
                    at.dead = False

                sampler._loop.call_later(1.5, revive)
        sampler.close()
    assert (tally.drawn, tally.failed, len(ledger)) == (60, 0, 60)
    assert max(server.answered.values()) == 1


def test_servers_that_stay_dead_end_the_run_and_nothing_is_lost(tmp_path: Path) -> None:
    with hostile() as server:
        sampler = ServerSampler([server.url], None, per_server=4, timeout_s=5, patience=FAST)
        sampler.fleet.wait_for_servers(0.3)
        ledger, tally = Ledger(tmp_path / "l.jsonl"), Tally()
        with pytest.raises(ComponentFailed, match="no server has answered for 0 seconds"):
            for _ in stream(sampler, asked(*(f"{n} fine 0" for n in range(40))), PARAMS, ledger, tally):
                server.dead = tally.drawn >= 10
        sampler.close()
    assert 10 <= tally.drawn < 40 and tally.failed == 0
    assert len(Ledger(tmp_path / "l.jsonl")) == tally.drawn


def test_a_server_that_hangs_is_left_and_its_requests_go_elsewhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its counter stands still and its probe gives no token; the timeout of a completion is an hour."""
    with hostile() as good, serving(lambda body: {"silent": True}) as stuck:
        found = drawn(
            [stuck.url, good.url], asked(*(f"{n} fine 0" for n in range(20))), tmp_path, timeout=3600
        )
        assert all(isinstance(outcome, Completion) for outcome in found.values()) and len(found) == 20
        assert stuck.asked and stuck.probes
    assert f"{stuck.url} is set aside: it hangs" in caplog.text


def test_long_answers_of_a_server_whose_counter_rises_are_waited_for(tmp_path: Path) -> None:
    with hostile(delay=1.5, counter=0) as server:
        patience = replace(FAST, look_s=0.05, dead_looks=1)
        found = drawn([server.url], asked("0 fine 0", "1 fine 0"), tmp_path, patience, timeout=60)
    assert len(found) == 2 and max(server.attempts.values()) == 1


def test_a_server_that_is_absent_at_the_start_is_taken_in_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with hostile() as good:
        found = drawn(["http://127.0.0.1:9", good.url], asked("0 fine 0"), tmp_path)
    assert isinstance(found[0], Completion)
    assert "the others are asked until it does" in caplog.text


SGLANG = (
    "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total "
    "of 5000 tokens: 1000 tokens from the input messages and 4000 tokens for the completion."
)
MAXIMUM = "This model's maximum context length is 4096 tokens"


@pytest.mark.parametrize(
    ("said", "room"),
    [
        (
            f"{MAXIMUM}. However, you requested 5000 tokens (1000 in the messages, 4000 in the completion)",
            3096,
        ),
        (f"{MAXIMUM} and your request has 4000 input tokens (200 > 4096 - 4000)", 96),
        (f"{MAXIMUM}. However, your prompt contains at least 4097 input tokens, which exceeds this", -1),
        (SGLANG, 3096),
        ("max_tokens=9000 cannot be greater than max_model_len=4096. Please request fewer.", None),
    ],
)
def test_what_servers_say_about_lengths(said: str, room: int | None) -> None:
    assert TooLong(400, said).room == room


class Slow:
    """A sampler that keeps 8 requests and finishes the newest first."""

    device, fingerprint, context, unit_size = "cpu", "f", None, 1

    def run(
        self, units: Iterable[Unit | None], params: SamplingParams
    ) -> Iterator[tuple[Unit, list[Completion]]]:
        held: list[Unit] = []
        for unit in units:
            assert unit
            held.append(unit)
            if len(held) == 8:
                yield held.pop(), [Completion("x", 1, "stop")]
        for unit in held:
            yield unit, [Completion("x", 1, "stop")]

    def prompt_lengths(self, requests: object) -> list[int]:
        return []

    def close(self) -> None: ...


def test_requests_are_pulled_as_places_become_free_and_a_stop_drains(tmp_path: Path) -> None:
    pulled = 0

    def endless() -> Iterator[Request]:
        nonlocal pulled
        while True:
            pulled += 1
            yield Request(pulled, 0, ())

    ledger, tally = Ledger(tmp_path / "l.jsonl"), Tally()
    for _ in stream(Slow(), endless(), PARAMS, ledger, tally, stopped=lambda: tally.drawn >= 100):
        assert pulled - tally.drawn <= 9
    assert tally.drawn == len(ledger) == 107  # those in flight were drawn to their end
