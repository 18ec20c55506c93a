"""Samples in a terminal. Whatever a model wrote, it cannot move the cursor, colour a line or ring a bell."""

from __future__ import annotations

from dataclasses import asdict

from openr1.cli.printer import Printer
from openr1.cli.words import harmless_lines, short
from openr1.services.samples import Found, Sample

HEAD, TAIL = 600, 1200  # characters of a long text that are shown without --full
COLOURS = {"right": "green", "wrong": "red"}


def show(found: Found, *, json: bool, full: bool) -> None:
    printer = Printer(json=json)
    if json:
        printer.data(
            {
                "samples": [asdict(sample) for sample in found.samples],
                "matching": found.matching,
                "verdicts": found.verdicts,
            }
        )
        return
    for sample in found.samples:
        _sample(printer, sample, full)
    counted = ", ".join(f"{count:,} {name}" for name, count in found.verdicts.items())
    printer.text(
        f"{len(found.samples)} of {found.matching:,} shown" + (f"; in all {counted}" if counted else "")
    )


def _sample(printer: Printer, sample: Sample, full: bool) -> None:
    place = f"row {sample.row}" + (f", answer {sample.index}" if sample.index is not None else "")
    said = [f"{sample.tokens:,} tokens"] if sample.tokens is not None else []
    said += ["cut off"] if sample.finish_reason == "length" else []
    printer.text(f"── {harmless_lines(sample.file)}  {place}  {', '.join(said)}", style="bold")
    printer.text(f"problem    {_cut(sample.problem, full)}")
    if sample.gold is not None:
        printer.text(f"gold       {_cut(sample.gold, full)}")
    if sample.verdict is not None:
        printer.text(f"extracted  {'–' if sample.extracted is None else harmless_lines(sample.extracted)}")
        style = COLOURS.get(sample.verdict, "yellow")
        printer.text(f"verdict    {sample.verdict} ({harmless_lines(sample.reason or '')})", style=style)
    if sample.scores:
        shown = "  ".join(f"{k} {short(v)}" for k, v in sample.scores.items() if isinstance(v, (int, float)))
        printer.text(f"rewards    {shown}")
    printer.text(_cut(sample.text, full))
    printer.text()


def _cut(text: str, full: bool) -> str:
    """A long text without its middle."""
    clean = harmless_lines(text)
    if full or len(clean) <= HEAD + TAIL:
        return clean
    left_out = len(clean) - HEAD - TAIL
    return f"{clean[:HEAD]}\n… {left_out:,} characters (--full shows them) …\n{clean[-TAIL:]}"
