"""The runs folder on a screen."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from openr1.cli.printer import Printer
from openr1.cli.report_view import show_sections
from openr1.cli.words import duration, gib, harmless, percent
from openr1.errors import UsageError
from openr1.language import label, translate
from openr1.runs.listing import Entry
from openr1.runs.report.lineage import PAGE, headline
from openr1.services.runs import Listed, Removal, Shown

STYLES = {"finished": "green", "running": "blue", "failed": "red", "killed": "red", "unreadable": "red"}


def show_list(printer: Printer, found: Sequence[Listed], root: Path) -> None:
    if printer.json:
        printer.data({"root": str(root), "runs": [listed.as_dict() for listed in found]})
        return
    if printer.quiet:
        for listed in found:
            printer.command(harmless(str(listed.entry.path)))
        return
    if not found:
        printer.say(f"no runs in {root}; openr1 pipeline tiny-cpu makes one")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("run", overflow="fold")
    for column in ("kind", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("best so far", overflow="fold")
    for column in ("size", "changed"):
        table.add_column(column, justify="right", no_wrap=True)
    for listed in found:
        entry = listed.entry
        state = Text(harmless(label(entry.state)), style=STYLES.get(entry.state, "yellow"))
        cells = [_size(listed.size), translate(f"{age(entry.changed)} ago")]
        table.add_row(
            Text(harmless(entry.name)), Text(harmless(entry.kind)), state, Text(_best(entry)), *cells
        )
    printer.table(table)
    _unfinished(printer, found)


def _unfinished(printer: Printer, found: Sequence[Listed]) -> None:
    waiting = [listed for listed in found if listed.command]
    if waiting:
        printer.text()
        printer.say("unfinished; continue with", style="bold")
        for listed in waiting:
            printer.command(f"  {harmless(listed.command or '')}")
    for listed in found:
        if listed.entry.problem:
            fix = f"; {translate(listed.entry.fix)}" if listed.entry.fix else ""
            printer.note(harmless(f"{listed.entry.name}: {translate(listed.entry.problem)}{fix}"))


def _best(entry: Entry) -> str:
    best = entry.best
    if best:
        task = str(best.get("task")).partition("?")[0].removeprefix("builtin:")
        return harmless(f"{percent(best['accuracy'])} {best.get('model')}, {task}")
    told = [headline(run) for run in entry.runs]
    return harmless(next((text for text in reversed(told) if text), ""))


def age(when: datetime.datetime) -> str:
    """How long ago, in one unit."""
    seconds = max(0.0, (datetime.datetime.now(datetime.timezone.utc) - when).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(size: int) -> str:
    return gib(size) if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def show_one(printer: Printer, shown: Shown) -> None:
    entry = shown.listed.entry
    if printer.json:
        printer.data(shown.as_dict())
        return
    if printer.quiet:
        printer.text(harmless(entry.state))
        return
    printer.text(harmless(f"{entry.name} · {entry.kind} · {label(entry.state)}"), style="bold")
    _line(printer, "folder", str(entry.path))
    if shown.command:
        name = "made by" if entry.state in ("finished", "running") else "continue"
        _line(printer, name, shown.command)
    ago, spent = translate(f"{age(entry.changed)} ago"), translate(f"{duration(entry.seconds)} in all")
    _line(printer, "changed", f"{ago}; {spent}")
    parts = ", ".join(f"{label(part)} {_size(count)}" for part, count in shown.parts.items())
    _line(printer, "size", f"{_size(shown.listed.size)} ({parts})")
    way = " → ".join(
        n.label if n.state in ("", "finished") else f"{n.label} ({label(n.state)})" for n in shown.nodes
    )
    _line(printer, "way", way)
    for run in entry.runs:
        _run(printer, run)
    page = entry.path / PAGE
    _line(printer, "report", str(page) if page.exists() else f"openr1 report {entry.path}")
    printer.text()
    show_sections(printer, entry)


def _run(printer: Printer, run: Entry) -> None:
    if run.problem:
        _line(printer, run.path.name, translate(run.problem))
        if run.fix:
            _line(printer, "", translate(run.fix))
        return
    attempts = run.manifest.get("attempts")
    count = len(attempts) if isinstance(attempts, list) else 0
    tried = translate(f"{count} attempts" if count != 1 else "1 attempt")
    said = f"{run.kind}, {label(run.state)}, {tried}. {translate(headline(run))}"
    _line(printer, run.path.name, said)
    error = run.manifest.get("error")
    if isinstance(error, dict):
        _line(printer, "", translate(str(error.get("what"))))
        if error.get("fix"):
            _line(printer, "do", translate(str(error["fix"])))


def _line(printer: Printer, name: str, text: str) -> None:
    printer.field(harmless(name)[:12], harmless(text), indent=2, width=13)


def ask(printer: Printer, removal: Removal, *, yes: bool) -> None:
    """Say what goes and what depends on it, and ask.

    Raises:
        UsageError: nobody is there to ask.
        typer.Exit: the answer is no.
    """
    for run in removal.dependents:
        printer.note(harmless(f"{run.name} began with its weights and cannot start again without them"))
    if yes:
        return
    if printer.json or not sys.stdin.isatty():
        raise UsageError(
            "nothing was removed: nobody is there to ask",
            where=str(removal.entry.path),
            fix="add --yes to remove without a question",
        )
    path = harmless(str(removal.entry.path))
    if not typer.confirm(translate(f"Remove {path} ({_size(removal.size)}) for good?")):
        printer.note("nothing was removed")
        raise typer.Exit(0)


def removed(printer: Printer, removal: Removal) -> None:
    if printer.json:
        printer.data({"removed": str(removal.entry.path), "bytes": removal.size})
    else:
        printer.say(f"removed {harmless(str(removal.entry.path))}, {_size(removal.size)}")
