"""The `openr1` command."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def _stop(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    try:
        signal.signal(signal.SIGTERM, _stop)  # a scheduler's word for Ctrl-C
        if "--slurm" in sys.argv[1:]:  # a way to run any command, not an option of one
            from openr1.cli.slurm import main as submit

            sys.exit(submit(sys.argv[1:]))
        from openr1.cli.app import app

        app(prog_name="openr1")
    except KeyboardInterrupt:  # before a command's own guard is up
        sys.exit(130)


if __name__ == "__main__":
    main()
