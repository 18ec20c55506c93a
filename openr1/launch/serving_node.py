"""A vLLM server on a node of its own: it finds the first node, and each of the two hears how the other ends.

The first node listens on the port after that of `--master`; the serving node calls there, which also tells
each the other's address. One JSON object a line, both ways, for as long as the run lasts:

    serving → first   {"node": K, "hash": H}   {"ready": PORT}   {"alive": true}   {"error": {…}}
    first → serving   {"welcome": true}   {"end": null or the error that ended the run}
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from openr1.errors import ComponentFailed, EnvironmentProblem, Interrupted, OpenR1Error, from_dict
from openr1.launch import vllm_server
from openr1.launch.command import free_port

MEETING_SECONDS = 600  # as ranks wait for each other
ALIVE_EVERY = 5.0
SILENT_SECONDS = 60.0  # a node that has not said anything for so long is gone: nobody closed its connection
WELCOME_SECONDS = 30.0
TICK = 0.5
LONGEST_LINE = 1 << 20


class Link:
    """One end of the connection. A thread reads, so that nobody waits for the other end unasked."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        self.connection = connection
        # An IPv4 address as a listener of both kinds sees it: ::ffff:10.0.0.2.
        self.here = connection.getsockname()[0].removeprefix("::ffff:")
        self.there = connection.getpeername()[0].removeprefix("::ffff:")
        self.heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self.closed = threading.Event()
        self.last = time.monotonic()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        ends = contextlib.suppress(OSError, ValueError)
        with ends, self.connection.makefile("r", encoding="utf-8") as lines:
            while line := lines.readline(LONGEST_LINE):
                said = json.loads(line)
                self.last = time.monotonic()
                if isinstance(said, dict):
                    self.heard.put(said)
        self.closed.set()

    def say(self, **fields: Any) -> None:
        """Send one line; to an end that has gone it says nothing."""
        with contextlib.suppress(OSError):
            self.connection.sendall((json.dumps(fields) + "\n").encode())

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """The next line; None when there is none within the time."""
        try:
            return self.heard.get(timeout=seconds)
        except queue.Empty:
            return None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


@dataclass
class Remote:
    """The server as the first node sees it; a guard for `supervise.run_ranks`."""

    link: Link
    url: str
    node: int
    group_port: int

    def problem(self) -> OpenR1Error | None:
        """It has failed, or its node has."""
        while (said := self.link.hear(0.001)) is not None:
            if "error" in said:
                return _elsewhere(said["error"], self.node)
        silent = time.monotonic() - self.link.last
        if self.link.closed.is_set() or silent > SILENT_SECONDS:
            return ComponentFailed(
                f"the node that serves vLLM has gone (node {self.node}, {self.link.there})",
                where=f"logs/node-{self.node}",
                fix="give the same command again on every node to continue from the last checkpoint",
            )
        return None


def _elsewhere(fields: dict[str, object], node: int) -> OpenR1Error:
    error = from_dict(fields)
    error.what = f"node {node}: {error.what}"
    error.args = (error.what,)
    return error


@contextlib.contextmanager
def awaited(port: int, run_hash: str) -> Iterator[Remote]:
    """The first node's side: the server of another node, ready to be used; told how the run ended afterwards.

    Args:
        port: where the serving node calls.
        run_hash: what both must have been started for.

    Raises:
        EnvironmentProblem: it does not come up in time, serves another run, cannot be reached; the port.
        ComponentFailed: its server does not come up.
        Interrupted: a stop was asked for meanwhile.
    """
    with _stops() as stop:
        with _listening(port) as listener:
            link, node = _caller(listener, stop)
        try:
            remote = _ready(link, node, run_hash, stop)
        except OpenR1Error as error:
            link.say(end=error.as_dict())
            link.close()
            raise
    end: dict[str, object] | None = ComponentFailed("the first node ended without a word").as_dict()
    try:
        yield remote
        end = None
    except OpenR1Error as error:
        end = error.as_dict()
        raise
    finally:
        link.say(end=end)
        link.close()


def _listening(port: int) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except (OSError, OverflowError) as error:
        raise EnvironmentProblem(
            f"port {port} cannot be used here: {getattr(error, 'strerror', None) or error}",
            where="--master",
            fix="name a port of which the next one is free too: there the node that serves vLLM calls",
        ) from None


def _caller(listener: socket.socket, stop: _Stop) -> tuple[Link, int]:
    """The serving node's connection, and its number. Whoever else calls is not listened to."""
    seconds = meeting_seconds()
    end = time.monotonic() + seconds
    listener.settimeout(TICK)
    while time.monotonic() < end:
        stop.check("waiting for the node that serves vLLM")
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        link = Link(connection)
        said = link.hear(5) or {}
        if isinstance(said.get("node"), int):
            link.heard.put(said)
            return link, said["node"]
        link.close()
    raise EnvironmentProblem(
        f"the node that serves vLLM did not come up within {seconds} s",
        where="--nodes",
        fix="start the same command on every node, the last one serves; and look into its log",
    )


def _ready(link: Link, node: int, run_hash: str, stop: _Stop) -> Remote:
    hello = link.hear(5) or {}
    if hello.get("hash") != run_hash:
        raise EnvironmentProblem(
            f"node {node} was started for another configuration",
            where=link.there,
            fix="give the same command on every node",
        )
    link.say(welcome=True)
    remote = Remote(link, "", node, free_port())
    while True:
        stop.check("the vLLM server was starting")
        said = link.hear(TICK)
        if said is not None and "ready" in said:
            break
        if said is not None and "error" in said:
            raise _elsewhere(said["error"], node)
        problem = remote.problem() if said is None and link.heard.empty() else None
        if problem is not None:
            raise problem
    host = f"[{link.there}]" if ":" in link.there else link.there
    remote.url = f"http://{host}:{said['ready']}"
    try:
        urllib.request.urlopen(f"{remote.url}/health", timeout=30).close()
    except OSError as error:
        raise EnvironmentProblem(
            f"the vLLM server of node {node} runs, but cannot be reached from the first node: {error}",
            where=remote.url,
            fix="does a firewall between the nodes close its ports?",
        ) from None
    return remote


def serve(
    first: tuple[str, int],
    node: int,
    run_hash: str,
    make: Callable[[], vllm_server.Serve],
    log: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The serving node's side: serve until the first node's run has ended.

    A first SIGTERM or SIGINT changes nothing here: the trainers need the server for the step they are in. A
    second one ends it.

    Args:
        first: where the first node waits.
        make: what to serve; called once the first node was found.
        say: told what goes on.

    Returns:
        `{"served": how long}`.

    Raises:
        OpenR1Error: what ended the run, or the server.
    """
    begun = time.monotonic()
    with _stops() as stop:
        link = _called(first, node, stop)
        link.say(node=node, hash=run_hash)
        done, started = threading.Event(), threading.Event()
        threading.Thread(target=_keep_alive, args=(link, done), daemon=True).start()
        try:
            _ended(link, WELCOME_SECONDS, "welcome")
            one = replace(make(), host=link.here, port=free_port())
            say("starting the vLLM server")
            threading.Thread(target=_give_up_with, args=(link, started), daemon=True).start()
            with vllm_server.running(one, log) as server:
                started.set()
                link.say(ready=one.port)
                say(f"serving vLLM for the first node on {one.url}")
                _until_the_end(link, server, stop)
        except OpenR1Error as error:
            if not started.is_set() and link.closed.is_set() and isinstance(error, Interrupted):
                _ended(link, 0.001, None)  # it was not asked to stop: the first node ended
            link.say(error=error.as_dict())
            raise
        finally:
            done.set()
            link.close()
    return {"served": f"{time.monotonic() - begun:.0f} s"}


def _give_up_with(link: Link, started: threading.Event) -> None:
    """A first node that ends while the server starts is not waited for: this process asks itself to stop."""
    while not started.wait(TICK):
        if link.closed.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _keep_alive(link: Link, done: threading.Event) -> None:
    while not done.wait(ALIVE_EVERY):
        link.say(alive=True)


def _called(first: tuple[str, int], node: int, stop: _Stop) -> Link:
    seconds = meeting_seconds()
    end = time.monotonic() + seconds
    while True:
        stop.check("waiting for the first node")
        try:
            return Link(socket.create_connection(first, timeout=10))
        except OSError as error:
            if time.monotonic() > end:
                raise ComponentFailed(
                    f"the first node cannot be reached at {first[0]}:{first[1]}: {error}",
                    where=f"node {node}",
                    fix="is the first node up, is the address right, and does the firewall let this port "
                    "(the one after that of --master) through?",
                ) from None
            time.sleep(TICK)


def _until_the_end(link: Link, server: vllm_server.Server, stop: _Stop) -> None:
    while not _ended(link, TICK, None):
        problem = server.problem()
        if problem is not None:
            raise problem
        if stop.asked > 1:
            raise Interrupted("stopped", fix="the same command continues")


def _ended(link: Link, seconds: float, awaited: str | None) -> bool:
    """Whether the first node says within the time that its run ended well.

    Args:
        awaited: what it must say instead; silence is a failure then.

    Raises:
        OpenR1Error: what ended its run; it has gone without a word.
    """
    said = link.hear(seconds) or {}
    if said.get("end") is not None:
        raise _elsewhere(said["end"], 0)
    if "end" in said:
        return True
    if (awaited is not None and awaited not in said) or (
        not said and link.closed.is_set() and link.heard.empty()
    ):
        raise ComponentFailed(
            "the first node has gone",
            where=link.there,
            fix="give the same command again on every node to continue from the last checkpoint",
        )
    return False


def meeting_seconds() -> int:
    """How long nodes wait for each other."""
    return int(os.environ.get("OPENR1_MEETING_SECONDS", MEETING_SECONDS))


@dataclass
class _Stop:
    """How often this process was asked to stop."""

    asked: int = 0

    def check(self, doing: str) -> None:
        if self.asked:
            raise Interrupted(f"stopped while {doing}", fix="the same command continues")


@contextlib.contextmanager
def _stops() -> Iterator[_Stop]:
    stop = _Stop()

    def ask(signum: int, frame: FrameType | None) -> None:
        stop.asked += 1

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
