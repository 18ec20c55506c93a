"""`openr1 hw-profile`: what this machine is, which defaults it gets, what it can hold, what to mend."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openr1.errors import ComponentFailed, EnvironmentProblem, OpenR1Error, RecipeError, UsageError
from openr1.extras import install
from openr1.hardware import Machine, detect, forced_profile, simulate
from openr1.hardware.doctor import Check, Intent, check
from openr1.hardware.facts import to_plain
from openr1.hardware.packages import importable
from openr1.planning import Plan, PlanDoesNotFit, plan
from openr1.planning.abilities import Ability, abilities
from openr1.planning.calibration import load
from openr1.planning.disk import checkpoint_bytes, checkpoints_kept
from openr1.planning.find_shape import find_shape

VERIFY_DEADLINE_S = 300


@dataclass(frozen=True)
class Section:
    """One training section of a recipe, as `--for RECIPE` shows it."""

    name: str
    stage: str
    settings: Mapping[str, Any]
    explicit: Container[str]


@dataclass(frozen=True)
class Planning:
    """A section's plan, or why there is none."""

    section: str
    plan: Plan | None
    refused: PlanDoesNotFit | None = None
    problem: OpenR1Error | None = None
    """What about the section cannot work here at all, whatever the memory."""

    @property
    def memory(self) -> dict[str, dict[str, int]] | None:
        """Bytes by cause, per phase: of the plan, or of the leanest way that was refused."""
        if self.plan is not None:
            return self.plan.memory
        return self.refused.memory if self.refused is not None else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "section": self.section,
            "plan": None if self.plan is None else self.plan.as_dict(),
            "refused": None if self.refused is None else self.refused.as_dict(),
            "problem": None if self.problem is None else self.problem.as_dict(),
        }


@dataclass(frozen=True)
class HwReport:
    """The machine and what follows from it, as data; words are the command line's business."""

    machine: Machine
    abilities: tuple[Ability, ...] = ()
    plans: tuple[Planning, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether no check failed."""
        return all(c.state != "fail" for c in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        return {
            "machine": self.machine.as_dict(),
            "abilities": to_plain(self.abilities),
            "plans": [p.as_dict() for p in self.plans],
            "checks": to_plain(self.checks),
        }


def the_machine(
    simulated: str | None = None, profile: str | None = None, run_dir: Path | None = None
) -> Machine:
    """This machine, or the one `--simulate` describes, with `--profile` applied.

    `--profile cpu` also hides the GPUs from the plan; the other profiles only choose recipes and defaults.

    Raises:
        UsageError: a simulated machine that does not parse, or an unknown profile.
    """
    machine = detect(run_dir)
    if simulated is not None:
        machine = simulate(simulated, machine)
    if profile is None:
        return machine
    found = forced_profile(profile)
    if profile == "cpu":
        machine = replace(
            machine, gpus=(), gpus_problem=None, gpus_reason="--profile cpu leaves the GPUs alone"
        )
    return replace(machine, profile=found)


def sections_of(name: str) -> list[Section]:
    """The training sections of a recipe, resolved, for `--for RECIPE`.

    Raises:
        RecipeError: the recipe is refused.
        UsageError: it trains nothing.
    """
    from openr1.config.recipe import find, flat_stage, parse
    from openr1.config.resolve import resolve

    path = find(name)
    recipe = parse(path, flat_stage(path) or "pipeline")
    training = [s for s in recipe.sections if s.stage in ("sft", "grpo")]
    if not training:
        raise UsageError(
            "this recipe has no training section", where=str(path), fix="name one with sft or grpo"
        )
    found = [resolve(recipe, section) for section in training]
    return [Section(one.name, one.stage, one.values, one.explicit) for one in found]


def hw_profile(
    *,
    simulate: str | None = None,
    profile: str | None = None,
    run_dir: Path | None = None,
    sections: Sequence[Section] = (),
    with_checks: bool = False,
    gpus: int | None = None,
) -> HwReport:
    """The report of `openr1 hw-profile`; `sections` are the training sections of `--for RECIPE`."""
    machine = the_machine(simulate, profile, run_dir)
    plans = tuple(_planned(section, machine, gpus) for section in sections)
    checks: tuple[Check, ...] = ()
    if with_checks:
        checks = tuple(check(machine, intent_of(sections, run_dir)))
    return HwReport(machine, abilities(machine), plans, checks)


def _planned(section: Section, machine: Machine, gpus: int | None) -> Planning:
    try:
        done = plan(
            section.stage, section.settings, machine, explicit=section.explicit, gpus=gpus, calibration=load()
        )
        return Planning(section.name, done)
    except PlanDoesNotFit as refused:
        return Planning(section.name, None, refused)
    except RecipeError as problem:
        return Planning(section.name, None, problem=problem)


def intent_of(sections: Sequence[Section], run_dir: Path | None = None) -> Intent:
    """What a recipe's sections are about to need, for the checks."""
    report_to: set[str] = set()
    push = bf16 = False
    largest = count = 0
    for section in sections:
        s = section.settings
        wanted = s.get("report_to") or ()
        report_to |= {wanted} if isinstance(wanted, str) else set(wanted)
        push = push or bool(s.get("push_to_hub"))
        bf16 = bf16 or (bool(s.get("bf16")) and "bf16" in section.explicit)
        shape = find_shape(s.get("model_name_or_path")).value
        if shape is not None and str(s.get("save_strategy", "steps")) != "no":
            largest = max(largest, checkpoint_bytes(shape, s))
            count += checkpoints_kept(s)
    return Intent(push, tuple(sorted(report_to)), bf16, largest, count, run_dir or Path())


def verify(families: Sequence[str] = ()) -> dict[str, Any]:
    """`--verify`: predicted against simulated bytes, by the real model code under fake tensors, in a child.

    Raises:
        EnvironmentProblem: torch or transformers is not installed.
        ComponentFailed: the simulation failed.
    """
    for module in ("torch", "transformers"):
        if not importable(module):
            raise EnvironmentProblem(
                f"--verify runs the real model code, and {module} is not installed",
                where="hw-profile --verify",
                fix=install("train"),
            )
    command = [sys.executable, "-m", "openr1.planning.verify", *families]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=VERIFY_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        raise ComponentFailed(f"the simulation did not end within {VERIFY_DEADLINE_S} s") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ComponentFailed(f"the simulation failed: {last}", where="python -m openr1.planning.verify")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
