"""Progress of samples that another process draws, read from what it writes down: a distilabel pipeline's."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from openr1.data.columns import Row
from openr1.errors import OpenR1Error
from openr1.generation.loop import EVENT_S, check_failures, quarantine_of, report
from openr1.generation.spot_check import SpotCheck
from openr1.runs.child import Child
from openr1.runs.files import write_json
from openr1.sampling.draw import Tally
from openr1.sampling.ledger import Ledger, shards_of
from openr1.sampling.requests import Completion, Failure

BEGUN = "begun"
"""Beside the file that stops the pipeline: the model is loaded; holds its `fingerprint`."""


class Follower:
    """Reports a pipeline as `Loop` reports itself, and stops it: by a wish, or when too much fails.

    Use as a context manager around the pipeline. The stop is a file that the pipeline's processes look for;
    with an error in it where there is one.
    """

    def __init__(
        self,
        child: Child,
        stop: Path,
        rows: Sequence[Row],
        columns: Sequence[str],
        *,
        samples: int,
        in_flight: int,
    ) -> None:
        """Open what earlier attempts have left.

        Args:
            rows: the dataset's, for their gold answers.
            samples: of each row.
            in_flight: the most samples that are asked for at a time.
        """
        self.child, self.stop, self.rows = child, stop, rows
        self.total, self.in_flight = len(rows) * samples, in_flight
        self.quarantine = quarantine_of(child)
        ledger = child.run.samples / "ledger.jsonl"
        self._kept: dict[str, set[tuple[int, int]]] = defaultdict(set)
        for row in Ledger(ledger).rows():  # which mends the end first, before the pipeline appends to it
            self._kept[row["model"]].add((row["row"], row["index"]))
        self._drawn, self._failures = Tail(ledger), Tail(self.quarantine.path)
        self._failed = set[str]()
        self.tally = Tally()
        self.spot = SpotCheck(columns, child.values["solution_column"])
        self._done: set[tuple[int, int]] | None = None
        self._begun = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.spot.close()

    def _watch(self) -> None:
        while not self._over.wait(EVENT_S):
            if self.child.stop_asked and not self.stop.exists():
                self._end()
            self._look()
        self._look()

    def _end(self, error: OpenR1Error | None = None) -> None:
        self.stop.parent.mkdir(parents=True, exist_ok=True)
        if error is None:
            self.stop.touch()
        else:
            write_json(self.stop, error.as_dict())

    def _look(self) -> None:
        """Read on, and say what is new."""
        begun = self.stop.with_name(BEGUN)
        if self._done is None:
            if not begun.exists():
                return
            self._start(json.loads(begun.read_text(encoding="utf-8"))["fingerprint"])
        assert self._done is not None
        for row in self._drawn:
            self._done.add((row["row"], row["index"]))
            self.tally.drawn += 1
            self.tally.tokens += row["tokens"]
            self.tally.finish_reasons[row["finish_reason"]] += 1
            if self.spot.wants:
                told = Completion(row["text"], row["tokens"], row["finish_reason"], row["think_prefilled"])
                self.spot.offer(self.rows[row["row"]], told)
        self.tally.kept = len(self._done) - self.tally.drawn
        self.tally.seconds = time.monotonic() - self._begun
        self._look_at_failures()
        report(self.child, self.tally, len(self._done), self.spot.share)

    def _start(self, fingerprint: str) -> None:
        """The model is loaded: from here on the time counts."""
        self._done = self._kept[fingerprint]
        self._begun = time.monotonic()
        self.child.events.send("start", total=self.total, done=len(self._done), unit="sample")

    def _look_at_failures(self) -> None:
        for line in self._failures:
            if line["key"] in self._failed:
                continue  # a batch in which something broke is asked for again, one by one
            self._failed.add(line["key"])
            self.tally.failed += 1
            self.tally.given = min(self.total, self.tally.drawn + self.tally.failed + self.in_flight)
            failure = Failure(**{name: line[name] for name in Failure.__dataclass_fields__})
            try:
                check_failures(
                    self.quarantine, self.tally, failure, self.child.values["max_failed"], self.total
                )
            except OpenR1Error as error:
                if not self.stop.exists():
                    self._end(error)


class Tail:
    """The rows that come to a JSON lines file, and to the shards after it, from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shard = len(shards_of(path)) - 1
        newest = shards_of(path)[-1]
        self._offset = newest.stat().st_size if newest.exists() else 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Whole lines that were not read yet."""
        while True:
            shards = shards_of(self._path)  # before reading: the one that is read may just be ending
            if shards[self._shard].exists():
                with shards[self._shard].open("rb") as file:
                    file.seek(self._offset)
                    for line in file:
                        if not line.endswith(b"\n"):
                            break
                        self._offset += len(line)
                        yield json.loads(line)
            if self._shard + 1 == len(shards):
                return
            self._shard, self._offset = self._shard + 1, 0
