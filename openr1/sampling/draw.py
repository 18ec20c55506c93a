"""Draw what a ledger lacks and hand back everything in the order asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.sampling.backend import Sampler
from openr1.sampling.ledger import Ledger
from openr1.sampling.requests import Request, SamplingParams, Unit, units_of

if TYPE_CHECKING:
    from openr1.sampling.transformers_backend import TransformersSampler

PROBE_ROWS = 32
PROBE_TOKENS = 8

OnBatch = Callable[[int, int, float], None]
"""Called after every unit with: samples done in all, tokens and seconds of this attempt."""


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
    from openr1.sampling.threads import set_threads

    if sampler.device == "cpu" and requests:
        few = SamplingParams(temperature=0.0, top_p=1.0, top_k=None, max_new_tokens=PROBE_TOKENS, seed=0)
        set_threads(run, asked, cores, lambda: sampler.complete(requests[:PROBE_ROWS], few, 0))


def draw(
    sampler: Sampler,
    requests: Sequence[Request],
    params: SamplingParams,
    ledger: Ledger,
    *,
    protocol: str | None = None,
    on_batch: OnBatch,
) -> Drawn:
    """Complete the requests whose samples are not in the ledger.

    A batch of which a part is missing is drawn whole again, from the same seed, so that an interrupted run
    ends with the samples of one that was not. Engines that batch by themselves draw single samples, each with
    its own seed.

    Args:
        protocol: how it is asked, as a part of every sample's key; the sampling values alone when not given.
    """
    name = params.text() if protocol is None else f"{protocol} seed={params.seed}"
    keys = {
        (request.task, request.row, request.index): request.key(sampler.fingerprint, name)
        for request in requests
    }
    units = units_of(requests, sampler.unit_size)

    def keys_of(unit: Unit) -> list[str]:
        return [keys[request.task, request.row, request.index] for request in unit.requests]

    missing = [unit for unit in units if not all(key in ledger.done for key in keys_of(unit))]
    done = len(requests) - sum(len(unit.requests) for unit in missing)
    begun, tokens = time.perf_counter(), 0
    on_batch(done, 0, 0.0)
    for unit, completions in sampler.run(_each(missing), params):
        ledger.add(
            {
                "key": key,
                "task": request.task,
                "row": request.row,
                "index": request.index,
                "model": sampler.fingerprint,
                "protocol": name,
                **completion.as_dict(),
            }
            for key, request, completion in zip(keys_of(unit), unit.requests, completions, strict=True)
        )
        tokens += sum(completion.tokens for completion in completions)
        done += len(unit.requests)
        on_batch(done, tokens, time.perf_counter() - begun)
    seconds = time.perf_counter() - begun
    place = {key: index for index, key in enumerate(keys.values())}
    rows = sorted((r for r in ledger.rows() if r["key"] in place), key=lambda r: place[r["key"]])
    return Drawn(rows, tokens, seconds)


def _each(units: Sequence[Unit]) -> Iterator[Unit | None]:
    yield from units
