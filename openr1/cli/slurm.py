"""`openr1 COMMAND … --slurm`: the same command line as a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openr1.services.slurm import JobAsked

# What every command's own --help says about it.
POINTER = """
\b
Add --slurm for a Slurm job, with --nodes N, --partition P, --time T, --account A and --dry-run:
  openr1 {command} … --slurm --help              lists the options of the job
"""
# Options of the job; everything else is the command's.
VALUES = {"nodes": int, "partition": str, "time": str, "account": str, "simulate": str}
SWITCHES = ("slurm", "dry-run", "json", "quiet", "debug")
HELP = """openr1 COMMAND … --slurm [OPTION]

The command becomes a Slurm job: planned for the partition's nodes, written as a script into the run folder,
submitted. It stops before its time limit with a checkpoint, goes back into the queue and continues.

  --nodes N        nodes that work together (sft, grpo, generate)
  --partition P    where to run; its GPUs decide the plan
  --time T         time limit as Slurm writes it, e.g. 12:00:00
  --account A      whom to charge
  --simulate M     plan for this machine instead of asking sinfo, e.g. "8xH100"
  --dry-run        print the plan and the script, write nothing

~/.config/openr1/slurm.yaml holds a site's own lines: sbatch, setup, srun (docs/launch.md).
"""


def main(argv: Sequence[str]) -> int:
    """Submit, or show; returns the exit code."""
    import typer

    from openr1.cli.common import guarded
    from openr1.cli.printer import Printer

    words, values, switches = split(argv)
    shown = {name: name in switches for name in ("json", "quiet")}
    printer = Printer(**shown)
    if {"--help", "-h"} & set(words):
        printer.text(HELP)
        return 0

    @guarded
    def command(**_: bool) -> None:
        raise typer.Exit(_run(printer, words, _asked(values), dry_run="dry-run" in switches))

    try:
        command(**shown, debug="debug" in switches)
    except typer.Exit as end:
        return int(end.exit_code)
    return 0


def split(argv: Sequence[str]) -> tuple[list[str], dict[str, str], set[str]]:
    """The command's own words, the values of the job's options, and the switches.

    Raises nothing: an option without its value gets an empty one.
    """
    words: list[str] = []
    values: dict[str, str] = {}
    switches: set[str] = set()
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in (*VALUES, *SWITCHES) or (equals and name in SWITCHES):
            words.append(word)
        elif name in SWITCHES:
            switches.add(name)
        else:
            values[name] = text if equals else rest.pop(0) if rest and not rest[0].startswith("--") else ""
    return words, values, switches


def _asked(values: dict[str, str]) -> JobAsked:
    from openr1.errors import UsageError
    from openr1.services.slurm import JobAsked

    read: dict[str, Any] = {}
    for name, text in values.items():
        try:
            read[name] = VALUES[name](text)
        except ValueError:
            text = ""
        if text == "" or (name == "nodes" and read[name] < 1):
            raise UsageError(
                f"--{name} needs a {'number from 1' if name == 'nodes' else 'value'}",
                where="the command line",
                fix=f"--{name} {'2' if name == 'nodes' else name.upper()}",
            )
    return JobAsked(**read)


def _show_plans(printer: Any, planned: dict[str, Any]) -> None:
    """The Plan on standard error, so that standard output is the script alone."""
    from openr1.cli.plan_view import is_spread, plan_lines, processes
    from openr1.language import label as translate_label

    for section in planned.get("sections") or [planned]:
        plan = section.get("plan") or {}
        lines = [f"{translate_label(label):<12}{text}" for label, text in plan_lines(plan)]
        for line in [*lines, *([processes(plan)] if is_spread(plan) else [])]:
            printer.note(f"{section.get('section', 'plan')}: {line}")


def _run(printer: Any, words: list[str], asked: JobAsked, *, dry_run: bool) -> int:
    from openr1.language import translate
    from openr1.services.slurm import prepare, submit

    if words[:1] == ["bench"] and "--speed" not in words:
        return _run_bench(printer, words, asked, dry_run=dry_run)
    submission = prepare(words, asked)
    for notice in submission.notices:
        printer.note(notice)
    if dry_run:
        if printer.json:
            printer.data(submission.as_dict())
        else:
            printer.note(f"planned for {submission.machine}; would be {submission.job.script}")
            _show_plans(printer, submission.planned)
            printer.exact(submission.script)
        return 0
    number = submit(submission)
    output = str(submission.job.output).replace("%j", str(number))
    if printer.json:
        printer.data({"job": number, "output": output, **submission.as_dict()})
        return 0
    if printer.quiet:
        printer.command(str(number))
        return 0
    printer.say(f"submitted: job {number}, planned for {submission.machine}")
    stop = translate("it keeps a checkpoint; the same command continues")
    printer.field("script:", str(submission.job.script), width=9)
    printer.field("follow:", f"tail -F {output}", width=9)
    printer.field("state:", f"squeue -j {number}", width=9)
    printer.field("stop:", f"scancel {number}   ({stop})", width=9)
    return 0


def _run_bench(printer: Any, words: list[str], asked: JobAsked, *, dry_run: bool) -> int:
    """One job for every score that is missing."""
    from openr1.cli.bench_view import job_line, total_line
    from openr1.errors import UsageError
    from openr1.services import bench_jobs, slurm

    slurm.check(words, asked)
    if "--run" not in words:
        raise UsageError("without --run nothing is run", where="--slurm", fix="openr1 bench --run --slurm")
    jobs = bench_jobs.prepare(words, asked)
    done = []
    for job in jobs if dry_run else bench_jobs.submit(jobs):
        done.append(job)
        if job.refused or not printer.json:
            printer.note(job_line(job)) if dry_run or job.refused else printer.text(job_line(job))
        if dry_run and job.submission and not printer.json:
            printer.exact(job.submission.script)
    cost = bench_jobs.cost_of(jobs)
    if printer.json:
        printer.data({"jobs": [job.as_dict() for job in done], "total": cost})
    elif jobs:
        printer.note(total_line(jobs, cost))
    else:
        printer.say("nothing is missing")
    return next((job.refused.code for job in done if job.refused), 0)
