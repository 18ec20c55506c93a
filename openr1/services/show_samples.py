"""`openr1 sft|grpo RECIPE --show-samples N`: a look at the rows before training; leaves no run behind."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from openr1.errors import UsageError
from openr1.launch import command, supervise
from openr1.runs import resolved_file
from openr1.runs.folder import RunFolder
from openr1.services import grpo, sft
from openr1.services.request import Asked, Listener
from openr1.services.stage import check_launchable

DEFAULT_SAMPLES = 3


def samples(stage: str, asked: Asked, listen: Listener, count: Any = True) -> dict[str, Any]:
    """Rows as `openr1.training.show_samples` finds them.

    Args:
        stage: sft or grpo.
        count: how many; True takes three.

    Raises:
        UsageError: a count that is none.
    """
    number = DEFAULT_SAMPLES if count is True else count
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise UsageError(
            f"--show-samples takes a number of rows, not {count}",
            where="the command line",
            fix="--show-samples 3",
        )
    prepared = (sft if stage == "sft" else grpo).prepare(asked)
    check_launchable(prepared)
    with tempfile.TemporaryDirectory(prefix="openr1-show-") as scratch:
        run = RunFolder(Path(scratch))
        resolved_file.write(run.resolved, prepared.resolved, {**prepared.plan, "show_samples": number})
        listen({"event": "section", "prepared": prepared, "state": "finished"})
        listen({"event": "phase", "name": "starting"})
        return supervise.run(command.local(stage, run.path), run.path / "rank-0.log", listen)
