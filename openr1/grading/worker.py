"""One grading worker: `python -m openr1.grading.worker`, a pair per line in, a verdict per line out.

The parent started it and owns the clock; the worker only sees to it that it cannot outlive the parent,
grow without bound, or write anything but answers to its pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import IO

CPU_GRACE_S = 5.0
"""CPU seconds beyond the limit after which the kernel ends the process, should nobody else do so."""


def _limit_memory(megabytes: int) -> None:
    if megabytes > 0:
        size = megabytes * 2**20
        with contextlib.suppress(ValueError, OSError):  # macOS knows the limit but does not set it
            resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _private_pipe() -> IO[str]:
    """The answer pipe, with stdout pointed elsewhere: math-verify 0.5.2 prints its errors."""
    pipe = os.fdopen(os.dup(1), "w", encoding="ascii", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return pipe


def _listen(requests: queue.SimpleQueue[bytes | None], parent: int) -> None:
    """Read requests on a thread of its own, so that the end of the parent is noticed during work too.

    The pipe alone does not tell: another child of the parent may hold a copy of its writing end.
    """
    buffer = b""
    while True:
        ready, _, _ = select.select([0], [], [], 1.0)
        if os.getppid() != parent:
            os._exit(0)
        if not ready:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            os._exit(0)
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            requests.put(line)


def judge(gold: str, answer: str) -> tuple[str, str]:
    """Verdict and reason for two normalised answers, with math-verify at hand."""
    from .compare import GoldUnparsableError, equal
    from .exact import TooCostlyError
    from .mathverify import leaf_equal

    try:
        result = equal(gold, answer, leaf_equal)
    except GoldUnparsableError:
        return "gold_unparsable", "the reference does not parse as mathematics"
    except TooCostlyError as problem:
        return "timeout", f"not evaluated: {problem}"
    except MemoryError:
        return "timeout", "out of memory"
    except RecursionError:
        return "wrong", "nested too deeply to compare"
    except Exception as problem:
        return "error", f"{type(problem).__name__}: {problem}"[:200]
    return ("right", "equal") if result else ("wrong", "not equal")


def judge_as_upstream(strict_latex_gold: bool, gold: str, completion: str) -> tuple[str, str]:
    """Verdict of open-r1's own rewards on a whole completion; see `openr1.rewards.compat`."""
    from .upstream import verdict

    return verdict(gold, completion, strict_latex_gold)


def judge_gold(gold: str, _: str) -> tuple[str, str]:
    """Does the reference parse? `right` when it does."""
    from .compare import leaves
    from .exact import TooCostlyError, read
    from .mathverify import expression, is_prose

    try:
        for leaf in leaves(gold):
            if read(leaf) is None and (is_prose(leaf) or expression(leaf) is None):
                return "gold_unparsable", f"does not parse as mathematics: {leaf[:80]}"
    except TooCostlyError as problem:
        return "timeout", f"not evaluated: {problem}"
    except Exception as problem:
        return "error", f"{type(problem).__name__}: {problem}"[:200]
    return "right", ""


JUDGES: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "ours": judge,
    "gold": judge_gold,
    "open-r1 accuracy": partial(judge_as_upstream, False),
    "open-r1 length": partial(judge_as_upstream, True),
}


def main(arguments: list[str]) -> int:
    """Serve until the pipe closes. Arguments: parent pid, time limit in seconds, memory in MiB."""
    parent, limit, memory = int(arguments[0]), float(arguments[1]), int(arguments[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    answers = _private_pipe()
    _limit_memory(memory)
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, parent), daemon=True).start()

    def send(message: dict[str, object]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        from . import mathverify  # noqa: F401  (0.4 s once, before the clock of the first item runs)
    except ImportError as problem:
        send({"failed": str(problem)})
        return 5
    send({"ready": True})
    while True:
        line = requests.get()
        if line is None:
            return 0
        request = json.loads(line)
        # SIGVTALRM is left at its default, which the kernel carries out even while C code runs.
        signal.setitimer(signal.ITIMER_VIRTUAL, limit + CPU_GRACE_S)
        verdict, reason = JUDGES[request["judge"]](request["gold"], request["answer"])
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        send({"id": request["id"], "verdict": verdict, "reason": reason})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
