"""Runs a contest's manager and copies of a solution, joined by named pipes; a script for inside the sandbox.

`driver.py COPIES std_io|fifo_io SECONDS STATUS`: standard input and output are the manager's. The pipes are
called and handed over as CMS does: the manager gets `uI_to_m mI_to_u`-like pairs, a solution its two pipes as
standard input and output, or as arguments with fifo_io; its number comes last when there are several. Ends
with STATUS when a copy used more than SECONDS of processor time, else with the manager's exit status.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys


def start(copy: int, copies: int, how: str, seconds: float) -> int:
    """One copy of the solution; its pipes are opened in the child, where that may wait for the manager."""
    to_user, to_manager = f"m_to_u{copy}", f"u{copy}_to_m"
    number = [str(copy)] if copies > 1 else []
    child = os.fork()
    if child:
        return child
    try:
        most = int(seconds) + 1  # one that spins must not keep the manager waiting; whole seconds only
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))
        if how == "fifo_io":
            os.execv("./program", ["./program", to_user, to_manager, *number])
        reading = os.open(to_user, os.O_RDONLY)
        writing = os.open(to_manager, os.O_WRONLY)
        os.dup2(reading, 0)
        os.dup2(writing, 1)
        os.closerange(3, 64)
        os.execv("./program", ["./program", *number])
    finally:
        os._exit(127)


def main() -> None:
    copies, how, seconds, too_slow = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    pipes = []
    for copy in range(copies):
        for name in (f"u{copy}_to_m", f"m_to_u{copy}"):
            os.mkfifo(name)
            pipes.append(name)
    users = [start(copy, copies, how, seconds) for copy in range(copies)]
    manager = subprocess.run(["./manager", *pipes], check=False)
    late = False
    for user in users:
        os.kill(user, signal.SIGKILL)  # what it has to say has been said; one that has ended stays a zombie
        _, _, used = os.wait4(user, 0)
        late |= used.ru_utime + used.ru_stime > seconds
    os._exit(too_slow if late else manager.returncode & 0xFF)


main()
