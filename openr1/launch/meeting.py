"""Nodes that serve one run: the first tells the others where all are, hears what they serve, and ends them.

One TCP connection from every other node to the first, on --master's port; lines of JSON, open as long as
both ends live: a node that dies closes it, and its silence is noticed by keep-alive probes within a minute.

    node → first   {"run": hash, "node": k, "port": a free one there}, then {"ready": [ports]} or {"error": …}
    first → node   {"addresses": […], "ports": [each node's free one]}, then {"end": exit code}
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from openr1.errors import ComponentFailed, EnvironmentProblem, Interrupted, OpenR1Error, from_dict

WAIT_SECONDS = 600  # until all nodes have come; they may be started one after the other
LOOK_S = 0.2
LONGEST_LINE = 1 << 16

Tick = Callable[[], None]


def wait_seconds() -> float:
    return float(os.environ.get("OPENR1_MEETING_SECONDS", WAIT_SECONDS))


class Line:
    """A connection that carries lines of JSON."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
        self.connection, self.rest = connection, b""

    @property
    def peer(self) -> str:
        """The other end's address."""
        return str(self.connection.getpeername()[0])

    @property
    def here(self) -> str:
        """This end's address, as the other one reaches it."""
        return str(self.connection.getsockname()[0])

    def send(self, message: dict[str, Any]) -> None:
        """Say something; an end that is gone is noticed where its words are read."""
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message, or None when none comes in time.

        Raises:
            EOFError: the other end is gone, or says what is no message.
        """
        end = time.monotonic() + seconds
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.connection], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return None
            try:
                chunk = self.connection.recv(4096)
            except OSError:
                chunk = b""
            if not chunk or len(self.rest) > LONGEST_LINE:
                raise EOFError
            self.rest += chunk
        line, self.rest = self.rest.split(b"\n", 1)
        try:
            message = json.loads(line)
        except ValueError:
            raise EOFError from None
        if not isinstance(message, dict):
            raise EOFError
        return message

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.close()


class First:
    """The first node's side; a guard for `supervise.run_ranks`."""

    def __init__(self, host: str, port: int, count: int, run: str) -> None:
        """Listen.

        Args:
            host: this node's address for the others.
            count: nodes in all.
            run: names the run; nobody else is let in.

        Raises:
            EnvironmentProblem: the port is taken.
        """
        self.host, self.count, self.run = host, count, run
        self.lines: dict[int, Line] = {}
        self.ports: dict[int, int] = {}
        self.served: dict[int, list[int]] = {}
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listening.bind(("", port))
        except OSError as error:
            raise EnvironmentProblem(
                f"port {port} cannot be used here: {error.strerror}",
                where="--master",
                fix="name a port that is free on the first node, above 1024",
            ) from None
        self._listening.listen(count)

    def gather(self, tick: Tick) -> None:
        """Until every node has come.

        Raises:
            ComponentFailed: one has not, in time.
        """
        end = time.monotonic() + wait_seconds()
        while len(self.lines) < self.count - 1:
            tick()
            if time.monotonic() > end:
                missing = ", ".join(str(k) for k in range(1, self.count) if k not in self.lines)
                raise ComponentFailed(
                    f"of {self.count} nodes, number {missing} did not come within {wait_seconds():.0f} s",
                    where="--nodes",
                    fix="start the same command there with its --node-rank; see its log in the run folder",
                )
            if not select.select([self._listening], [], [], LOOK_S)[0]:
                continue
            line = Line(self._listening.accept()[0])
            try:
                hello = line.receive(5.0)
            except EOFError:
                hello = None
            node = hello.get("node") if hello and hello.get("run") == self.run else None
            if isinstance(node, int) and 0 < node < self.count and node not in self.lines:
                self.lines[node], self.ports[node] = line, int(hello["port"]) if hello else 0
            else:
                line.send({"end": 3, "why": "another run's node, or one that has come already"})
                line.close()

    def tell(self, own_port: int) -> dict[str, Any]:
        """Tell everybody where everybody is; returns what was said."""
        said = {
            "addresses": [self.host, *(self.lines[k].peer for k in sorted(self.lines))],
            "ports": [own_port, *(self.ports[k] for k in sorted(self.lines))],
        }
        for line in self.lines.values():
            line.send(said)
        return said

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
        return [f"http://{self.lines[k].peer}:{port}" for k in sorted(self.served) for port in self.served[k]]

    def problem(self) -> OpenR1Error | None:
        """What a node has said of its end, or that it is gone."""
        for node, line in self.lines.items():
            try:
                message = line.receive(0.0)
            except EOFError:
                return ComponentFailed(
                    f"node {node} is gone",
                    where=line_address(line),
                    fix="see its log in the run folder; the same command continues",
                )
            if message and "error" in message:
                error = from_dict(message["error"])
                if isinstance(error, Interrupted):
                    return error
                return ComponentFailed(f"node {node}: {error.what}", where=error.where, fix=error.fix)
            if message and "ready" in message:
                self.served[node] = [int(port) for port in message["ready"]]
        return None

    def close(self, code: int) -> None:
        """Send everybody home.

        Args:
            code: how the run ended, as an exit code.
        """
        for line in self.lines.values():
            line.send({"end": code})
            line.close()
        self._listening.close()


def line_address(line: Line) -> str:
    with contextlib.suppress(OSError):
        return line.peer
    return "its address is not known any more"


@contextlib.contextmanager
def first(host: str, port: int, count: int, run: str) -> Iterator[First]:
    """The meeting, which ends for all with whatever ends the block."""
    meeting = First(host, port, count, run)
    code = 7
    try:
        yield meeting
        code = 0
    except OpenR1Error as error:
        code = error.code
        raise
    finally:
        meeting.close(code)


def join(host: str, port: int, node: int, run: str, port_here: int, tick: Tick) -> Line:
    """Come to the first node, which may start later than this one.

    Raises:
        ComponentFailed: it cannot be reached in time.
    """
    end = time.monotonic() + wait_seconds()
    while True:
        tick()
        try:
            line = Line(socket.create_connection((host, port), timeout=5.0))
            break
        except OSError as error:
            if time.monotonic() > end:
                raise ComponentFailed(
                    f"the first node cannot be reached within {wait_seconds():.0f} s: {error}",
                    where=f"{host}:{port}",
                    fix="start the first node's command too; the address must be one that the others reach",
                ) from None
            time.sleep(LOOK_S)
    line.connection.settimeout(None)
    line.send({"run": run, "node": node, "port": port_here})
    return line
