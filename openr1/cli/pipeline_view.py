"""A pipeline: its dry run, its live view, and the table that says whether it worked."""

from __future__ import annotations

from typing import Any

from openr1.cli.generate_view import show_generation
from openr1.cli.live import Live
from openr1.cli.printer import Printer
from openr1.cli.scores_view import interval
from openr1.cli.stage_view import say_defaults, show_dry_run
from openr1.cli.words import duration, percent
from openr1.language import translate
from openr1.services import pipeline
from openr1.services.pipeline import PipelineOutcome
from openr1.services.request import Asked


def run_pipeline(asked: Asked, *, dry_run: bool, all_values: bool, json: bool, quiet: bool) -> None:
    printer = Printer(json=json, quiet=quiet)
    if dry_run:
        plan = pipeline.prepare(asked)
        if json:
            printer.data(plan.as_dict())
            return
        for notice in plan.notices:
            printer.note(notice)
        for prepared in plan.sections:
            show_dry_run(printer, prepared, all_values=all_values)
            printer.text()
        say_defaults(printer, plan.sections, all_values)
        return
    with Live(printer) as live:
        outcome = pipeline.run(asked, live.listen)
    if json:
        printer.data(outcome.as_dict())
    else:
        show(printer, outcome)


def show(printer: Printer, outcome: PipelineOutcome) -> None:
    """Stage, accuracy with its interval under each eval section, completion length, time."""
    from rich.table import Table

    for part in outcome.outcomes:
        if "funnel" in part.result:
            printer.text()
            printer.text(part.prepared.resolved.name, style="bold")
            show_generation(printer, part.result)
    times = {o.prepared.resolved.name: o.seconds for o in outcome.outcomes}
    evals = list(dict.fromkeys(score["section"] for score in outcome.scores))
    rows: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for score in outcome.scores:
        rows.setdefault((score["task"], score["model"]), {})[score["section"]] = score
    tasks = list(dict.fromkeys(task for task, _ in rows))
    printer.text()
    for task in tasks:
        table = Table(
            title=translate(f"{task}, {_problems(outcome, task)} held-out problems"),
            title_justify="left",
            box=None,
            pad_edge=False,
            title_style="bold",
        )
        table.add_column("stage", no_wrap=True)
        for name in evals:
            table.add_column(f"{_heading(outcome, name)}:\naccuracy [95 %]", justify="right", no_wrap=True)
            table.add_column("\nlength", justify="right", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        for (of_task, model), by_section in rows.items():
            if of_task == task:
                cells = [c for name in evals for c in _cells(by_section.get(name))]
                table.add_row(model, *cells, duration(times[model]) if model in times else "–")
        printer.table(table)
    evaluating = sum(times[name] for name in evals)
    printer.text()
    if all(part.was_finished for part in outcome.outcomes):
        printer.say("finished earlier; --fresh starts over")
    took = duration(outcome.seconds)
    printer.hint(f"mean lengths in tokens · evaluations {duration(evaluating)} · all together {took}")
    run = outcome.plan.run.path
    printer.field("results:", str(run), width=9)
    if (run / "report.html").exists():
        printer.field("page:", f"{run}/report.html", width=9)
    printer.next(f"openr1 samples {run}/{evals[-1] if evals else ''}")


def _heading(outcome: PipelineOutcome, section: str) -> str:
    """An eval section as a column's head: its temperature says what it is."""
    for prepared in outcome.plan.sections:
        if prepared.resolved.name == section:
            temperature = prepared.resolved["temperature"]
            return "greedy" if temperature == 0 else f"temperature {temperature:g}"
    return section


def _problems(outcome: PipelineOutcome, task: str) -> str:
    counts = {score["problems"] for score in outcome.scores if score["task"] == task}
    return " / ".join(f"{count:,}" for count in sorted(counts))


def _cells(score: dict[str, Any] | None) -> tuple[str, str]:
    if score is None:
        return "–", "–"
    return f"{percent(score['accuracy'])} [{interval(score)}]", f"{score['mean_tokens']:.0f}"
