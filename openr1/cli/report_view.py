"""A report in a terminal: curves as little bars, health in words, scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from openr1.cli.printer import Printer
from openr1.cli.scores_view import show_scores
from openr1.cli.words import duration, harmless, percent, short
from openr1.language import label, translate
from openr1.runs.health import Finding
from openr1.runs.listing import Entry
from openr1.runs.report import page
from openr1.runs.report.charts import CHARTS, pictures
from openr1.runs.report.scores import Pair
from openr1.runs.report.story import Story
from openr1.runs.series import Curve
from openr1.services.report import Report

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 32
IN_SHORT = ("loss", "reward", "rewards", "length", "clipped", "entropy", "kl", "accuracy", "speed")


def show(found: Report, *, json: bool, quiet: bool) -> None:
    printer = Printer(json=json, quiet=quiet)
    if json:
        printer.data(found.as_dict())
        return
    if quiet:
        printer.text(str(found.path))
        return
    for notice in found.notices:
        printer.note(notice)
    for name, entry, stories in found.sides:
        _one(printer, name, entry, stories)
    if len(found.sides) == 2:
        _differences(printer, found)
    _pairs(printer, found.pairs)
    printer.field("report:", str(found.path), width=8)


def whole_scores(entry: Entry) -> list[dict[str, Any]]:
    """Scores that have what the table shows; a broken manifest may lack some of it."""
    ours = {"model", "task", "interval", "mean_tokens", "truncated"}
    theirs = {"model", "task", "problems", "protocol", "metrics", "errors", "lighteval_files"}
    return [s for s in entry.scores if ours <= s.keys()] + [s for s in entry.foreign if theirs <= s.keys()]


def show_sections(printer: Printer, entry: Entry) -> None:
    """The scores of every eval section, under its name where there are several."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for score in whole_scores(entry):
        sections.setdefault(str(score["section"]), []).append(score)
    for name, scores in sections.items():
        if len(sections) > 1:
            printer.text(f"  {harmless(name)}", style="bold")
        show_scores(printer, scores)


def _one(printer: Printer, name: str, entry: Entry, stories: Sequence[Story]) -> None:
    time = f" · {duration(entry.seconds)}" if entry.seconds else ""
    printer.text(harmless(f"{name} · {entry.kind} · {label(entry.state)}{time}"), style="bold")
    for story in stories:
        for problem in story.problems:
            printer.note(harmless(problem))
        if story.series.rows:
            printer.say(f"  {harmless(story.name)}, {story.series.rows:,} rows of metrics")
            _curves(printer, story)
        elif story.findings:
            printer.text(f"  {harmless(story.name)}")
        if story.series.rows or story.findings:
            _health(printer, story.findings)
    show_sections(printer, entry)
    printer.text()


def _curves(printer: Printer, story: Story) -> None:
    order = {chart.id: place for place, chart in enumerate(CHARTS)}
    drawn = [p for p in pictures(story) if p.chart.id in IN_SHORT]
    for picture in sorted(drawn, key=lambda p: order[p.chart.id]):
        for line in picture.lines:
            name = translate(picture.chart.title) if len(picture.lines) == 1 else label(line.label)
            ends = " → ".join(_said(v, picture.chart.share) for v in (line.curve.first, line.curve.last))
            printer.field(harmless(name)[:22], f"{sparkline(line.curve)}  {ends}", indent=4, width=23)


def _said(value: float, share: bool) -> str:
    return percent(value) if share else short(value)


def sparkline(curve: Curve, width: int = WIDTH) -> str:
    """A curve as `width` bars at most, low to high; a place without a finite value is a dot."""
    points = curve.points
    count = min(width, len(points))
    low, high = curve.low, curve.high
    bars = []
    for place in range(count):
        part = points[place * len(points) // count : (place + 1) * len(points) // count]
        values = [p.mean for p in part if math.isfinite(p.mean)]
        if not values:
            bars.append("·")
            continue
        share = (sum(values) / len(values) - low) / (high - low) if high > low else 0.0
        bars.append(BARS[min(len(BARS) - 1, int(share * len(BARS)))])
    return "".join(bars).ljust(width)


def _health(printer: Printer, findings: Sequence[Finding]) -> None:
    for found in findings:
        style = "yellow" if found.rule.level == "warning" else "dim"
        printer.text(f"    {translate(found.rule.title)} ({harmless(translate(found.when))})", style=style)
        for name, text in (
            ("seen", found.seen),
            ("expected", found.rule.expected),
            ("do", found.rule.advice),
        ):
            printer.field(name, harmless(translate(text)), indent=6, width=9)
    if all(f.rule.level != "warning" and not f.who for f in findings):
        printer.say("    nothing unusual in the metrics", style="green")


def _differences(printer: Printer, found: Report) -> None:
    (_, _, first), (_, _, second) = found.sides
    for one, other in page.match(first, second):
        rows = page.differences(one, other)
        if rows:
            printer.say(f"{harmless(one.name)}: what differs", style="bold")
        for row in rows:
            cells = [harmless(row[key]) for key in ("key", "first", "second")]
            printer.text(f"  {cells[0]:<28} {cells[1]}  |  {cells[2]}")


def _pairs(printer: Printer, pairs: Sequence[Pair]) -> None:
    if pairs:
        printer.say("compared problem by problem", style="bold")
    for pair in pairs:
        who = harmless(f"{pair.where}: {pair.first} → {pair.second}")
        if pair.why_not:
            printer.text(f"  {who}: {harmless(translate(pair.why_not))}")
            continue
        ends = f"[{100 * pair.low:+.1f} – {100 * pair.high:+.1f}]"
        chance = "< 0.001" if pair.p_value < 0.001 else f"{pair.p_value:.3f}"
        said = translate(
            f"{100 * pair.difference:+.1f} points {ends}, chance alone {chance}, "
            f"{pair.problems:,} of {pair.asked:,} problems"
        )
        verdict = "" if pair.distinguishable else f": {translate('not distinguishable')}"
        printer.text(f"  {who}: {said}{verdict}")
