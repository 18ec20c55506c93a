"""`python -m openr1.launch.bound COMMAND…`: run a program that cannot tie itself to its parent.

The program and everything it starts end when this process is asked to end, or when its parent dies, by
whatever signal. vLLM's server leaves its engine running otherwise.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

from openr1.runs.child import PR_SET_PDEATHSIG


def main(argv: list[str]) -> int:
    def end(signum: int, frame: FrameType | None) -> None:
        os.killpg(os.getpgid(0), signal.SIGKILL)  # us too

    signal.signal(signal.SIGTERM, end)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    parent = os.environ.get("OPENR1_PARENT_PID")
    if parent and os.getppid() != int(parent):  # it died before the line above
        return 1
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    return subprocess.run(argv, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
