"""`openr1 bench --run --slurm`: one Slurm job for every score that is missing."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openr1.errors import OpenR1Error, UsageError
from openr1.evaluation.estimate import total
from openr1.services import slurm
from openr1.services.bench import too_large
from openr1.services.slurm import JobAsked, Submission

DEADLINE_S = 30


@dataclass(frozen=True)
class CellJob:
    """The job of one model on one benchmark.

    Args:
        name: its run folder's name.
        cost: what the evaluation takes on the machine it is planned for.
        submission: None where the evaluation was refused.
        number: Slurm's, once it is submitted.
        queued: a job of this name waits or runs already, and no second one was submitted.
        refused: by openr1 or by Slurm.
    """

    name: str
    cost: dict[str, Any]
    submission: Submission | None = None
    number: int | None = None
    queued: bool = False
    refused: OpenR1Error | None = None

    @property
    def output(self) -> str | None:
        """The job's output, once it has a number."""
        if self.submission is None or self.number is None:
            return None
        return str(self.submission.job.output).replace("%j", str(self.number))

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "cost": self.cost,
            "job": self.number,
            "output": self.output,
            "queued": self.queued,
            "refused": self.refused.as_dict() if self.refused else None,
            **(self.submission.as_dict() if self.submission else {}),
        }


def prepare(words: Sequence[str], asked: JobAsked) -> list[CellJob]:
    """Every missing evaluation as a job, planned for the partition's nodes; nothing is written.

    Args:
        words: `bench --run …` without the options of Slurm.

    Raises:
        UsageError: --from, which shows runs; a name that matches nothing.
    """
    if any(word.partition("=")[0] == "--from" for word in words):
        raise UsageError("--from shows runs and --run makes them", fix="give one of them")
    machine, partition = slurm.planned_for(asked)
    shown = [word for word in words if word != "--run"]
    jobs = []
    for listed in slurm.dry_run([*shown, "--list"], machine):
        cost = {key: listed[key] for key in ("samples", "most_tokens", "hours", "half_width", "basis")}
        job = CellJob(listed["name"], cost)
        try:
            if listed["too_large"]:
                raise too_large(listed["model"], listed["too_large"])
            jobs.append(replace(job, submission=slurm.prepare_on(listed["words"], asked, machine, partition)))
        except OpenR1Error as error:
            jobs.append(replace(job, refused=error))
    return jobs


def submit(jobs: Sequence[CellJob]) -> Iterator[CellJob]:
    """Submit what was not refused, one after the other; what Slurm refuses does not stop the rest.

    Raises:
        EnvironmentProblem: no sbatch here.
    """
    slurm.check_sbatch()
    there = _in_the_queue()
    for job in jobs:
        if job.submission is None:
            yield job
        elif job.submission.job.name in there:
            yield replace(job, queued=True)
        else:
            try:
                yield replace(job, number=slurm.submit(job.submission))
            except OpenR1Error as error:
                yield replace(job, refused=error)


def cost_of(jobs: Sequence[CellJob]) -> dict[str, Any]:
    """Answers, tokens and hours of all that can be run."""
    return total([job.cost for job in jobs if job.submission])


def _in_the_queue() -> set[str]:
    """Names of this person's jobs that wait or run; empty where Slurm does not say."""
    if shutil.which("squeue") is None:
        return set()
    argv = ["squeue", "--noheader", "--format=%j", f"--user={getpass.getuser()}"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        return set()
    return (
        {line.strip() for line in done.stdout.splitlines() if line.strip()} if not done.returncode else set()
    )
