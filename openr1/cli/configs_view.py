"""`openr1 configs` on a screen."""

from __future__ import annotations

import json as json_module
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
    """The shipped recipes, a line each: what needs least first."""
    printer = Printer(json=json)
    if json:
        printer.data([entry.as_dict() for entry in entries])
        return
    counted = Counter(str(gpu.name.value) for gpu in machine.gpus)
    cards = ", ".join(f"{count} × {name}" for name, count in counted.items()) or "no GPU"
    nodes = machine.nodes.value or 1
    cards = f"{nodes} nodes of {cards}" if nodes > 1 and counted else cards
    printer.text(f"for this machine: profile {machine.profile.value}, {cards}", style="dim")
    printer.text()
    printer.table(_lines(entries))
    printer.text()
    printer.text(
        "openr1 configs show NAME prints one and says what it does and how it is started;", style="dim"
    )
    printer.text(
        "openr1 configs cp NAME copies it; openr1 hw-profile --for NAME shows its memory", style="dim"
    )


def _lines(entries: list[Entry]) -> Table:
    """Name, what it needs, and whether it fits here; sections are named where not all of them fit."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for entry in entries:
        table.add_row(entry.name, escape(entry.header.needs_shortly), _here(entry))
    return table


def _here(entry: Entry) -> str:
    worst = next((v for v in (False, None) if any(fit.fits is v for fit in entry.fits)), True)
    sections = [fit.section for fit in entry.fits if fit.fits is worst]
    word, style = VERDICT[worst]
    if len(sections) < len(entry.fits):
        word = f"{', '.join(sections)} {word if len(sections) == 1 else word.replace('does', 'do')}"
    return f"[{style}]{escape(word)}[/]"


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
