"""Nodes meet: who comes, who does not, who dies, and how everybody goes home."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from openr1.errors import ComponentFailed, EnvironmentProblem, Interrupted, OpenR1Error
from openr1.launch import meeting
from openr1.launch.command import free_port
from openr1.launch.meeting import First, Line


def nothing() -> None:
    return None


def come(port: int, node: int, run: str = "r") -> Line:
    return meeting.join("127.0.0.1", port, node, run, 4000 + node, nothing)


def together(count: int) -> tuple[First, list[Line]]:
    port = free_port()
    first = First("10.0.0.1", port, count, "r")
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
    first.close(0)
    assert [line.receive(5.0) for line in lines] == [{"end": 0}, {"end": 0}]


def test_a_node_that_dies_or_fails_is_named() -> None:
    first, (one, two) = together(3)
    two.send({"error": ComponentFailed("its vLLM ended", fix="look").as_dict()})
    with pytest.raises(ComponentFailed, match="node 2: its vLLM ended"):
        first.wait_until_ready(nothing)
    one.close()
    found = first.problem()
    assert isinstance(found, ComponentFailed) and "node 1 is gone" in found.what
    first.close(7)
    assert two.receive(5.0) == {"end": 7}


def test_a_node_that_was_stopped_has_not_failed() -> None:
    first, (one,) = together(2)
    one.send({"error": Interrupted("stopped").as_dict()})
    with pytest.raises(Interrupted):
        first.wait_until_ready(nothing)
    first.close(130)


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (Interrupted("stopped"), 130), (ComponentFailed("died"), 7), (RuntimeError("a bug"), 7)],
)
def test_however_it_ends_the_others_hear_it(error: Exception | None, code: int) -> None:
    port = free_port()
    heard: list[object] = []

    def other() -> None:
        line = come(port, 1)
        while (message := line.receive(5.0)) is not None and "end" not in message:
            pass
        heard.append(message)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        with meeting.first("127.0.0.1", port, 2, "r") as first:
            first.gather(nothing)
            first.tell(1)
            if error is not None:
                raise error
    except (OpenR1Error, RuntimeError) as caught:
        assert caught is error
    thread.join(10)
    assert heard == [{"end": code}]


def test_strangers_are_sent_away_and_the_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENR1_MEETING_SECONDS", "2")
    port = free_port()
    first = First("127.0.0.1", port, 3, "r")
    own, stranger, twice = come(port, 2), come(port, 1, run="another"), come(port, 2)
    noise = socket.create_connection(("127.0.0.1", port))
    noise.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ComponentFailed, match="of 3 nodes, number 1 did not come within 2 s"):
        first.gather(nothing)
    for line in (stranger, twice):
        said = line.receive(5.0)
        assert said is not None and said["end"] == 3
    assert own.receive(0.0) is None
    first.close(7)


def test_no_first_node_and_a_port_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENR1_MEETING_SECONDS", "0.5")
    with pytest.raises(ComponentFailed, match="the first node cannot be reached"):
        come(free_port(), 1)
    first, _ = together(2)
    with pytest.raises(EnvironmentProblem, match="cannot be used here"):
        First("127.0.0.1", first._listening.getsockname()[1], 2, "r")
    first.close(0)


def test_a_stop_is_heard_while_nobody_comes() -> None:
    begun = time.monotonic()

    def stop() -> None:
        if time.monotonic() - begun > 0.3:
            raise Interrupted("stopped")

    first = First("127.0.0.1", free_port(), 2, "r")
    waits: list[Callable[[], object]] = [lambda: first.gather(stop)]
    for wait in waits:
        with pytest.raises(Interrupted):
            wait()
    first.close(130)
