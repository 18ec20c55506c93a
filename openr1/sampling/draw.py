"""Draw what a ledger lacks and hand back everything in the order asked for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.errors import ComponentFailed
from openr1.sampling.backend import Sampler
from openr1.sampling.ledger import Ledger
from openr1.sampling.requests import (
    Completion,
    Failure,
    Request,
    SamplingParams,
    Unit,
    completed,
    units_of,
)

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


@dataclass
class Tally:
    """How far a drawing is: `kept` were in the ledger before; the rest is of this attempt."""

    kept: int = 0
    given: int = 0
    drawn: int = 0
    failed: int = 0
    tokens: int = 0
    seconds: float = 0.0
    finish_reasons: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        return self.kept + self.drawn


Outcome = tuple[Request, str, Completion | Failure]


def stream(
    sampler: Sampler,
    requests: Iterable[Request],
    params: SamplingParams,
    ledger: Ledger,
    tally: Tally,
    *,
    protocol: str | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[list[Outcome]]:
    """Complete the requests whose samples are not in the ledger, and write every one down as it is there.

    Requests are pulled as places become free: there may be any number of them, and no barrier.
    A static batch of which a part is missing is drawn whole again, from the same seed, so that an
    interrupted run ends with the samples of one that was not. Engines that batch by themselves draw single
    samples, each with its own seed.

    Args:
        tally: kept up to date; it is right whenever something is handed out.
        protocol: how it is asked, as a part of every sample's key; the sampling values alone when not given.
        stopped: asked before every request; when it says yes, what is in flight is drawn to its
            end and no more.

    Yields:
        What was drawn together: request, key, and the completion (which is in the ledger) or the failure
        (which is not).
    """
    name = protocol_name(params, protocol)
    keys: dict[int, list[str]] = {}  # of the units in flight

    def missing() -> Iterator[Unit]:
        for unit in units_of(requests, sampler.unit_size):
            if stopped():
                return
            mine = [request.key(sampler.fingerprint, name) for request in unit.requests]
            if all(key in ledger for key in mine):
                tally.kept += len(mine)
            else:
                keys[unit.number] = mine
                tally.given += len(mine)
                yield unit

    begun = time.perf_counter()
    for unit, found in sampler.run(missing(), params):
        drawn = list(zip(unit.requests, keys.pop(unit.number), found, strict=True))
        done = [(request, key, c) for request, key, c in drawn if isinstance(c, Completion)]
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
            for request, key, completion in done
        )
        tally.drawn += len(done)
        tally.failed += len(drawn) - len(done)
        tally.tokens += sum(completion.tokens for _, _, completion in done)
        tally.finish_reasons.update(completion.finish_reason for _, _, completion in done)
        tally.seconds = time.perf_counter() - begun
        yield drawn
    tally.seconds = time.perf_counter() - begun


def protocol_name(params: SamplingParams, protocol: str | None = None) -> str:
    """The part of a sample's key that says how it was asked and drawn."""
    return params.text() if protocol is None else f"{protocol} seed={params.seed}"


def draw(
    sampler: Sampler,
    requests: Sequence[Request],
    params: SamplingParams,
    ledger: Ledger,
    *,
    protocol: str | None = None,
    on_batch: OnBatch,
) -> Drawn:
    """Complete a list of requests, of which none may fail, and hand back everything: see `stream`.

    Static batches are made of prompts of about one length, the longest first: a batch is padded to its
    longest prompt, and what does not fit into memory is known at once.

    Raises:
        OpenR1Error: the first completion that could not be had.
        ComponentFailed: the backend left some out.
    """
    name = protocol_name(params, protocol)
    ordered = sorted(requests, key=prompt_characters, reverse=True) if sampler.unit_size > 1 else requests
    tally = Tally(kept=sum(request.key(sampler.fingerprint, name) in ledger for request in requests))
    on_batch(tally.kept, 0, 0.0)
    before, tally.kept = tally.kept, 0
    for drawn in stream(sampler, ordered, params, ledger, tally, protocol=protocol):
        completed(outcome for _, _, outcome in drawn)
        on_batch(before + tally.drawn, tally.tokens, tally.seconds)
    found = (ledger.get(request.key(sampler.fingerprint, name)) for request in requests)
    rows = [row for row in found if row is not None]
    ledger.close()
    if len(rows) < len(requests):  # a mean over fewer answers than were asked for would look like any other
        raise ComponentFailed(
            f"the backend gave {len(rows):,} of {len(requests):,} completions and said no more",
            fix="what it gave is kept, the same command asks for the rest",
        )
    return Drawn(rows, tally.tokens, tally.seconds)


def prompt_characters(request: Request) -> int:
    """How long a prompt is, as near as can be told without a tokenizer."""
    return len(request.prompt or "") + sum(len(message["content"]) for message in request.messages)
