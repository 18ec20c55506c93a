"""Samples in a terminal. Whatever a model wrote, it cannot move the cursor, colour a line or ring a bell."""

from __future__ import annotations

from dataclasses import asdict

from openr1.cli.printer import Printer
from openr1.cli.words import harmless, harmless_lines, short
from openr1.language import label, translate
from openr1.services.samples import Found, Sample

HEAD, TAIL = 600, 1200  # characters of a long text that are shown without --full
COLOURS = {"right": "green", "wrong": "red"}


def show(printer: Printer, found: Found, *, full: bool) -> None:
    if printer.json:
        printer.data(
            {
                "samples": [asdict(sample) for sample in found.samples],
                "matching": found.matching,
                "total": found.total,
                "verdicts": found.verdicts,
                "files": found.files,
            }
        )
        return
    for sample in found.samples:
        _sample(printer, sample, full)
    if printer.quiet:
        return
    asked = f" that match, of {found.total:,}" if found.matching != found.total else ""
    printer.say(f"{len(found.samples)} shown of {found.matching:,}" + asked)
    for name, verdicts in found.files.items():
        counted = ", ".join(f"{count:,} {label(verdict)}" for verdict, count in verdicts.items())
        printer.text(f"  {harmless(name)}: {sum(verdicts.values()):,} = {counted}", style="dim")


def _sample(printer: Printer, sample: Sample, full: bool) -> None:
    place = f"row {sample.row}" if sample.row is not None else f"step {sample.step}"
    place += f", answer {sample.index}" if sample.index is not None else ""
    said = [translate(f"{sample.tokens:,} tokens")] if sample.tokens is not None else []
    said += [label("cut off")] if sample.finish_reason == "length" else []
    printer.text(f"── {harmless_lines(sample.file)}  {translate(place)}  {', '.join(said)}", style="bold")
    printer.field("problem", _cut(sample.problem, full), width=11)
    if sample.gold is not None:
        printer.field("gold", _cut(sample.gold, full), width=11)
    if sample.verdict is not None:
        extracted = "–" if sample.extracted is None else harmless_lines(sample.extracted)
        printer.field("extracted", extracted, width=11)
        style = COLOURS.get(sample.verdict, "yellow")
        why = label(sample.verdict)
        why += f" ({harmless_lines(translate(sample.reason))})" if sample.reason else ""
        printer.field("verdict", why, width=11, style=style)
    if sample.scores:
        shown = "  ".join(f"{k} {short(v)}" for k, v in sample.scores.items() if isinstance(v, (int, float)))
        printer.field("rewards", shown, width=11)
    printer.text(_cut(sample.text, full))
    printer.text()


def _cut(text: str, full: bool) -> str:
    """A long text without its middle."""
    clean = harmless_lines(text)
    if full or len(clean) <= HEAD + TAIL:
        return clean
    left_out = len(clean) - HEAD - TAIL
    cut = translate(f"… {left_out:,} characters (--full shows them) …")
    return f"{clean[:HEAD]}\n{cut}\n{clean[-TAIL:]}"
