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
from openr1.language import label, language, translate
from openr1.services.configs import Entry, Explained, Meaning

if TYPE_CHECKING:
    from rich.table import Table

VERDICT = {True: ("fits", "green"), False: ("does not fit", "yellow"), None: ("not known", "dim")}


def show_list(printer: Printer, entries: list[Entry], machine: Machine) -> None:
    """The shipped recipes, a line each: what needs least first."""
    if printer.json:
        printer.data([entry.as_dict() for entry in entries])
        return
    if printer.quiet:
        for entry in entries:
            printer.command(entry.name)
        return
    counted = Counter(str(gpu.name.value) for gpu in machine.gpus)
    cards = ", ".join(f"{count} × {name}" for name, count in counted.items()) or "no GPU"
    nodes = machine.nodes.value or 1
    cards = f"{nodes} nodes of {cards}" if nodes > 1 and counted else cards
    printer.hint(f"for this machine: profile {machine.profile.value}, {cards}")
    printer.text()
    printer.table(_lines(entries))
    printer.text()
    printer.hint("openr1 configs show NAME prints one and says what it does and how it is started;")
    printer.hint("openr1 configs cp NAME copies it; openr1 hw-profile --for NAME shows its memory")


def _lines(entries: list[Entry]) -> Table:
    """Name, what it needs, and whether it fits here; sections are named where not all of them fit."""
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("recipe", no_wrap=True, style="bold")
    table.add_column("needs", no_wrap=True)
    table.add_column("here", overflow="fold")
    for entry in entries:
        table.add_row(entry.name, escape(translate(entry.header.needs_shortly)), _here(entry))
    return table


def _here(entry: Entry) -> str:
    worst = next((v for v in (False, None) if any(fit.fits is v for fit in entry.fits)), True)
    sections = [fit.section for fit in entry.fits if fit.fits is worst]
    word, style = VERDICT[worst]
    if len(sections) < len(entry.fits):
        several = translate(word if len(sections) == 1 else word.replace("does", "do"))
        return f"[{style}]{escape(', '.join(sections))} {escape(several)}[/]"
    return f"[{style}]{escape(translate(word))}[/]"


def show_file(printer: Printer, path: Path, text: str) -> None:
    """A recipe's text exactly as it is, so that it can be redirected into a file."""
    if printer.json:
        printer.data({"path": str(path), "text": text})
    else:
        printer.exact(text)


def show_written(printer: Printer, path: Path) -> None:
    if printer.json:
        printer.data({"path": str(path)})
        return
    printer.command(str(path)) if printer.quiet else printer.say(f"written: {path}")


def show_explained(printer: Printer, found: Explained, recipe: str | None) -> None:
    """A key's meanings, then where it is set."""
    if printer.json:
        printer.data(found.as_dict())
        return
    if printer.quiet:
        in_effect = [place.value for place in found.now] or [m.default for m in found.meanings]
        for value in in_effect:
            printer.command(_yaml(value))
        return
    printer.text(found.key, style="bold")
    for meaning in found.meanings:
        _meaning(printer, meaning)
    for place in found.now:
        # Never broken: a place is there to be copied, and its folder may be longer than the line.
        printer.command(f"  in {place.section}   {_yaml(place.value)}   ({translate(place.where)})")
    if recipe and not found.now:
        printer.say(f"  no section of {recipe} has this key")
    if not recipe:
        printer.hint("set by shipped recipes" if found.places else "set by no shipped recipe")
        width = min(max((len(_yaml(place.value)) for place in found.places), default=0), 40)
        for place in found.places:
            printer.command(f"  {_yaml(place.value):<{width}}   {place.where} ({place.section})")


def _meaning(printer: Printer, meaning: Meaning) -> None:
    printer.say(f"  {meaning.help}")
    owner = translate(f"{meaning.owner}'s key")
    lines = [("stages", f"{', '.join(meaning.stages)}   ({owner})")]
    lines.append(("type", type_in_words(meaning.type)))
    if meaning.unit:
        lines.append(("unit", label(meaning.unit)))
    if meaning.choices:
        lines.append(("one of", ", ".join(map(str, meaning.choices))))
    lines.append(("default", f"{_yaml(meaning.default)}   ({translate(meaning.default_reason)})"))
    for name, text in lines:
        printer.field(name, text, indent=2, width=9)


_OR = re.compile(r" or (?=null|text\b|a |true )")


def type_in_words(kind: str) -> str:
    """A type, which is put together of others, in the reader's language: `a list (text or a map) or null`."""
    if language() == "en":
        return kind
    head, bracket, rest = kind.partition(" (")
    if not bracket:
        return " 或 ".join(translate(part) for part in _OR.split(kind))
    inner, _, others = rest.rpartition(")")
    return " 或 ".join(
        [f"{translate(head)}（{type_in_words(inner)}）", *map(translate, _OR.split(others)[1:])]
    )


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) and value else json_module.dumps(value, ensure_ascii=False)
