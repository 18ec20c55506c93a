"""`openr1 grpo RECIPE --check-rewards`: a look at the rewards before training; leaves no run behind."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from openr1.config.resolve import resolve
from openr1.launch import command, supervise
from openr1.runs import resolved_file
from openr1.runs.folder import RunFolder
from openr1.services import grpo
from openr1.services.hw_profile import the_machine
from openr1.services.lineage import MODEL, check_exported
from openr1.services.prepare import Prepared
from openr1.services.recipes import recipe_for, section_of
from openr1.services.request import Asked, Listener
from openr1.services.stage import check_launchable

DEFAULT_ROWS = 100


def check(asked: Asked, listen: Listener, *, rows: int = DEFAULT_ROWS, sample: bool = True) -> dict[str, Any]:
    """The report of `openr1.rewards.check.check_rewards`, as plain data.

    Args:
        rows: dataset rows to look at.
        sample: also draw a few completions from the model.
    """
    prepared = _prepare(asked, listen)
    check_launchable(prepared)
    plan = {**prepared.plan, "check_rewards": {"rows": rows, "sample": sample}}
    with tempfile.TemporaryDirectory(prefix="openr1-check-") as scratch:
        run = RunFolder(Path(scratch))
        resolved_file.write(run.resolved, prepared.resolved, plan)
        listen({"event": "phase", "name": "starting"})
        found = supervise.run(command.local("grpo", run.path), run.path / "rank-0.log", listen)
    report: dict[str, Any] = found["report"]
    return report


def _prepare(asked: Asked, listen: Listener) -> Prepared:
    """The section as it would train. Where the model it starts from is not trained yet, its base model stands
    in, which is said: golds, columns and rewards can be looked at before anything is trained.
    """
    asked = replace(asked, dry_run=True)
    prepared = grpo.prepare(asked)
    check_exported(prepared.resolved)
    start = prepared.resolved.settings[MODEL]
    if start.origin.kind != "pipeline" or Path(str(start.value)).is_dir():
        return prepared
    recipe, _ = recipe_for("grpo", asked, the_machine(asked.simulate, asked.profile))
    base = str(resolve(recipe, section_of(recipe, "grpo", asked.section))[MODEL])
    before = start.origin.detail.removeprefix("result of section ")
    text = f"section {before} is not trained yet: completions are drawn from {base}, from which it starts"
    listen({"event": "notice", "text": text})
    return grpo.prepare(replace(asked, overrides={**asked.overrides, MODEL: (base, f"--{MODEL}")}))
