"""Grade completions: extraction and the cheap decisions here, mathematics in workers with a hard clock."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType

from .compare import equal, known_leaf
from .cost import too_costly
from .exact import TooCostlyError
from .extract import extract, read_gold
from .pool import MEMORY_MB, RECYCLE_AFTER, Judged, WorkerPool
from .verdict import Graded, Item, Verdict

LIMIT_S = 5.0
CACHE_PAIRS = 100_000


def default_workers() -> int:
    """Cores this process may use, divided by the ranks on this machine (`LOCAL_WORLD_SIZE`); at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, min(16, cores // (int(ranks) if ranks.isdigit() and int(ranks) > 0 else 1)))


class Grader:
    """Grades items in order. A context manager; the workers start with the first item that needs one.

    Args:
        workers: processes for the mathematics; default cores / local ranks.
        limit: wall-clock seconds per item.
        memory_mb: address space of a worker.
        cache: remember the verdict of a (gold, answer) pair.
        recycle_after: items after which a worker is replaced.
    """

    def __init__(
        self,
        workers: int | None = None,
        limit: float = LIMIT_S,
        memory_mb: int = MEMORY_MB,
        cache: bool = True,
        recycle_after: int = RECYCLE_AFTER,
    ) -> None:
        self._pool = WorkerPool(workers or default_workers(), limit, memory_mb, recycle_after)
        self._cache: OrderedDict[tuple[str, str], Judged] | None = OrderedDict() if cache else None
        self._lock = threading.Lock()
        self.counts: Counter[Verdict] = Counter()
        """Verdicts given so far."""
        # not a bound method: an exit handler must not keep the grader alive
        self._finalizer = weakref.finalize(self, WorkerPool.close, self._pool)

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers. The grader can be used again; they would start anew."""
        with self._lock:
            self._pool.close()

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers alive."""
        return self._pool.pids

    @property
    def killed(self) -> int:
        """Workers that were killed for passing the limit."""
        return self._pool.killed

    def grade(self, items: Iterable[Item]) -> list[Graded]:
        """One `Graded` per item, in order.

        Raises:
            EnvironmentProblem: an item needs mathematics and math-verify is not installed.
            ComponentFailed: workers do not start.
        """
        with self._lock:
            graded, open_items = self._quick_pass(list(items))
            self._ask_workers(graded, open_items)
            self.counts.update(g.verdict for g in graded)
            return graded

    def grade_one(
        self,
        gold: object,
        completion: object,
        finish_reason: str | None = None,
        think_prefilled: bool = False,
    ) -> Graded:
        """`grade` for a single completion."""
        return self.grade([Item(gold, completion, finish_reason, think_prefilled)])[0]

    def check_golds(self, golds: Sequence[object]) -> list[str]:
        """For each reference an empty string, or why it cannot be understood. Nothing is compared."""
        with self._lock:
            read = [read_gold(g) for g in golds]
            problems = [problem for _, problem in read]
            todo = [i for i, (text, _) in enumerate(read) if text is not None]
            texts = list(dict.fromkeys(str(read[i][0]) for i in todo))
            judged = dict(zip(texts, self._pool.run([(t, "") for t in texts], "gold"), strict=True))
            for i in todo:
                one = judged[str(read[i][0])]
                problems[i] = "" if one.verdict is Verdict.right else one.reason
            return problems

    def _quick_pass(self, items: list[Item]) -> tuple[list[Graded], list[int]]:
        """Everything that needs no worker, and the positions of what does."""
        graded: list[Graded] = []
        open_items: list[int] = []
        golds: dict[str, tuple[str | None, str]] = {}
        for position, item in enumerate(items):
            started = time.perf_counter()
            result = _before_comparing(item, golds)
            if result.verdict is Verdict.error and not result.reason:
                judged = self._known(result)
                if judged is None:
                    open_items.append(position)
                else:
                    result = replace(result, verdict=judged.verdict, reason=judged.reason)
            graded.append(replace(result, seconds=time.perf_counter() - started))
        return graded, open_items

    def _known(self, pending: Graded) -> Judged | None:
        """The verdict from the cache or the fast paths, or None."""
        key = _key(pending)
        if self._cache is not None and key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        judged = quick(*key)
        if judged is not None:
            self._remember(key, judged)
        return judged

    def _ask_workers(self, graded: list[Graded], open_items: Sequence[int]) -> None:
        """Have the workers judge `open_items` and put the verdicts into `graded`."""
        groups: dict[object, list[int]] = {}
        for position in open_items:
            key = _key(graded[position])
            groups.setdefault(key if self._cache is not None else position, []).append(position)
        pairs = [_key(graded[positions[0]]) for positions in groups.values()]
        for pair, positions, judged in zip(pairs, groups.values(), self._pool.run(pairs), strict=True):
            if judged.verdict is not Verdict.error:
                self._remember(pair, judged)
            for position in positions:
                graded[position] = replace(
                    graded[position], verdict=judged.verdict, reason=judged.reason, seconds=judged.seconds
                )

    def _remember(self, key: tuple[str, str], judged: Judged) -> None:
        if self._cache is None:
            return
        self._cache[key] = judged
        if len(self._cache) > CACHE_PAIRS:
            self._cache.popitem(last=False)


def quick(gold: str, answer: str) -> Judged | None:
    """What can be said about two normalised answers without sympy; None when it takes sympy.

    An answer that must not be evaluated (a tower of powers) is wrong when the reference is an ordinary
    one, for it is no finished answer; when the reference is of that kind itself, nothing can be said.
    """
    try:
        result = equal(gold, answer, known_leaf)
    except TooCostlyError:
        result = None
    except RecursionError:
        return Judged(Verdict.wrong, "nested too deeply", 0.0)
    if result is not None:
        return Judged(*((Verdict.right, "same") if result else (Verdict.wrong, "different")), 0.0)
    gold_cost, answer_cost = too_costly(gold), too_costly(answer)
    if gold_cost:
        return Judged(Verdict.timeout, f"gold not evaluated: {gold_cost}", 0.0)
    if answer_cost:
        return Judged(Verdict.wrong, f"not a finished answer: {answer_cost}", 0.0)
    return None


def _before_comparing(item: Item, golds: dict[str, tuple[str | None, str]]) -> Graded:
    """The verdict that needs no comparison, else a pending one: `error` without a reason."""
    if isinstance(item.gold, str):
        if item.gold not in golds:
            golds[item.gold] = read_gold(item.gold)
        gold, problem = golds[item.gold]
    else:
        gold, problem = read_gold(item.gold)
    found = extract(item.completion, item.finish_reason, item.think_prefilled)
    if gold is None:
        return Graded(Verdict.gold_unparsable, found.text, None, 0.0, problem)
    if found.verdict is not None:
        return Graded(found.verdict, None, gold, 0.0, found.reason)
    return Graded(Verdict.error, found.text, gold, 0.0, "")


def _key(pending: Graded) -> tuple[str, str]:
    return (pending.gold or "", pending.extracted or "")


_shared: Grader | None = None
_shared_lock = threading.Lock()


def shared_grader() -> Grader:
    """The grader of this process, for callers that cannot hold one open (reward functions)."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Grader()
            atexit.register(_shared.close)
        return _shared
