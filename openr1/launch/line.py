"""A TCP connection between two nodes that carries lines of JSON, and the port where such lines come in."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from typing import Any

from openr1.errors import EnvironmentProblem

LONGEST_LINE = 1 << 20
WAIT_SECONDS = 600  # nodes may be started one after the other, and a slow one loads its libraries in minutes
# A silent death is known within a minute.
KEEP_ALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


def wait_seconds() -> float:
    """How long nodes and their ranks wait for each other."""
    return float(os.environ.get("OPENR1_MEETING_SECONDS", WAIT_SECONDS))


class Line:
    """One end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEP_ALIVE.items():
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self.connection, self.rest = connection, b""
        self.here = _plain(connection.getsockname()[0])
        """This end's address, as the other one reaches it."""
        self.peer = _plain(connection.getpeername()[0])
        """The other end's address."""

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


def _plain(address: str) -> str:
    """An IPv4 address as a listener of both kinds sees it is ::ffff:10.0.0.2."""
    return address.removeprefix("::ffff:")


def url(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def listening(port: int) -> socket.socket:
    """A socket that accepts IPv4 and IPv6.

    Raises:
        EnvironmentProblem: the port is taken, or is none.
    """
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except (OSError, OverflowError) as error:
        raise EnvironmentProblem(
            f"port {port} cannot be used here: {getattr(error, 'strerror', None) or error}",
            where="--master",
            fix="name another port of the first node, above 1024; the one after it must be free too",
        ) from None
