"""`openr1 grpo RECIPE --check-rewards`: a look at the rewards before training; leaves no run behind."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from openr1.launch import command, supervise
from openr1.runs import resolved_file
from openr1.runs.folder import RunFolder
from openr1.services import grpo
from openr1.services.request import Asked, Listener
from openr1.services.stage import check_launchable

DEFAULT_ROWS = 100


def check(asked: Asked, listen: Listener, *, rows: int = DEFAULT_ROWS, sample: bool = True) -> dict[str, Any]:
    """The report of `openr1.rewards.check.check_rewards`, as plain data.

    Args:
        rows: dataset rows to look at.
        sample: also draw a few completions from the model.
    """
    prepared = grpo.prepare(asked)
    check_launchable(prepared)
    plan = {**prepared.plan, "check_rewards": {"rows": rows, "sample": sample}}
    with tempfile.TemporaryDirectory(prefix="openr1-check-") as scratch:
        run = RunFolder(Path(scratch))
        resolved_file.write(run.resolved, prepared.resolved, plan)
        listen({"event": "phase", "name": "starting"})
        found = supervise.run(command.local("grpo", run.path), run.path / "rank-0.log", listen)
    report: dict[str, Any] = found["report"]
    return report
