"""Several engine processes as one sampler: data parallel, one engine per card (or per share of the cores)."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, cast

from openr1.errors import ComponentFailed, from_dict
from openr1.sampling.backend import Engine
from openr1.sampling.engine import VARIABLE, outcome_from
from openr1.sampling.requests import Completion, Failure, Request, SamplingParams, Unit

BATCHES_AHEAD = 2  # a static batch in work and one waiting
SINGLES_AHEAD = 256  # requests an engine with its own batching knows at once
RESTARTS = 2  # per engine; what dies more often than that will not live


class EngineProcess:
    """One engine process: its pipes, and the units it has been given."""

    def __init__(self, engine: Engine, env: dict[str, str]) -> None:
        self.engine, self.env = engine, env
        self.deaths = 0
        self.given: dict[int, Unit] = {}
        self.process: subprocess.Popen[str] | None = None
        self.fd = -1
        self.rest, self.lines = b"", list[bytes]()

    def start(self) -> None:
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "openr1.sampling.engine"],
            env={**os.environ, **self.env, VARIABLE: str(write_end), "OPENR1_PARENT_PID": str(os.getpid())},
            stdin=subprocess.PIPE,
            text=True,
            pass_fds=(write_end,),
        )
        os.close(write_end)
        self.fd, self.rest, self.lines = read_end, b"", []
        self.send({"open": self.engine.as_dict()})

    def send(self, message: dict[str, Any]) -> None:
        """Hand a line to the engine; one that is dead is noticed where its answers are read."""
        assert self.process and self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The next message, waited for.

        Raises:
            OpenR1Error: what the engine reported before it ended.
            EOFError: it ended without a word.
        """
        while not self.lines:
            self.lines += self.arrived()
        message: dict[str, Any] = json.loads(self.lines.pop(0))
        if "error" in message:
            raise from_dict(message["error"])
        return message

    def arrived(self) -> list[bytes]:
        """Whole lines that one read brings. Read by hand: what a file object has buffered, no select sees.

        Raises:
            EOFError: the engine is gone.
        """
        chunk = os.read(self.fd, 1 << 16)
        if not chunk:
            raise EOFError
        *whole, self.rest = (self.rest + chunk).split(b"\n")
        return whole

    def close(self) -> None:
        if self.process is None:
            return
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class EnginePool:
    """Engines side by side. What an engine held when it died is drawn by another."""

    def __init__(self, engine: Engine, environments: Sequence[dict[str, str]]) -> None:
        """Start one engine per environment (CUDA_VISIBLE_DEVICES, OMP_NUM_THREADS); wait until all are ready.

        Raises:
            OpenR1Error: what the first engine that failed reported.
        """
        self.workers = [EngineProcess(engine, env) for env in environments]
        try:
            for worker in self.workers:
                worker.start()
            ready = [self._ready(worker) for worker in self.workers]
        except BaseException:
            self.close()
            raise
        self.device: str = ready[0]["device"]
        self.fingerprint: str = ready[0]["fingerprint"]
        self.unit_size: int = ready[0]["unit_size"]
        self._context: int | None = ready[0]["context"]

    @property
    def context(self) -> int | None:
        return self._context

    def prompt_lengths(self, requests: Sequence[Request]) -> list[int]:
        first = self.workers[0]
        first.send({"lengths": [asdict(request) for request in requests]})
        found: list[int] = first.receive()["lengths"]
        return found

    def run(
        self, units: Iterable[Unit | None], params: SamplingParams
    ) -> Iterator[tuple[Unit, list[Completion | Failure]]]:
        """Give every engine as much as it can use, the one with the least in hand first."""
        ahead = BATCHES_AHEAD if self.unit_size > 1 else SINGLES_AHEAD
        source, back = iter(units), deque[Unit]()
        started = {"params": asdict(params)}
        for worker in self.workers:
            worker.given = {}
            worker.send(started)
        more = True
        with selectors.DefaultSelector() as selector:
            for worker in self.workers:
                selector.register(worker.fd, selectors.EVENT_READ, worker)
            while True:
                while (free := self._free(ahead)) is not None:
                    unit = back.popleft() if back else next(source, None) if more else None
                    if unit is None:
                        more = False
                        break
                    free.given[unit.number] = unit
                    free.send({"unit": asdict(unit)})
                if not more and not back and not any(w.given for w in self.workers):
                    break
                for key, _ in selector.select():
                    worker = cast(EngineProcess, key.data)
                    try:
                        worker.lines += worker.arrived()
                    except EOFError:
                        back.extend(worker.given.values())
                        selector.unregister(key.fd)
                        self._revive(worker, started)
                        selector.register(worker.fd, selectors.EVENT_READ, worker)
                        continue
                    while worker.lines:
                        message = worker.receive()
                        unit = worker.given.pop(message["unit"])
                        yield unit, [outcome_from(fields) for fields in message["outcomes"]]
        for worker in self.workers:
            worker.send({"end": True})
            with contextlib.suppress(EOFError):  # one that died idle is started again when it is needed
                while "ended" not in worker.receive():
                    pass

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def _free(self, ahead: int) -> EngineProcess | None:
        least = min(self.workers, key=lambda worker: len(worker.given))
        return least if len(least.given) < ahead else None

    def _ready(self, worker: EngineProcess) -> dict[str, Any]:
        try:
            message = worker.receive()
        except EOFError:
            assert worker.process
            code = worker.process.wait()
            raise ComponentFailed(
                f"an engine process ended with status {code} while it was loading the model",
                fix="the log has its last words; the same command continues",
            ) from None
        ready: dict[str, Any] = message["ready"]
        return ready

    def _revive(self, worker: EngineProcess, started: dict[str, Any]) -> None:
        worker.given = {}
        worker.deaths += 1
        if worker.deaths > RESTARTS:
            raise ComponentFailed(
                f"an engine process has died {worker.deaths} times",
                fix="the log has its last words; finished samples are kept, the same command continues",
            )
        worker.close()
        worker.start()
        self._ready(worker)
        worker.send(started)
