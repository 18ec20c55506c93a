"""How a child tells its parent what it does: JSON lines over an inherited pipe.

Events, all with a `time` (seconds since the epoch):
    phase     name                                    what goes on before the first step
    start     total, done, unit                       steps or samples to do, and done in earlier attempts
    progress  done, and metrics by name               one optimizer step, or some samples
    saved     step                                    a checkpoint is complete
    rows      stage, samples                          some rows as the model will see them
    notice    text                                    something a person should read once
    result    fields of the run's result              the end, all well
    error     OpenR1Error.as_dict()                   the end, not well
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

from openr1.runs.files import clean

VARIABLE = "OPENR1_EVENTS_FD"


class Events:
    """The child's end of the pipe. Without a parent (a child started by hand) it prints the lines."""

    def __init__(self) -> None:
        fd = os.environ.get(VARIABLE)
        self._file = os.fdopen(int(fd), "w", encoding="utf-8", buffering=1) if fd else None

    def send(self, event: str, **fields: Any) -> None:
        line = json.dumps(clean({"event": event, "time": time.time(), **fields}), default=str)
        if self._file is None:
            print(line, flush=True)
            return
        with contextlib.suppress(BrokenPipeError):  # the parent is gone; PR_SET_PDEATHSIG ends us too
            self._file.write(line + "\n")


def parse(line: str) -> dict[str, Any] | None:
    """One event, or None for a line that a kill cut in two."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
