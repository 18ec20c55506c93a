"""What every child process does: tie its life to the parent, hear "stop", report how it ended."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from openr1.errors import EnvironmentProblem, Interrupted, OpenR1Error, OutOfMemory
from openr1.extras import install
from openr1.runs import resolved_file
from openr1.runs.events import Events
from openr1.runs.files import os_problem
from openr1.runs.folder import RunFolder

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Child:
    """One child's view of its run: folder, resolved values, events, and whether it was asked to stop.

    `rank` of `ranks` processes train together, on the node of number `node`; alone it is rank 0 of 1.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.rank = int(os.environ.get("RANK", 0))
        self.ranks = int(os.environ.get("WORLD_SIZE", 1))
        self.node = int(os.environ.get("OPENR1_NODE", 0))
        self.events = Events()
        self.stop_asked = False
        self.interruptible = True
        self.config: dict[str, Any] = {}

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes the run's files."""
        return self.rank == 0

    @property
    def values(self) -> dict[str, Any]:
        return self.config["values"]

    def on_stop(self, signum: int, frame: FrameType | None) -> None:
        """The first request is honoured at the next safe point, or at once where there is nothing to save."""
        self.stop_asked = True
        if self.interruptible:
            raise Interrupted("stopped before the first step")

    def check_stop(self) -> None:
        """Raises Interrupted when a stop was asked for; call it where nothing would be lost."""
        if self.stop_asked:
            raise Interrupted("stopped")


def main(work: Callable[[Child], dict[str, Any]]) -> int:
    """Run `work` for the run folder named on the command line; report; return the exit code."""
    die_with_parent()
    child = Child(RunFolder(Path(sys.argv[1])))
    logging.getLogger("openr1").addHandler(_Notices(child.events))
    signal.signal(signal.SIGTERM, child.on_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; it sends SIGTERM
    try:
        if child.first:  # the others hear it from the first: theirs may be another node, a moment too early
            child.config = resolved_file.read(child.run.resolved)
        result = work(child)
    except BaseException as error:
        child.interruptible = False
        problem = explain(error)
        if not isinstance(problem, Interrupted):
            traceback.print_exc()
        child.events.send("error", **problem.as_dict())
        return problem.code
    child.interruptible = False
    child.events.send("result", **result)
    return 0


class _Notices(logging.Handler):
    """Hands what our rooms warn about to the parent, which shows it; the log has it too."""

    def __init__(self, events: Events) -> None:
        super().__init__(logging.WARNING)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        self._events.send("notice", text=record.getMessage())


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, even by kill -9 (Linux; elsewhere a no-op)."""
    parent = os.environ.get("OPENR1_PARENT_PID")
    if parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before the line above
            os._exit(1)


def forks_end_with_us() -> None:
    """From now on, a process that a library forks from this one dies with it, and by SIGTERM.

    It would inherit our handler, which only takes note of a SIGTERM: multiprocessing's pools would wait for
    ever for a worker that they have asked to end.
    """

    def begin() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    os.register_at_fork(after_in_child=begin)


def explain(error: BaseException) -> OpenR1Error:
    """Any exception as one a person can act on; torch's are told by name, so that nothing is imported."""
    if isinstance(error, OpenR1Error):
        return error
    name, text = type(error).__name__, str(error)
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    if name == "OutOfMemoryError" or isinstance(error, MemoryError) or "can't allocate memory" in text:
        return OutOfMemory(
            f"out of memory: {text.splitlines()[0] if text else 'the machine has no more'}",
            fix="lower the completion or sequence length, or the micro-batch (per_device_train_batch_size)",
        )
    # torch.save and safetensors wrap the system's error in their own; the text is what is left of it.
    if re.search(r"No space left on device|os error 28|PytorchStreamWriter failed writing", text):
        return os_problem(OSError(28, "No space left on device"), "the run folder")
    if isinstance(error, ModuleNotFoundError):
        return EnvironmentProblem(f"the package `{error.name}` is not installed", fix=install("all"))
    if isinstance(error, OSError) and error.errno is not None:
        return os_problem(error, error.filename or "the run folder")
    first = text.strip().splitlines()[0] if text.strip() else "no message"
    return OpenR1Error(f"{name}: {first}", fix="the log has the whole traceback")
