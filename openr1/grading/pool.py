"""Worker processes with a hard wall clock: whoever does not answer in time is killed and replaced.

Plain child processes rather than `multiprocessing`: nothing is forked out of a trainer that holds CUDA
contexts, and nothing re-imports the caller's `__main__`. Used from one thread at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ComponentFailed, EnvironmentProblem
from ..extras import install
from .verdict import Verdict

START_S = 120.0
"""A worker that is not ready by then has failed to start (cold disk, busy node)."""
MAX_FAILED_STARTS = 3
RECYCLE_AFTER = 2_000
"""Items after which a worker is replaced: sympy's caches grow."""
MEMORY_MB = 3_072

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class Judged:
    """A worker's (or the clock's) word on one pair."""

    verdict: Verdict
    reason: str
    seconds: float


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    deadline: float
    ready: bool = False
    job: int | None = None
    started: float = 0.0
    done: int = 0
    buffer: bytearray = field(default_factory=bytearray)


class WorkerPool:
    """Up to `size` workers, started when there is work for them.

    Args:
        size: number of processes.
        limit: wall-clock seconds per pair.
        memory_mb: address space of one worker; 0 for no limit.
        recycle_after: pairs after which a worker is replaced.
    """

    def __init__(
        self,
        size: int,
        limit: float,
        memory_mb: int = MEMORY_MB,
        recycle_after: int = RECYCLE_AFTER,
    ) -> None:
        self.size, self.limit = size, limit
        self.memory_mb, self.recycle_after = memory_mb, recycle_after
        self.killed = 0
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._owner = os.getpid()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers alive."""
        return [w.process.pid for w in self._workers]

    def run(self, pairs: Sequence[tuple[str, str]], judge: str = "ours") -> list[Judged]:
        """Judge (gold, answer) pairs; results in order.

        Args:
            pairs: normalised texts.
            judge: who judges in the worker: a name in `openr1.grading.worker.JUDGES`.

        Raises:
            EnvironmentProblem: math-verify cannot be imported.
            ComponentFailed: workers do not start.
        """
        if os.getpid() != self._owner:  # a forked child must not talk over its parent's pipes
            self._workers, self._owner = [], os.getpid()
        results: list[Judged | None] = [None] * len(pairs)
        waiting = list(range(len(pairs) - 1, -1, -1))
        open_jobs = len(pairs)
        try:
            while open_jobs:
                self._fill(waiting, open_jobs)
                for worker in self._idle():
                    if waiting:
                        self._assign(worker, waiting.pop(), pairs, judge)
                for job, judged in self._wait():
                    results[job] = judged
                    open_jobs -= 1
        except BaseException:
            self.close()  # jobs in flight would answer into the next call
            raise
        return [r for r in results if r is not None]

    def close(self) -> None:
        """End all workers and reap them."""
        if os.getpid() != self._owner:
            return
        workers, self._workers = self._workers, []
        for worker in workers:
            self._end(worker)

    def _fill(self, waiting: list[int], open_jobs: int) -> None:
        while len(self._workers) < min(self.size, open_jobs) and (waiting or not self._workers):
            self._workers.append(self._start())

    def _idle(self) -> list[_Worker]:
        return [w for w in self._workers if w.ready and w.job is None]

    def _start(self) -> _Worker:
        path = os.pathsep.join(p for p in (_PACKAGE_ROOT, os.environ.get("PYTHONPATH", "")) if p)
        env = os.environ | {
            "PYTHONPATH": path,
            "PYTHONSAFEPATH": "1",  # a sympy.py in the working directory is not sympy
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
        }
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "openr1.grading.worker",
                str(os.getpid()),
                str(self.limit),
                str(self.memory_mb),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            bufsize=0,
        )
        return _Worker(process, deadline=time.monotonic() + START_S)

    def _assign(self, worker: _Worker, job: int, pairs: Sequence[tuple[str, str]], judge: str) -> None:
        gold, answer = pairs[job]
        request = {"id": job, "judge": judge, "gold": gold, "answer": answer}
        line = json.dumps(request).encode("ascii") + b"\n"
        worker.job, worker.started = job, time.monotonic()
        worker.deadline = worker.started + self.limit
        assert worker.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is noticed by _wait
            worker.process.stdin.write(line)

    def _wait(self) -> list[tuple[int, Judged]]:
        """Results that arrive before the nearest deadline, and a timeout for whoever passed it."""
        pause = max(
            0.0, min(w.deadline for w in self._workers if w.job is not None or not w.ready) - time.monotonic()
        )
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                assert worker.process.stdout is not None
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            readable = [key.data for key, _ in selector.select(pause)]
        finished: list[tuple[int, Judged]] = []
        for worker in readable:
            finished.extend(self._read(worker))
        now = time.monotonic()
        for worker in list(self._workers):
            late = now >= worker.deadline and (worker.job is not None or not worker.ready)
            if late:
                finished.extend(self._expire(worker))
        return finished

    def _read(self, worker: _Worker) -> list[tuple[int, Judged]]:
        assert worker.process.stdout is not None
        chunk = os.read(worker.process.stdout.fileno(), 65536)
        if not chunk:
            return self._died(worker)
        worker.buffer += chunk
        finished: list[tuple[int, Judged]] = []
        while b"\n" in worker.buffer:
            line, _, rest = bytes(worker.buffer).partition(b"\n")
            worker.buffer = bytearray(rest)
            finished.extend(self._message(worker, json.loads(line)))
        return finished

    def _message(self, worker: _Worker, message: dict[str, object]) -> list[tuple[int, Judged]]:
        if "failed" in message:
            raise EnvironmentProblem(
                f"math-verify cannot be imported: {message['failed']}", fix=install("train")
            )
        if "ready" in message:
            worker.ready, self._failed_starts = True, 0
            return []
        assert worker.job is not None
        judged = Judged(
            Verdict(str(message["verdict"])), str(message["reason"]), time.monotonic() - worker.started
        )
        job, worker.job = worker.job, None
        worker.done += 1
        if worker.done >= self.recycle_after or judged.reason == "out of memory":
            self._remove(worker)
        return [(job, judged)]

    def _expire(self, worker: _Worker) -> list[tuple[int, Judged]]:
        self._remove(worker)
        self.killed += 1
        if worker.job is None:
            return self._start_failed(f"not ready after {START_S:.0f} s")
        took = time.monotonic() - worker.started
        return [(worker.job, Judged(Verdict.timeout, f"no result within {self.limit:g} s", took))]

    def _died(self, worker: _Worker) -> list[tuple[int, Judged]]:
        self._remove(worker)
        status = worker.process.returncode
        if worker.job is None:
            return [] if worker.ready else self._start_failed(f"exit status {status}")
        took = time.monotonic() - worker.started
        if status == -signal.SIGVTALRM:
            return [(worker.job, Judged(Verdict.timeout, "CPU time used up", took))]
        return [(worker.job, Judged(Verdict.error, f"the worker ended with status {status}", took))]

    def _start_failed(self, why: str) -> list[tuple[int, Judged]]:
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise ComponentFailed(
                f"grading workers do not start: {why}", fix="python -m openr1.grading.worker 0 5 0 </dev/null"
            )
        return []

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._end(worker)

    @staticmethod
    def _end(worker: _Worker) -> None:
        worker.process.kill()
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        worker.process.wait()
