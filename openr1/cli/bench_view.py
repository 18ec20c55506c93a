"""The published tables on a screen, as Markdown or as JSON, with ours beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openr1.cli.printer import Printer
from openr1.cli.words import duration, short
from openr1.language import translate
from openr1.services.bench import Bench, Cell, jobs
from openr1.services.bench_jobs import CellJob
from openr1.services.request import Asked

HOURS_IN_A_YEAR = 8_766
ORDER = ("aime24", "math_500", "gpqa:diamond", "livecodebench")
HEADS = (
    "model",
    "ours",
    "open-r1 2025-02",
    "open-r1 latest",
    "DeepSeek",
    "difference",
    "z problems",
    "z run",
)


def show(printer: Printer, found: Bench, *, md: bool) -> None:
    """One table per benchmark, the verdicts under it, and what the rest would cost."""
    if printer.json:
        printer.data(found.as_dict())
        return
    for benchmark in _ordered(found):
        cells = [cell for cell in found.cells if cell.benchmark == benchmark and _known(cell)]
        if md:
            _markdown(printer, benchmark, cells)
        else:
            _table(printer, benchmark, cells)
    printer.hint(
        "difference: ours minus DeepSeek's, in points (in brackets: open-r1's latest, where there is none of "
        "ours). z run: against another run on the same problems, by which a reproduction is judged; "
        "z problems: against another draw of problems."
    )
    if not (md or printer.quiet):
        _cost(printer, found)


def _ordered(found: Bench) -> list[str]:
    return [b for b in ORDER if any(cell.benchmark == b and _known(cell) for cell in found.cells)]


def _known(cell: Cell) -> bool:
    return any((cell.ours, cell.seed, cell.latest, cell.deepseek))


def _table(printer: Printer, benchmark: str, cells: list[Cell]) -> None:
    from rich.table import Table

    table = Table(title=benchmark, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for head in HEADS[1:]:
        table.add_column(head.replace(" ", "\n", 1), justify="right")
    for cell in cells:
        table.add_row(*_row(cell))
    printer.table(table)
    for line in _said(cells):
        printer.text(f"  {line}")
    printer.text()


def _markdown(printer: Printer, benchmark: str, cells: list[Cell]) -> None:
    lines = [f"### {benchmark}", "", "| " + " | ".join(HEADS) + " |", "|---|" + "--:|" * (len(HEADS) - 1)]
    lines += ["| " + " | ".join(_row(cell)) + " |" for cell in cells]
    lines += ["", *[f"- {line}" for line in _said(cells)]]
    printer.exact("\n".join(lines) + "\n\n")


def _row(cell: Cell) -> list[str]:
    standing = cell.standing
    mark = ("{}" if cell.against == "ours" else "({})").format
    ours = "–"
    if cell.ours:
        half = 1.96 * (cell.ours.score.get("other_run") or 0)
        ours = f"{100 * cell.ours.score['accuracy']:.1f}" + (f" ± {100 * half:.1f}" if half else "")
    return [
        cell.model.removeprefix("DeepSeek-R1-Distill-"),
        ours,
        *[f"{p.score:.1f}" if p else "–" for p in (cell.seed, cell.latest, cell.deepseek)],
        mark(f"{standing.difference:+.1f}") if standing else "–",
        mark(f"{standing.z_problems:+.1f}") if standing else "–",
        mark(f"{standing.z_run:+.1f}") if standing else "–",
    ]


def _said(cells: list[Cell]) -> list[str]:
    """Verdicts on ours in words, and what is known to be wrong in the published tables."""
    lines = []
    for cell in cells:
        name = cell.model.removeprefix("DeepSeek-R1-Distill-")
        if cell.ours and cell.standing:
            verdict = translate(cell.standing.verdict)
            lines.append(f"{name}: {verdict}  ({cell.ours.score['protocol']}; {cell.ours.run})")
        lines += [f"{name}: {translate(note)}" for note in cell.notes]
    return lines


def _cost(printer: Printer, found: Bench) -> None:
    missing = found.missing
    if not missing:
        return
    to_run = found.as_dict()["to_run"]
    hours = _time(to_run["hours"])
    printer.say(
        f"not run here yet: {len(missing)}; with protocol {found.protocol} {to_run['samples']:,} answers, "
        f"at most {to_run['most_tokens'] / 1e9:.2g} billion tokens, time here: {hours}"
    )
    printer.say("openr1 bench --list shows each; openr1 bench --run --models A --benchmarks B runs them")
    _without_a_task(printer, found)


def _without_a_task(printer: Printer, found: Bench) -> None:
    for benchmark in found.without_a_task:
        printer.hint(f"{benchmark}: published numbers only; openr1 has no task that would measure it")


def _time(hours: float | None) -> str:
    if hours is None:
        return translate("unknown")
    return translate("more than a year") if hours > HOURS_IN_A_YEAR else duration(3600 * hours)


def show_jobs(printer: Printer, found: Bench) -> None:
    """What `--run` would start, with its cost."""
    listed = jobs(found)
    if printer.json:
        printer.data(listed)
        return
    if printer.quiet:
        for job in listed:
            printer.command(job["name"])
        return
    if not listed:
        printer.say("nothing is missing")
        _without_a_task(printer, found)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in ("run", "answers", "most tokens", "time here"):
        table.add_column(head, justify="left" if head == "run" else "right", overflow="fold")
    for job in listed:
        tokens = f"{job['most_tokens'] / 1e6:,.0f} M"
        table.add_row(job["name"], f"{job['samples']:,}", tokens, _time(job["hours"]))
    printer.table(table)
    printer.hint(f"estimates: {'; '.join(dict.fromkeys(job['basis'] for job in listed))}")


def job_line(job: CellJob) -> str:
    """One job of `bench --run --slurm`: its cost, and what became of it."""
    cost = job.cost
    took = f"{job.name}: {cost['samples']:,} answers, time there: {_time(cost['hours'])}"
    if job.refused:
        return f"{job.name}: not submitted: {job.refused.what}" + (
            f" ({job.refused.fix})" if job.refused.fix else ""
        )
    assert job.submission
    if job.queued:
        return f"{job.name}: waits or runs already"
    if job.number is None:
        return f"{took}; planned for {job.submission.machine}; would be {job.submission.job.script}"
    return f"{took}; job {job.number}, {job.output}"


def total_line(jobs: Sequence[CellJob], cost: dict[str, Any]) -> str:
    count = sum(job.submission is not None for job in jobs)
    return (
        f"{count} of {len(jobs)} can be run: {cost['samples']:,} answers, at most "
        f"{cost['most_tokens'] / 1e9:.2g} billion tokens, time one after the other: {_time(cost['hours'])}"
    )


def run(printer: Printer, asked: Asked, chosen: dict[str, Any]) -> Bench:
    """Run what is missing, with a live view of each."""
    from openr1.cli.live import Live
    from openr1.services.bench import run_missing

    with Live(printer, "bench") as live:
        return run_missing(asked, live.listen, **chosen)


def measure(printer: Printer, asked: Asked, model: str | None) -> None:
    """Measure this machine and show what was found."""
    from openr1.cli.live import Live
    from openr1.services.bench import speed

    with Live(printer, "speed") as live:
        found = speed(asked, model, live.listen)
    if printer.json:
        printer.data(found)
        return
    printer.text(f"{found['model']} on {found['machine']}")
    printer.say(f"  sampling  {short(found['sampling'])} tokens/s")
    printer.say(f"  training  {short(found['training'])} tokens/s" if found["training"] else "  training  –")
    printer.hint("kept for later estimates (hw-profile, eval, bench)")
