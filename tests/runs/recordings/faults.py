"""Faults of training runs, injected for real: a reward for the wrong thing, a slow loader, a hot card.

As a program it is the training process of a run, with one fault in it: `python faults.py FAULT RUN`.
"""

from __future__ import annotations

import sys
import time
from typing import Any


def shortest(completions: list[Any], **kwargs: Any) -> list[float]:
    """Pays for saying less."""
    return [-len(c[0]["content"]) / 50 for c in completions]


def monotonous(completions: list[Any], **kwargs: Any) -> list[float]:
    """Pays for using few different characters, without end."""
    return [-len(set(c[0]["content"])) / 10 for c in completions]


def slow_data() -> None:
    """Every batch takes 0.6 seconds more to fetch, as from a slow disk."""
    from trl import SFTTrainer

    plain = SFTTrainer.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        collate = self.data_collator

        def slow(rows: Any) -> Any:
            time.sleep(0.6)
            return collate(rows)

        self.data_collator = slow

    SFTTrainer.__init__ = init


def hot_card() -> None:
    """A card at 90 °C that runs below its speed from the third step on; there is no card here to heat."""
    from openr1.hardware.guard import Reading
    from openr1.training import callbacks

    seen = 0

    def read() -> Reading:
        nonlocal seen
        seen += 1
        return Reading((60 + min(30, 4 * seen),), ("heat" if seen > 3 else None,))

    callbacks._sensor = lambda child: read


if __name__ == "__main__":
    {"slow_data": slow_data, "hot_card": hot_card}[sys.argv.pop(1)]()
    from openr1.runs.child import main
    from openr1.training.run import train

    sys.exit(main(train))
