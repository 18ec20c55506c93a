"""Run children to their end: pass their events on, pass "stop" down, leave no process behind."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from openr1.errors import ComponentFailed, Interrupted, OpenR1Error, OutOfMemory, from_dict
from openr1.launch.command import Command, with_parent
from openr1.launch.signals import stops_go_to
from openr1.runs import events

OnEvent = Callable[[dict[str, Any]], None]
AGAIN = "the same command continues"
TICK = 0.5  # seconds between two looks at the clock while the children are silent
# A rank that fails leaves the others waiting in a collective operation, some of them for half an hour. They
# have this many seconds to say something of their own.
GRACE = 5.0
# A scheduler's stop goes to all processes of a job: what the children depend on may end before we hear it.
STOP_GRACE = 1.0
# What a rank says when it only suffers from another one's end: never the cause.
ECHO = re.compile(
    r"Connection closed by peer|Connection reset|Broken pipe|Socket|gloo|NCCL|ProcessGroup|DistBackend"
    r"|DistNetwork|DistStore|recvValue|remote process exited|another process of this run",
    re.IGNORECASE,
)


class Guard(Protocol):
    """Something the children depend on, such as a server."""

    def problem(self) -> OpenR1Error | None:
        """What is wrong with it now; asked about twice a second."""


@dataclass
class Rank:
    """One child, its end of the pipe and what it said last."""

    number: int
    process: subprocess.Popen[bytes]
    log: Path
    pipe: int
    buffer: bytes = b""
    last: dict[str, Any] = field(default_factory=dict)
    read: bool = False  # all that it said has been read

    @property
    def failed(self) -> bool:
        """It has ended, and not well.

        One that ended with status 0 may have said its result a moment ago: it is judged by its last word.
        """
        code = self.process.poll()
        return code is not None and (code != 0 or (self.read and self.last.get("event") != "result"))


def run(command: Command, log: Path, on_event: OnEvent) -> dict[str, Any]:
    """Start one child, hand on its events, wait; see `run_ranks`."""
    return run_ranks([command], [log], on_event)


def run_ranks(
    commands: Sequence[Command], logs: Sequence[Path], on_event: OnEvent, guards: Sequence[Guard] = ()
) -> dict[str, Any]:
    """Start the children, hand on the first one's events, wait for all.

    SIGINT or SIGTERM to this process asks them to stop at their next safe point; a second one kills them.
    When one fails, the others are ended soon after: the first cause is what is raised.

    Args:
        commands: what to start, the rank that reports first.
        logs: a file for each child's output.
        on_event: called for every event, and about twice a second with `{"event": "tick"}`.
        guards: what the children depend on; when one reports a problem, they are ended.

    Returns:
        The first child's result.

    Raises:
        OpenR1Error: what a child reported, what its exit status says, or what a guard found.
    """
    ranks: list[Rank] = []
    try:
        for number, (command, log) in enumerate(zip(commands, logs, strict=True)):
            ranks.append(_start(number, command, log))
        with _stop_signals(ranks) as stop:
            failed = _attend(ranks, on_event, guards, stop)
    finally:
        for rank in ranks:
            kill_group(rank.process)
            os.close(rank.pipe)
    if stop.asked:  # those that were killed, or ended before they could say how, are no cause
        said = [rank for rank in failed if "event" in rank.last]
        if failed and not said:
            raise Interrupted("stopped", fix=AGAIN)
        failed = said
    if failed:
        raise _cause(failed, len(ranks))
    return _outcome(ranks[0])


def _start(number: int, command: Command, log: Path) -> Rank:
    read_end, write_end = os.pipe()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command.argv,
            env=with_parent(command.env) | {events.VARIABLE: str(write_end)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end,),
            start_new_session=True,  # a terminal's Ctrl-C reaches us alone; we decide what a child hears
        )
    os.close(write_end)
    return Rank(number, process, log, read_end)


@dataclass
class _Stop:
    """How often this process was asked to stop, and whether the listener knows.

    The handler itself says nothing: it may run in the middle of a write to the screen.
    """

    asked: int = 0
    said: bool = False


def _attend(ranks: list[Rank], on_event: OnEvent, guards: Sequence[Guard], stop: _Stop) -> list[Rank]:
    """Until all children have ended. Returns those that failed by themselves, in the order they did.

    Raises:
        OpenR1Error: a guard's problem.
    """
    failed: list[Rank] = []
    deadline: float | None = None
    for event in _read(ranks):
        if stop.asked and not stop.said:
            stop.said = True
            on_event({"event": "stopping"})
        on_event(event)
        for rank in ranks:
            if rank.failed and rank not in failed:
                failed.append(rank)
        _ask(guards, stop)
        if failed and len(failed) < len(ranks):
            deadline = deadline or time.monotonic() + GRACE
            if time.monotonic() > deadline:
                break
    else:
        for rank in ranks:
            rank.process.wait()
            if rank.failed and rank not in failed:
                failed.append(rank)
    if failed:
        _ask(guards, stop)  # what ended a rank may be what it depends on
    return failed


def _ask(guards: Sequence[Guard], stop: _Stop) -> None:
    for guard in guards:
        problem = guard.problem()
        if problem is None:
            continue
        if not stop.asked:
            time.sleep(STOP_GRACE)
        raise Interrupted("stopped", fix=AGAIN) if stop.asked else problem


def _read(ranks: list[Rank]) -> Iterator[dict[str, Any]]:
    """Events until every child's end of its pipe closes; of the later ranks only a tick."""
    with selectors.DefaultSelector() as selector:
        for rank in ranks:
            selector.register(rank.pipe, selectors.EVENT_READ, rank)
        while selector.get_map():
            over = [key.data for key in selector.get_map().values() if key.data.process.poll() is not None]
            ready = selector.select(0 if over else TICK)
            for key, _ in ready:
                here: Rank = key.data
                chunk = os.read(here.pipe, 65536)
                if not chunk:
                    selector.unregister(here.pipe)
                    here.read = True
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        here.process.wait(TICK)  # its order among those that fail is the order of its end
                    yield {"event": "tick"}
                    continue
                yield from _parsed(here, chunk)
            if not ready:
                for ended in over:  # nothing is left to read; a grandchild may hold the pipe open
                    selector.unregister(ended.pipe)
                    ended.read = True
                yield {"event": "tick"}


def _parsed(rank: Rank, chunk: bytes) -> Iterator[dict[str, Any]]:
    *lines, rank.buffer = (rank.buffer + chunk).split(b"\n")
    for line in lines:
        event = events.parse(line.decode("utf-8", "replace"))
        if event is None:
            continue
        if event["event"] in ("result", "error"):
            rank.last = event
        if rank.number == 0:
            yield event


@contextlib.contextmanager
def _stop_signals(ranks: list[Rank]) -> Iterator[_Stop]:
    state = _Stop()

    def stop(signum: int, frame: FrameType | None) -> None:
        state.asked += 1
        for rank in ranks:
            if state.asked == 1:
                with contextlib.suppress(ProcessLookupError):
                    rank.process.terminate()
            else:
                kill_group(rank.process)

    with stops_go_to(stop):
        yield state


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the child and everything it started; it leads its own process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _cause(failed: list[Rank], count: int) -> OpenR1Error:
    """The first failure that is no echo of another one, in words."""
    problems = [(rank, _problem(rank)) for rank in failed]
    own = [pair for pair in problems if not ECHO.search(pair[1].what)]
    # A stop that reached one rank a moment before another is a stop; a failure beside it is the cause.
    worse = [pair for pair in own if not isinstance(pair[1], Interrupted)]
    rank, error = (worse or own or problems)[0]
    if count > 1 and not isinstance(error, Interrupted):
        error.args = (f"rank {_global(rank)}: {error.what}",)
        error.what = error.args[0]
    return error


def _global(rank: Rank) -> str:
    """The rank as its log is named."""
    return rank.log.stem.removeprefix("rank-")


def _outcome(rank: Rank) -> dict[str, Any]:
    if rank.failed:
        raise _problem(rank)
    return {k: v for k, v in rank.last.items() if k not in ("event", "time")}


def _problem(rank: Rank) -> OpenR1Error:
    """Why a child failed: what it reported, or what its exit status says."""
    code, last, log = rank.process.returncode, rank.last, rank.log
    if last.get("event") == "error":
        error = from_dict(last)
        if isinstance(error, Interrupted):
            error.fix = AGAIN
        else:
            error.where = error.where or str(log)
        return error
    if code == -signal.SIGKILL:
        return OutOfMemory(
            "the process was killed (signal 9), which the kernel does when memory runs out",
            where=str(log),
            fix="give the same command again to continue; if it happens again, use less memory",
        )
    return ComponentFailed(
        f"the process ended with {'signal ' + str(-code) if code < 0 else 'status ' + str(code)}"
        f"{_last_words(log)}",
        where=str(log),
        fix="the log has the details; give the same command again to continue",
    )


def _last_words(log: Path) -> str:
    """The last line the child printed, which for a crash is its cause."""
    with contextlib.suppress(OSError):
        lines = [
            x.strip() for x in log.read_bytes()[-4000:].decode("utf-8", "replace").splitlines() if x.strip()
        ]
        if lines:
            return f": {lines[-1][:200]}"
    return ""
