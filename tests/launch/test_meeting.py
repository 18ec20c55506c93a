"""Nodes meet: who comes, who does not, who dies, and how everybody goes home."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from openr1.errors import ComponentFailed, EnvironmentProblem, Interrupted, OpenR1Error
from openr1.launch import meeting
from openr1.launch.command import free_port
from openr1.launch.line import Line
from openr1.launch.meeting import First


def nothing() -> None:
    return None


def come(port: int, node: int, run: str = "r") -> Line:
    return meeting.join(("127.0.0.1", port), node, run, 4000 + node, nothing)


def together(count: int) -> tuple[First, list[Line]]:
    port = free_port()
    first = First("10.0.0.1", port, range(1, count), "r")
    lines = [come(port, node) for node in range(1, count)]
    first.gather(nothing)
    return first, lines


def test_everybody_hears_where_everybody_is_and_how_it_ended() -> None:
    first, lines = together(3)
    said = first.tell(4000)
    assert said == {"addresses": ["10.0.0.1", "127.0.0.1", "127.0.0.1"], "ports": [4000, 4001, 4002]}
    assert [line.receive(5.0) for line in lines] == [said, said]
    assert lines[0].receive(0.0) is None
    lines[1].send({"ready": [8001, 8002]})
    lines[0].send({"ready": [8000]})
    first.wait_until_ready(nothing)
    assert first.urls == ["http://127.0.0.1:8000", "http://127.0.0.1:8001", "http://127.0.0.1:8002"]
    assert first.problem() is None
    first.close(None)
    assert [line.receive(5.0) for line in lines] == [{"end": None}, {"end": None}]


def test_a_node_that_dies_or_fails_is_named() -> None:
    first, (one, two) = together(3)
    two.send({"error": ComponentFailed("its vLLM ended", fix="look").as_dict()})
    with pytest.raises(ComponentFailed, match="node 2: its vLLM ended"):
        first.wait_until_ready(nothing)
    one.close()
    found = first.problem()
    assert isinstance(found, ComponentFailed) and "node 1 is gone" in found.what
    first.close(found)
    said = two.receive(5.0)
    assert said is not None and said["end"]["what"] == found.what


def test_a_node_that_was_stopped_has_not_failed() -> None:
    first, (one,) = together(2)
    one.send({"error": Interrupted("stopped").as_dict()})
    with pytest.raises(Interrupted):
        first.wait_until_ready(nothing)
    first.close(Interrupted("stopped"))


@pytest.mark.parametrize(
    ("error", "code", "what"),
    [
        (None, None, None),
        (Interrupted("stopped"), 130, "stopped"),
        (ComponentFailed("died"), 7, "died"),
        (RuntimeError("a bug"), 7, "it ended without a word"),
    ],
)
def test_however_it_ends_the_others_hear_it(
    error: Exception | None, code: int | None, what: str | None
) -> None:
    port = free_port()
    heard: list[Any] = []

    def other() -> None:
        line = come(port, 1)
        while (message := line.receive(5.0)) is not None and "end" not in message:
            pass
        heard.append(message)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        with meeting.first("127.0.0.1", port, [1], "r") as first:
            first.gather(nothing)
            first.tell(1)
            if error is not None:
                raise error
    except (OpenR1Error, RuntimeError) as caught:
        assert caught is error
    thread.join(10)
    (message,) = heard
    end = message["end"]
    assert end is None if error is None else (end["code"], end["what"]) == (code, what)


def test_strangers_are_sent_away_and_the_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENR1_MEETING_SECONDS", "2")
    port = free_port()
    first = First("127.0.0.1", port, [1, 2], "r")
    own, stranger, twice = come(port, 2), come(port, 7), come(port, 2)
    noise = socket.create_connection(("127.0.0.1", port))
    noise.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(EnvironmentProblem, match="node 1 did not come up within 2 s"):
        first.gather(nothing)
    for line in (stranger, twice):
        said = line.receive(5.0)
        assert said is not None and "does not wait for this one" in said["end"]["what"]
    assert own.receive(0.0) is None
    first.close(ComponentFailed("over"))


def test_another_configuration_ends_both() -> None:
    port = free_port()
    with pytest.raises(EnvironmentProblem), meeting.first("127.0.0.1", port, [1], "r") as there:
        line = come(port, 1, run="another")
        there.gather(nothing)
    said = line.receive(5.0)
    assert said is not None and "node 1 was started for another configuration" in said["end"]["what"]


def test_no_first_node_and_a_port_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENR1_MEETING_SECONDS", "0.5")
    with pytest.raises(ComponentFailed, match="the first node cannot be reached"):
        come(free_port(), 1)
    first, _ = together(2)
    with pytest.raises(EnvironmentProblem, match="cannot be used here"):
        First("127.0.0.1", first._listening.getsockname()[1], [1], "r")
    first.close(None)


def test_a_stop_is_heard_while_nobody_comes() -> None:
    begun = time.monotonic()

    def stop() -> None:
        if time.monotonic() - begun > 0.3:
            raise Interrupted("stopped")

    first = First("127.0.0.1", free_port(), [1], "r")
    waits: list[Callable[[], object]] = [lambda: first.gather(stop)]
    for wait in waits:
        with pytest.raises(Interrupted):
            wait()
    first.close(Interrupted("stopped"))
