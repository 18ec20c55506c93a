"""The sampling loop of a generation: every sample ends in the ledger or, by name, in the quarantine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from openr1.data.columns import Row
from openr1.errors import ComponentFailed
from openr1.generation.spot_check import SpotCheck
from openr1.runs.child import Child
from openr1.sampling.draw import Tally, protocol_name, stream
from openr1.sampling.ledger import Ledger
from openr1.sampling.quarantine import Quarantine, in_words
from openr1.sampling.requests import REFUSALS, Failure, Request, SamplingParams

BREAKER_FROM = 10  # failures; fewer are no share of anything
ALL_REFUSED = 8  # as many refusals and not one completion: what is asked is wrong, not the samples
EVENT_S = 0.2  # between two reports


class Loop:
    """Draws requests into the ledger of a run, reports, and stops when too much fails."""

    def __init__(self, child: Child, sampler: Any, rows: Sequence[Row], columns: Sequence[str]) -> None:
        """Open what earlier attempts have left.

        Args:
            rows: the dataset's, for their gold answers.
        """
        self.child, self.sampler, self.rows = child, sampler, rows
        self.ledger = Ledger(child.run.samples / "ledger.jsonl")
        self.quarantine = quarantine_of(child)
        self.spot = SpotCheck(columns, child.values["solution_column"])
        self._reported = 0.0
        if sampler.device == "server":
            sampler.stop_asked = lambda: child.stop_asked
            sampler.fleet.wait_for_servers(child.values["server_patience"])

    def draw(self, requests: Iterable[Request], total: int, params: SamplingParams) -> int:
        """Draw the samples that the ledger lacks; returns how many failed.

        When a stop is asked for, what is in flight is drawn to its end.

        Raises:
            Interrupted: a stop was asked for.
            ComponentFailed: more failed than `max_failed` allows; what is done is kept.
            RecipeError: the servers refuse everything.
        """
        kept = self.ledger.count(self.sampler.fingerprint, protocol_name(params))
        self.child.events.send("start", total=total, done=min(kept, total), unit="sample")
        tally = Tally()
        allowed = self.child.values["max_failed"]
        for drawn in stream(
            self.sampler, requests, params, self.ledger, tally, stopped=lambda: self.child.stop_asked
        ):
            for request, key, outcome in drawn:
                if isinstance(outcome, Failure):
                    self.quarantine.add(request, key, outcome)
                    check_failures(self.quarantine, tally, outcome, allowed, total)
                elif self.spot.wants:
                    self.spot.offer(self.rows[request.row], outcome)
            self._report(tally, max(kept, tally.done))
        self._report(tally, max(kept, tally.done), at_once=True)
        self.child.check_stop()
        if tally.failed > allowed * total:
            raise too_many(self.quarantine, tally.failed, total)
        return tally.failed

    def redraw(self, requests: Iterable[Request], total: int, params: SamplingParams) -> None:
        """Draw samples once more, with a larger budget; one that fails keeps its first try."""
        self.child.events.send("start", total=total, done=0, unit="sample")
        tally = Tally()
        for _ in stream(
            self.sampler, requests, params, self.ledger, tally, stopped=lambda: self.child.stop_asked
        ):
            self._report(tally, tally.done)
        self._report(tally, tally.done, at_once=True)
        self.child.check_stop()
        if tally.failed:
            self.child.events.send(
                "notice", text=f"{tally.failed:,} of them failed, and stay as they were, cut off"
            )

    def close(self) -> None:
        self.spot.close()
        self.ledger.close()

    def _report(self, tally: Tally, done: int, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._reported >= EVENT_S:
            self._reported = now
            report(self.child, tally, done, self.spot.share)


def report(child: Child, tally: Tally, done: int, right: float | None) -> None:
    """Tell the parent how far a drawing is.

    Args:
        right: share of right answers among those looked at.
    """
    outcomes = {"failed": tally.failed} if tally.failed else {}
    child.events.send(
        "progress",
        done=done,
        tokens=tally.tokens,
        seconds=tally.seconds,
        metrics={} if right is None else {"rewards/accuracy/mean": right},
        outcomes={**dict(tally.finish_reasons.most_common()), **outcomes},
    )


def check_failures(
    quarantine: Quarantine, tally: Tally, failure: Failure, allowed: float, total: int
) -> None:
    """The circuit breaker.

    Args:
        failure: the newest one, which is in the tally.

    Raises:
        OpenR1Error: too much fails, or everything is refused.
    """
    if not tally.done and failure.kind in REFUSALS and tally.failed >= min(ALL_REFUSED, total):
        raise failure.error()
    if tally.failed >= BREAKER_FROM and tally.failed > allowed * (tally.kept + tally.given):
        raise too_many(quarantine, tally.failed, tally.kept + tally.given)


def too_many(quarantine: Quarantine, failed: int, of: int) -> ComponentFailed:
    """The error of a run that does not go on without so many samples."""
    return ComponentFailed(
        f"{failed:,} of {of:,} samples failed ({in_words(quarantine.reasons())})",
        where=str(quarantine.path),
        fix="look at the reasons there; finished samples are kept, and the same command tries the others "
        "again. --max_failed SHARE allows more",
    )


def quarantine_of(child: Child) -> Quarantine:
    """The run's list of failed samples."""
    return Quarantine(child.run.path / "quarantine.jsonl")


def cut_off(
    requests: Iterable[Request], ledger: Ledger, fingerprint: str, params: SamplingParams
) -> Iterator[Request]:
    """Those whose sample ended at the limit that was asked for; not those whose context left no more."""
    name = protocol_name(params)
    for request in requests:
        row = ledger.get(request.key(fingerprint, name))
        if row and row["finish_reason"] == "length" and not row.get("limit"):
            yield request


def sample_of(
    request: Request, ledger: Ledger, fingerprint: str, ways: Sequence[SamplingParams]
) -> dict[str, Any] | None:
    """The sample drawn in the first of these ways that has one."""
    for params in ways:
        row = ledger.get(request.key(fingerprint, protocol_name(params)))
        if row is not None:
            return row
    return None
