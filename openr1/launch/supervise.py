"""Run one child to its end: pass its events on, pass "stop" down, leave no process behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from openr1.errors import ComponentFailed, Interrupted, OutOfMemory, from_dict
from openr1.launch.command import Command, with_parent
from openr1.runs import events

OnEvent = Callable[[dict[str, Any]], None]
AGAIN = "the same command continues"
TICK = 0.5  # seconds between two looks at the clock while the child is silent


def run(command: Command, log: Path, on_event: OnEvent) -> dict[str, Any]:
    """Start the child, hand on its events, wait.

    SIGINT or SIGTERM to this process asks the child to stop at its next safe point; a second one kills it.

    Args:
        command: what to start.
        log: file for the child's output.
        on_event: called for every event, and about twice a second with `{"event": "tick"}`.

    Returns:
        The child's result.

    Raises:
        OpenR1Error: what the child reported, or what its exit status says.
    """
    read_end, write_end = os.pipe()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command.argv,
            env=with_parent(command.env) | {events.VARIABLE: str(write_end)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end,),
            start_new_session=True,  # a terminal's Ctrl-C reaches us alone; we decide what the child hears
        )
    os.close(write_end)
    last: dict[str, Any] = {}
    try:
        with _stop_signals(process) as stop:
            for event in _read(read_end, process):
                if stop.asked and not stop.said:
                    stop.said = True
                    on_event({"event": "stopping"})
                if event["event"] in ("result", "error"):
                    last = event
                on_event(event)
            process.wait()
    finally:
        os.close(read_end)
        kill_group(process)
    if stop.asked and "event" not in last:  # it was killed, or ended before it could say how
        raise Interrupted("stopped", fix=AGAIN)
    return _outcome(process.returncode, last, log)


@dataclass
class _Stop:
    """How often this process was asked to stop, and whether the listener knows.

    The handler itself says nothing: it may run in the middle of a write to the screen.
    """

    asked: int = 0
    said: bool = False


def _read(read_end: int, process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Events until the child's end of the pipe closes."""
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(read_end, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            if not selector.select(0 if ended else TICK):
                if ended:  # and nothing is left to read; a grandchild may hold the pipe open
                    return
                yield {"event": "tick"}
                continue
            chunk = os.read(read_end, 65536)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                event = events.parse(line.decode("utf-8", "replace"))
                if event:
                    yield event


@contextlib.contextmanager
def _stop_signals(process: subprocess.Popen[bytes]) -> Iterator[_Stop]:
    state = _Stop()

    def stop(signum: int, frame: FrameType | None) -> None:
        state.asked += 1
        if state.asked == 1:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        else:
            kill_group(process)

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield state
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the child and everything it started; it leads its own process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _outcome(code: int, last: dict[str, Any], log: Path) -> dict[str, Any]:
    if last.get("event") == "result" and code == 0:
        return {k: v for k, v in last.items() if k not in ("event", "time")}
    if last.get("event") == "error":
        error = from_dict(last)
        if isinstance(error, Interrupted):
            error.fix = AGAIN
        else:
            error.where = error.where or str(log)
        raise error
    if code == -signal.SIGKILL:
        raise OutOfMemory(
            "the process was killed (signal 9), which the kernel does when memory runs out",
            where=str(log),
            fix="give the same command again to continue; if it happens again, use less memory",
        )
    raise ComponentFailed(
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
