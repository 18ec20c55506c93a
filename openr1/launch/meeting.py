"""Nodes that serve one run: the first tells the others where all are, hears what they serve, and ends them.

One TCP connection from every other node to the first (`launch.line`), open as long as both ends live: a node
that dies closes it, and its silence is noticed by keep-alive probes within a minute.

    node → first   {"run": name, "node": k, "port": a free one there}, then {"ready": [ports]} or {"error": …}
    first → node   {"addresses": […], "ports": [each node's free one]}, then {"end": null or an error}
                   or, where it has only something to say, {"said": …}
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from openr1.errors import ComponentFailed, EnvironmentProblem, Interrupted, OpenR1Error, from_dict
from openr1.launch.command import free_port
from openr1.launch.line import Line, listening, url, wait_seconds
from openr1.launch.signals import stops_go_to
from openr1.launch.supervise import AGAIN, STOP_GRACE, TICK
from openr1.launch.vllm_server import Part, Server, stop_raises

LOOK_S = 0.2

Tick = Callable[[], object]
# What a node starts, given its line to the first and what that said.
Start = Callable[[Line, dict[str, Any]], contextlib.AbstractContextManager[Sequence[Part]]]


# The first node's side.


class First:
    """The first node's side; a guard for `supervise.run_ranks`."""

    def __init__(self, host: str, port: int, nodes: Sequence[int], run: str) -> None:
        """Listen.

        Args:
            host: this node's address for the others.
            nodes: who is to come.
            run: names the run; who was started for another one ends both.

        Raises:
            EnvironmentProblem: the port is taken.
        """
        self.host, self.nodes, self.run = host, nodes, run
        self.lines: dict[int, Line] = {}
        self.ports: dict[int, int] = {}
        self.served: dict[int, list[int]] = {}
        self._listening = listening(port)

    def gather(self, tick: Tick) -> None:
        """Until every node has come.

        Raises:
            EnvironmentProblem: one has not, in time; one was started for another configuration.
        """
        end = time.monotonic() + wait_seconds()
        while len(self.lines) < len(self.nodes):
            tick()
            if time.monotonic() > end:
                missing = ", ".join(str(k) for k in self.nodes if k not in self.lines)
                raise EnvironmentProblem(
                    f"node {missing} did not come up within {wait_seconds():.0f} s",
                    where="--nodes",
                    fix="start the same command there with its --node-rank; see its log in the run folder",
                )
            if select.select([self._listening], [], [], LOOK_S)[0]:
                self._let_in(Line(self._listening.accept()[0]))

    def _let_in(self, line: Line) -> None:
        """A node that is awaited; whoever else calls is sent away."""
        try:
            hello = line.receive(5.0) or {}
        except EOFError:
            hello = {}
        node = hello.get("node")
        if not isinstance(node, int) or node not in self.nodes or node in self.lines:
            said = EnvironmentProblem(
                "the first node does not wait for this one, or it has come already",
                where="--node-rank",
                fix="give every node its own number",
            )
            line.send({"end": said.as_dict()})
            line.close()
            return
        self.lines[node], self.ports[node] = line, hello.get("port", 0)
        if hello.get("run") != self.run:
            raise EnvironmentProblem(
                f"node {node} was started for another configuration",
                where=line.peer,
                fix="give the same command on every node",
            )

    def tell(self, own_port: int) -> dict[str, Any]:
        """Tell everybody where everybody is; returns what was said."""
        said = {
            "addresses": [self.host, *(self.lines[k].peer for k in sorted(self.lines))],
            "ports": [own_port, *(self.ports[k] for k in sorted(self.lines))],
        }
        for line in self.lines.values():
            line.send(said)
        return said

    def say(self, said: dict[str, Any]) -> None:
        """Tell everybody the same; `hear` is the other end."""
        for line in self.lines.values():
            line.send({"said": said})

    def wait_until_ready(self, tick: Tick) -> None:
        """Until every node serves what it is to serve.

        Raises:
            OpenR1Error: a node failed.
        """
        while len(self.served) < len(self.lines):
            tick()
            problem = self.problem()
            if problem is not None:
                raise problem
            time.sleep(LOOK_S)

    @property
    def urls(self) -> list[str]:
        """Where the other nodes answer."""
        return [url(self.lines[k].peer, port) for k in sorted(self.served) for port in self.served[k]]

    def problem(self) -> OpenR1Error | None:
        """A node has failed, or is gone."""
        for node, line in self.lines.items():
            try:
                message = line.receive(0.0)
            except EOFError:
                return ComponentFailed(
                    f"node {node} is gone ({line.peer})",
                    where=f"logs/node-{node}",
                    fix="its log is in the run folder; give the same command again on every node to continue",
                )
            if message and "error" in message:
                return elsewhere(message["error"], node)
            if message and "ready" in message:
                self.served[node] = [int(port) for port in message["ready"]]
        return None

    def close(self, error: OpenR1Error | None) -> None:
        """Send everybody home.

        Args:
            error: what ended the run; None where it ended well.
        """
        for line in self.lines.values():
            line.send({"end": None if error is None else error.as_dict()})
            line.close()
        self._listening.close()


@contextlib.contextmanager
def first(host: str, port: int, nodes: Sequence[int], run: str) -> Iterator[First]:
    """The meeting, which ends for all with whatever ends the block."""
    meeting = First(host, port, nodes, run)
    end: OpenR1Error | None = ComponentFailed("it ended without a word")
    try:
        yield meeting
        end = None
    except OpenR1Error as error:
        end = error
        raise
    finally:
        meeting.close(end)


# The other nodes' side.


def serve(place: tuple[str, int], node: int, run: str, start: Start, say: Callable[[str], None]) -> list[int]:
    """What another node does: come, start its servers, and keep them until the first node's run has ended.

    While they serve, a first SIGTERM or SIGINT changes nothing: the first node needs the servers for what is
    in flight, and sends this node home. A second one ends it.

    Args:
        place: where the first node waits.
        node: this node's number.
        start: starts the servers; called once the first node was found.
        say: told what goes on.

    Returns:
        The ports at which it served.

    Raises:
        OpenR1Error: what ended it, here or there.
    """
    with contextlib.ExitStack() as stack:
        say("waiting for the first node")
        with stop_raises() as check:
            line = join(place, node, run, free_port(), check)
            stack.callback(line.close)
            places = _until(line, "addresses", check)
        answering: list[int] = []
        with _noted() as asked:
            try:
                say("starting the vLLM server")
                parts = stack.enter_context(start(line, places))
                wait_until_ready(parts, lambda: _keeps_on(line, asked))
                answering = [part.serve.port for part in parts if isinstance(part, Server)]
                line.send({"ready": answering})
                say("serving")
                while not _look(line, TICK):
                    problem = next((p for part in parts if (p := part.problem()) is not None), None)
                    if problem is not None:
                        raise _stopped_or(problem, line, asked)
            except OpenR1Error as error:
                line.send({"error": error.as_dict()})
                raise
            except _Over:
                pass
        return answering


def hear(place: tuple[str, int], node: int, run: str) -> dict[str, Any]:
    """What the first node has to say to this one.

    Raises:
        OpenR1Error: it does not say it.
    """
    with stop_raises() as check:
        line = join(place, node, run, 0, check)
        with contextlib.closing(line):
            said: dict[str, Any] = _until(line, "said", check)["said"]
            return said


def join(place: tuple[str, int], node: int, run: str, port_here: int, tick: Tick) -> Line:
    """Come to the first node, which may start later than this one.

    Raises:
        ComponentFailed: it cannot be reached in time.
    """
    end = time.monotonic() + wait_seconds()
    while True:
        tick()
        try:
            line = Line(socket.create_connection(place, timeout=5.0))
            break
        except OSError as error:
            if time.monotonic() > end:
                raise ComponentFailed(
                    f"the first node cannot be reached at {place[0]}:{place[1]}: {error}",
                    where=f"node {node}",
                    fix="is the first node up, is the address right, and does the firewall let this port "
                    "through?",
                ) from None
            time.sleep(LOOK_S)
    line.send({"run": run, "node": node, "port": port_here})
    return line


def wait_until_ready(parts: Sequence[Part], check: Tick, there: First | None = None) -> None:
    """Until every server has completed a token, here and on the other nodes; then they are watched.

    Raises:
        OpenR1Error: one ended, did not answer in time, or a stop was asked for.
    """

    def look() -> None:
        check()
        problems = [part.problem() for part in parts] + ([there.problem()] if there is not None else [])
        for problem in problems:
            if problem is not None:
                raise problem

    servers = [part for part in parts if isinstance(part, Server)]
    for server in servers:
        server.wait_until_ready(look)
    if there is not None:
        there.wait_until_ready(look)
    for server in servers:
        server.watch()


def elsewhere(fields: dict[str, object], node: int) -> OpenR1Error:
    """What another node reported, as this one's error."""
    error = from_dict(fields)
    if not isinstance(error, Interrupted):
        error.what = f"node {node}: {error.what}"
        error.args = (error.what,)
    return error


class _Over(Exception):
    """The first node has what it needs."""


def _until(line: Line, key: str, check: Tick) -> dict[str, Any]:
    """The first message with this key; an end is raised."""
    while True:
        check()
        try:
            message = line.receive(TICK)
        except EOFError:
            raise _first_gone() from None
        if message and key in message:
            return message
        if message:
            _end(message)


def _look(line: Line, seconds: float) -> bool:
    """Always False: an end is raised.

    Raises:
        _Over: the run has ended well.
        OpenR1Error: it has not.
    """
    try:
        message = line.receive(seconds)
    except EOFError:
        raise _first_gone() from None
    if message:
        _end(message)
    return False


def _end(message: dict[str, Any]) -> None:
    if message.get("end") is None:
        raise _Over
    raise elsewhere(message["end"], 0)


def _first_gone() -> ComponentFailed:
    return ComponentFailed(
        "the first node is gone",
        where="--node-rank 0",
        fix="its log has the cause; give the same command again on every node to continue",
    )


def _keeps_on(line: Line, asked: Sequence[int]) -> None:
    _look(line, 0.0)
    if asked:
        raise Interrupted("stopped while the vLLM server was starting", fix=AGAIN)


def _stopped_or(problem: OpenR1Error, line: Line, asked: Sequence[int]) -> OpenR1Error:
    """A scheduler's stop reaches the servers as well, and maybe before us: then that is what ended them."""
    end = time.monotonic() + STOP_GRACE
    while not asked and time.monotonic() < end:
        _look(line, LOOK_S / 2)
    return Interrupted("stopped", fix=AGAIN) if asked else problem


@contextlib.contextmanager
def _noted() -> Iterator[list[int]]:
    """SIGTERM and SIGINT are noted; a second one ends it."""
    asked: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        asked.append(signum)
        if len(asked) > 1:
            raise Interrupted("stopped", fix=AGAIN)

    with stops_go_to(note):
        yield asked
