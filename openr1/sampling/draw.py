"""Draw what a ledger lacks, batch by batch, and hand back everything in the order asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.sampling.ledger import Ledger
from openr1.sampling.requests import Request, SamplingParams
from openr1.sampling.threads import set_threads
from openr1.sampling.transformers_backend import TransformersSampler

BATCH_ON_CPU = 128
BATCH_ON_GPU = 64

PROBE_ROWS = 32
PROBE_TOKENS = 8

OnBatch = Callable[[int, int, float], None]
"""Called after every batch with: samples done in all, tokens and seconds of this attempt."""


@dataclass(frozen=True)
class Drawn:
    """All samples in the order of their requests; tokens and seconds count this attempt alone."""

    rows: list[dict[str, Any]]
    tokens: int
    seconds: float


def choose_threads(
    sampler: TransformersSampler, requests: Sequence[Request], run: Path, asked: int | None, cores: int
) -> None:
    """On a CPU, decode with the number of threads that is fastest for this model (see `threads`)."""
    if sampler.device == "cpu" and requests:
        few = SamplingParams(temperature=0.0, top_p=1.0, top_k=None, max_new_tokens=PROBE_TOKENS, seed=0)
        set_threads(run, asked, cores, lambda: sampler.complete(requests[:PROBE_ROWS], few, 0))


def draw(
    sampler: TransformersSampler,
    requests: Sequence[Request],
    params: SamplingParams,
    ledger: Ledger,
    *,
    model: str,
    batch_size: int | None,
    on_batch: OnBatch,
) -> Drawn:
    """Complete the requests whose samples are not in the ledger.

    A batch of which a part is missing is drawn whole again, from the same seed, so that an interrupted run
    ends with the samples of one that was not.

    Args:
        model: fingerprint of the weights; part of every sample's key.
        batch_size: completions side by side; None takes the device's default.
    """
    size = batch_size or (BATCH_ON_CPU if sampler.device == "cpu" else BATCH_ON_GPU)
    keys = [request.key(model, params) for request in requests]
    starts = range(0, len(keys), size)
    finished = [start for start in starts if all(k in ledger.done for k in keys[start : start + size])]
    done = sum(len(keys[start : start + size]) for start in finished)
    begun, tokens = time.perf_counter(), 0
    on_batch(done, 0, 0.0)
    for number, start in enumerate(starts):
        if start in finished:
            continue
        batch = requests[start : start + size]
        completions = sampler.complete(batch, params, number)
        ledger.add(
            {"key": key, "row": request.row, "index": request.index, **completion.as_dict()}
            for key, request, completion in zip(keys[start : start + size], batch, completions, strict=True)
        )
        tokens += sum(completion.tokens for completion in completions)
        done += len(batch)
        on_batch(done, tokens, time.perf_counter() - begun)
    place = {key: index for index, key in enumerate(keys)}
    rows = sorted((r for r in ledger.rows() if r["key"] in place), key=lambda r: place[r["key"]])
    return Drawn(rows, tokens, time.perf_counter() - begun)
