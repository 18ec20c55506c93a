"""`openr1 configs` on a screen."""

from __future__ import annotations

import json as json_module
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from openr1.cli.printer import Printer
from openr1.hardware import Machine
from openr1.services.configs import Entry, Explained, Meaning

if TYPE_CHECKING:
    from rich.table import Table

VERDICT = {True: ("fits", "green"), False: ("does not fit", "yellow"), None: ("not known", "dim")}


def show_list(entries: list[Entry], machine: Machine, *, json: bool) -> None:
    """The shipped recipes, one paragraph each."""
    printer = Printer(json=json)
    if json:
        printer.data([entry.as_dict() for entry in entries])
        return
    counted = Counter(str(gpu.name.value) for gpu in machine.gpus)
    cards = ", ".join(f"{count} × {name}" for name, count in counted.items()) or "no GPU"
    printer.text(f"for this machine: profile {machine.profile.value}, {cards}", style="dim")
    # What fits comes first, else in the order of the names.
    for entry in sorted(entries, key=lambda e: any(fit.fits is False for fit in e.fits)):
        printer.text()
        printer.text(entry.name, style="bold")
        printer.text(f"  {entry.header.what}")
        printer.table(_facts(entry))
    printer.text()
    printer.text("openr1 configs show NAME prints one, openr1 configs cp NAME copies it;", style="dim")
    printer.text("openr1 hw-profile --for NAME shows a section's memory by cause", style="dim")


def _facts(entry: Entry) -> Table:
    """What a recipe needs, how it is started and which of its sections fit, as two columns."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(no_wrap=True, min_width=8)
    table.add_column(overflow="fold")
    for label, text in (("needs", entry.header.needs), ("start", entry.header.start)):
        if text:
            table.add_row(f"  {label}", escape(re.sub(r" {2,}", "  ", text)))
    for fit in entry.fits:
        word, style = VERDICT[fit.fits]
        table.add_row(f"  {fit.section}", f"[{style}]{word}[/]: {escape(fit.words)}")
    return table


def show_file(path: Path, text: str, *, json: bool) -> None:
    """A recipe's text exactly as it is, so that it can be redirected into a file."""
    printer = Printer(json=json)
    if json:
        printer.data({"path": str(path), "text": text})
    else:
        print(text, end="" if text.endswith("\n") else "\n")


def show_written(path: Path, *, json: bool) -> None:
    printer = Printer(json=json)
    if json:
        printer.data({"path": str(path)})
        return
    printer.text(f"written: {path}")


def show_explained(found: Explained, recipe: str | None, *, json: bool) -> None:
    """A key's meanings, then where it is set."""
    printer = Printer(json=json)
    if json:
        printer.data(found.as_dict())
        return
    printer.text(found.key, style="bold")
    for meaning in found.meanings:
        _meaning(printer, meaning)
    for place in found.now:
        printer.text(f"  in {place.section}   {_yaml(place.value)}   ({place.where})")
    if recipe and not found.now:
        printer.text(f"  no section of {recipe} has this key")
    if not recipe:
        printer.text("set by shipped recipes" if found.places else "set by no shipped recipe", style="dim")
        for place in found.places:
            printer.text(f"  {_yaml(place.value)}   {place.where} ({place.section})")


def _meaning(printer: Printer, meaning: Meaning) -> None:
    printer.text(f"  {meaning.help}")
    printer.text(f"  stages   {', '.join(meaning.stages)}   ({meaning.owner}'s key)")
    printer.text(f"  type     {meaning.type}")
    if meaning.unit:
        printer.text(f"  unit     {meaning.unit}")
    if meaning.choices:
        printer.text(f"  one of   {', '.join(map(str, meaning.choices))}")
    printer.text(f"  default  {_yaml(meaning.default)}   ({meaning.default_reason})")


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) and value else json_module.dumps(value, ensure_ascii=False)
