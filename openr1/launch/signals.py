"""What a stop means for a while: handlers for SIGINT and SIGTERM, and what was there before put back."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def stops_go_to(handler: Handler) -> Iterator[None]:
    """Within it, a person's Ctrl-C and a scheduler's SIGTERM call `handler`. Of the main thread only."""
    before = {which: signal.signal(which, handler) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for which, previous in before.items():
            signal.signal(which, previous)
