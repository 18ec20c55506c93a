"""How many CPU threads are fastest here: measured once, stored, and reused when the run continues.

Two threads beat one on an idle machine and can be many times slower on a busy one; no rule knows which.
The number also decides the order of floating-point sums, so a continued run must keep it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from openr1.runs.files import write_json

ROUNDS = 3


def set_threads(run: Path, asked: int | None, cores: int, work: Callable[[], object]) -> int:
    """Set torch's intra-op threads to what was asked for, stored, or found fastest, and return the number.

    Args:
        run: the run folder; the finding is kept there as probe.json.
        asked: a person's own number; None measures.
        cores: usable cores of this machine.
        work: a short piece of the real work; its random draws do not move the caller's random state.
    """
    store = run / "probe.json"
    if asked is None and store.exists():
        asked = int(json.loads(store.read_text(encoding="utf-8"))["threads"])
    if asked is None and cores > 1:
        seconds = {threads: _fastest(work, threads) for threads in (1, cores)}
        asked = min(seconds, key=lambda threads: seconds[threads])
        write_json(store, {"threads": asked, "seconds": {str(k): round(v, 5) for k, v in seconds.items()}})
    torch.set_num_threads(asked or 1)
    return asked or 1


def _fastest(work: Callable[[], object], threads: int) -> float:
    """Seconds of the fastest of a few rounds: noise only ever adds."""
    torch.set_num_threads(threads)
    best = float("inf")
    with torch.random.fork_rng(devices=[]):
        for _ in range(ROUNDS):
            start = time.perf_counter()
            work()
            best = min(best, time.perf_counter() - start)
    return best
