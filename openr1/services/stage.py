"""Run a prepared section (see `prepare`) to its end: launch it, keep its record, sum up."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1.config.catalogue import TRAINING_STAGES
from openr1.errors import EnvironmentProblem, Interrupted, OpenR1Error, OutOfMemory, UsageError
from openr1.extras import install
from openr1.launch.supervise import AGAIN
from openr1.runs import manifest, resolved_file
from openr1.runs.files import write_json
from openr1.runs.folder import RunFolder, locked
from openr1.runs.report.rehearsed import FILE as REHEARSAL
from openr1.services import slurm
from openr1.services.accounts import check_accounts
from openr1.services.launching import launch
from openr1.services.lineage import MODEL
from openr1.services.out_of_memory import advise
from openr1.services.prepare import Prepared
from openr1.services.report import Refresh, leave
from openr1.services.request import Listener

if TYPE_CHECKING:
    from openr1.services.rehearse import Rehearsal


@dataclass(frozen=True)
class Outcome:
    """A finished section."""

    prepared: Prepared
    result: dict[str, Any]
    seconds: float
    was_finished: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "section": self.prepared.resolved.name,
            "stage": self.prepared.resolved.stage,
            "run": str(self.prepared.run.path),
            "result": self.result,
            "seconds": round(self.seconds, 1),
            "was_finished": self.was_finished,
        }


def execute(prepared: Prepared, listen: Listener) -> Outcome:
    """Run a prepared section to its end, or show the result of one that has finished.

    Raises:
        OpenR1Error: whatever ended it; the run's manifest says how it stands.
    """
    run, resolved = prepared.run, prepared.resolved
    state = "interrupted" if prepared.again else run.state
    if state != "finished":
        check_launchable(prepared)
    if state == "finished":
        listen({"event": "section", "prepared": prepared, "state": state})
        found = run.manifest or {}
        return Outcome(
            prepared, found.get("result") or {}, float(found.get("seconds") or 0), was_finished=True
        )
    if prepared.nodes.rank > 0:
        return help_first_node(prepared, listen)
    with locked(run):
        listen({"event": "section", "prepared": prepared, "state": state})
        rehearsed = None
        if state in (None, "created") and prepared.rehearse is None:
            rehearsed = _rehearse_if_long(prepared, listen)
        different = slurm.mismatch(prepared.plan, os.environ.get("OPENR1_SUBMITTED"))
        if different:
            listen({"event": "notice", "text": different})
        resolved_file.write(run.resolved, resolved, prepared.plan)
        attempt = run.next_attempt()
        _begin(prepared, attempt)
        start = time.time()
        try:
            if rehearsed is not None:
                write_json(run.path / REHEARSAL, rehearsed.as_dict())
            listen({"event": "pace", "step_seconds": _pace(prepared)})
            refresh = Refresh(run)

            def on_event(event: dict[str, Any]) -> None:
                listen(event)
                refresh.look(event)

            result = launch(prepared, attempt, on_event)
        except (OpenR1Error, KeyboardInterrupt) as caught:  # the latter before there is a child to stop
            error = caught if isinstance(caught, OpenR1Error) else Interrupted("stopped", fix=AGAIN)
            if isinstance(caught, OutOfMemory) and resolved.stage in TRAINING_STAGES:
                error = advise(caught, prepared)
            state = "interrupted" if error.code == 130 else "failed"
            _end(run, state, time.time() - start, error=error.as_dict())
            leave(run.path, listen)
            raise error from caught
        total = _end(run, "finished", time.time() - start, result=result)
    leave(run.path, listen)
    _learn(prepared, result)
    return Outcome(prepared, result, total)


def help_first_node(prepared: Prepared, listen: Listener) -> Outcome:
    """This node's ranks of a run whose folder the first node keeps."""
    state = prepared.run.state
    listen({"event": "section", "prepared": prepared, "state": state})
    if state in (None, "created") and prepared.rehearse is None:
        _rehearse_if_long(prepared, listen)
    start = time.time()
    result = launch(prepared, prepared.run.next_attempt(prepared.nodes.rank), listen)
    return Outcome(prepared, result, time.time() - start)


def rehearse(prepared: Prepared, listen: Listener) -> Rehearsal:
    """Rehearse, and let the planner learn from it.

    Raises:
        UsageError: a section that does not train, or that has finished.
        OpenR1Error: what would have ended the run.
    """
    from openr1.services import rehearse as room

    if prepared.resolved.stage not in TRAINING_STAGES:
        raise UsageError("only training is rehearsed", where="--rehearse", fix="leave it out")
    check_launchable(prepared)
    found = room.rehearse(prepared, listen)
    if prepared.nodes.rank == 0:
        _learn(prepared, {"peak_bytes": found.peak_bytes, "step_seconds": found.step_seconds})
    return found


def _pace(prepared: Prepared) -> float | None:
    """Seconds of a step as this run's rehearsal or earlier runs here measured them: the ETA's beginning."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found = json.loads((prepared.run.path / REHEARSAL).read_text(encoding="utf-8")).get("step_seconds")
        if found:
            return float(found)
    measured = (prepared.plan.get("corrections") or (1.0, 1.0))[1] != 1.0
    return (prepared.plan.get("step_seconds") or {}).get("value") if measured else None


def _rehearse_if_long(prepared: Prepared, listen: Listener) -> Rehearsal | None:
    """The rehearsal of a run that is predicted to be long; None for one that is not.

    Raises:
        EnvironmentProblem: it says no. The run's folder is as it was.
    """
    from openr1.services import rehearse as room

    if prepared.resolved.stage not in TRAINING_STAGES:
        return None
    found = None
    if room.is_long(prepared):
        listen({"event": "notice", "text": "a long run: rehearsing it first (--no-rehearse leaves it out)"})
        found = rehearse(prepared, listen)
        if found.problem:
            raise EnvironmentProblem(
                f"the rehearsal says no: {found.problem}",
                where="--rehearse shows its figures",
                fix="change it, or start all the same with --no-rehearse",
            )
        listen({"event": "notice", "text": "the rehearsal held; the run begins"})
    return found


def _learn(prepared: Prepared, result: dict[str, Any]) -> None:
    """Keep predicted and measured peak and step time: the next plan on this machine is corrected by them."""
    from openr1.planning import calibration

    if prepared.resolved.stage == "eval":
        from openr1.services.evaluate import learn

        learn(prepared, result)
    if prepared.resolved.stage in TRAINING_STAGES and result.get("peak_bytes"):
        seen = calibration.observe(
            prepared.plan,
            prepared.machine,
            str(prepared.resolved[MODEL]),
            result["peak_bytes"],
            result.get("step_seconds"),
        )
        if seen:
            calibration.save(calibration.load().record(seen))


def check_launchable(prepared: Prepared) -> None:
    """Packages that are missing, and what this version does not launch yet, are said before the launch."""
    import importlib.util

    if prepared.machine.simulated is not None:
        raise UsageError(
            f"{prepared.machine.simulated} is simulated: nothing can run on it",
            where="--simulate",
            fix="add --dry-run to see the plan, or leave --simulate out",
        )
    needed = {"torch", "transformers", "datasets", *prepared.plan.get("requires", [])}
    if prepared.resolved.stage in TRAINING_STAGES:
        needed |= {"trl", "accelerate"}
    missing = sorted(name for name in needed if importlib.util.find_spec(name) is None)
    if missing:
        raise EnvironmentProblem(
            f"not installed: {', '.join(missing)}", fix=_how_to_install(missing, prepared.resolved.stage)
        )
    check_accounts(prepared.resolved)


def _how_to_install(missing: list[str], stage: str) -> str:
    if missing == ["flash_attn"]:  # no extra brings it: it is built against the torch that is here
        return (
            "leave attn_implementation out (sdpa gives the same numbers), or, with CUDA: "
            "pip install flash-attn --no-build-isolation"
        )
    extras = ["train" if stage in TRAINING_STAGES else stage] if set(missing) != {"vllm"} else []
    return install(*extras, *(["vllm"] if "vllm" in missing else []))


def _begin(prepared: Prepared, attempt: Path) -> None:
    """Write down that an attempt begins."""
    run, resolved = prepared.run, prepared.resolved
    found = run.manifest or manifest.new(
        {
            "recipe": resolved.recipe,
            "section": resolved.name,
            "stage": resolved.stage,
            "hash": resolved.hash,
            "parents": resolved.parents,
            "model": resolved.values.get(MODEL),
            "seconds": 0.0,
        }
    )
    # Inside a job, what was typed is what was submitted.
    said = [found.get("command"), manifest.command_line()]
    found["command"] = next(filter(None, said if "OPENR1_SUBMITTED" in os.environ else reversed(said)), None)
    found["state"] = "running"
    found["machine"] = prepared.plan["machine"]
    found["versions"] = manifest.versions()
    found["attempts"].append({"log": str(attempt.relative_to(run.path)), "started": manifest.now()})
    write_json(run.path / "manifest.json", found)


def _end(run: RunFolder, state: str, seconds: float, **fields: Any) -> float:
    """Write down how an attempt ended; returns the run's seconds over all attempts."""
    found = run.manifest or manifest.new({})
    total = float(found.get("seconds") or 0) + seconds
    found.pop("error", None)
    found["attempts"][-1] |= {"ended": manifest.now(), "state": state}
    write_json(run.path / "manifest.json", found | {"state": state, "seconds": round(total, 1), **fields})
    return total
