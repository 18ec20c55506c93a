"""The share of right answers while sampling goes on, from a few of them: a sign, not the verification."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Sequence

from openr1.data.columns import Row
from openr1.errors import OpenR1Error
from openr1.generation.reasoning import restored
from openr1.generation.verify import TESTS, gold_columns, gold_of
from openr1.grading import Grader, Item, Verdict
from openr1.sampling.requests import Completion

PAUSE_S = 0.25
"""Between two answers: a few milliseconds of grading, four times a second, leave the rest to the sampling."""


class SpotCheck:
    """Grades some of the completions beside the sampling, one worker process behind one thread.

    What comes while an answer is being graded is let go: a random part of what finishes is seen. Programs are
    not run here.
    """

    def __init__(self, columns: Sequence[str], solution_column: str | None) -> None:
        """Nothing is graded where no column holds a gold answer."""
        self.right = self.judged = 0
        self._golds = [] if TESTS in columns else gold_columns(columns, solution_column)
        self._inbox: queue.Queue[Item] = queue.Queue(maxsize=1)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        if self._golds:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    @property
    def wants(self) -> bool:
        """Whether it could take a completion now."""
        return self._thread is not None and self._inbox.empty()

    @property
    def share(self) -> float | None:
        """Right answers among those judged; None before there are any."""
        return self.right / self.judged if self.judged else None

    def offer(self, row: Row, completion: Completion) -> None:
        gold = gold_of(row, self._golds)
        if gold is not None:
            text = restored(completion.text, completion.think_prefilled)
            with contextlib.suppress(queue.Full):
                self._inbox.put_nowait(Item(gold, text, completion.finish_reason))

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        # Without math-verify there is no share to show; the verify step says what is missing.
        with contextlib.suppress(OpenR1Error), Grader(workers=1) as grader:
            while not self._closed.wait(PAUSE_S):
                with contextlib.suppress(queue.Empty):
                    (graded,) = grader.grade([self._inbox.get(timeout=PAUSE_S)])
                    if graded.verdict.judged:
                        self.judged += 1
                        self.right += graded.verdict is Verdict.right
