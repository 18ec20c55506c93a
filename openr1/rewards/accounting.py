"""What could not be judged: counted, said loudly, and above a half the run stops.

A failure of the infrastructure is never a score. It is None towards the trainer (which leaves the
completion out), a count in the metrics, and the end of the run when it is the rule.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence

from ..errors import ComponentFailed
from ..grading import Verdict

log = logging.getLogger("openr1.rewards")

WARN_SHARE = 0.05
STOP_SHARE = 0.5
MIN_BATCH = 4
"""Failures are judged over at least this many completions; smaller batches are added up."""
GOLD_WINDOW = 256
"""A single bad reference fails the whole group of its completions, so references are judged over more."""

FAILED = frozenset({Verdict.timeout, Verdict.error})
LogMetric = Callable[[str, float], None]


class Accounts:
    """Verdicts of one reward over a run.

    Args:
        name: the reward, for messages and metric names.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.total: Counter[Verdict] = Counter()
        self._pending: list[Verdict] = []
        self._recent: deque[bool] = deque(maxlen=GOLD_WINDOW)

    def note(
        self, verdicts: Sequence[Verdict], reasons: Sequence[str] = (), log_metric: LogMetric | None = None
    ) -> None:
        """Count one batch, report it, and stop the run if most of it could not be judged.

        Raises:
            ComponentFailed: more than half of a batch failed, or of the last 256 completions could not
                be judged for whatever reason.
        """
        if not verdicts:
            return
        counts = Counter(verdicts)
        self.total.update(counts)
        if log_metric is not None:
            for verdict in Verdict:
                log_metric(f"verdict/{verdict.value}", counts[verdict] / len(verdicts))
        unjudged = [(v, r) for v, r in zip(verdicts, list(reasons) or [""] * len(verdicts)) if not v.judged]  # noqa: B905
        if len(unjudged) > WARN_SHARE * len(verdicts):
            log.warning(
                "reward %s: %d of %d completions could not be judged (%s)",
                self.name,
                len(unjudged),
                len(verdicts),
                _most_common(unjudged),
            )
        self._stop_if_broken(verdicts, unjudged)

    def _stop_if_broken(self, verdicts: Sequence[Verdict], unjudged: list[tuple[Verdict, str]]) -> None:
        self._pending.extend(verdicts)
        self._recent.extend(not v.judged for v in verdicts)
        why = _most_common(unjudged)
        if len(self._pending) >= MIN_BATCH:
            failed, size = sum(v in FAILED for v in self._pending), len(self._pending)
            self._pending = []
            if failed > STOP_SHARE * size:
                raise self._stop(failed, size, why)
        if len(self._recent) == GOLD_WINDOW and sum(self._recent) > STOP_SHARE * GOLD_WINDOW:
            raise self._stop(sum(self._recent), GOLD_WINDOW, why)

    def _stop(self, failed: int, size: int, why: str) -> ComponentFailed:
        return ComponentFailed(
            f"reward {self.name} could not judge {failed} of {size} completions ({why})",
            fix="mend what the reason names, then run the same command: it continues",
        )


def _most_common(unjudged: list[tuple[Verdict, str]]) -> str:
    reasons = Counter(
        f"{verdict.value}: {reason}" if reason else verdict.value for verdict, reason in unjudged
    )
    return "; ".join(f"{n}x {text}" for text, n in reasons.most_common(3))


_accounts: dict[str, Accounts] = {}


def accounts(name: str) -> Accounts:
    """The accounts of a reward in this process."""
    return _accounts.setdefault(name, Accounts(name))


def reset() -> None:
    """Forget all counts: a new run begins in this process."""
    _accounts.clear()
