"""The published table on a screen."""

from __future__ import annotations

from openr1.cli.printer import Printer
from openr1.services.bench import Bench, Published

ORDER = ("aime24", "math_500", "gpqa:diamond", "livecodebench")


def show(found: Bench, *, json: bool) -> None:
    printer = Printer(json=json)
    if json:
        printer.data(found.as_dict())
        return
    from rich.table import Table

    benchmarks = [b for b in ORDER if any(r.benchmark == b for r in found.rows)]
    table = Table(title="Published scores, percent right (answers per problem)", title_justify="left")
    table.add_column("model")
    table.add_column("source", style="dim")
    for benchmark in benchmarks:
        table.add_column(benchmark, justify="right")
    last = None
    for model, source, cells in _lines(found.rows):
        if last not in (None, model):
            table.add_section()
        name = model.removeprefix("DeepSeek-R1-Distill-") if model != last else ""
        table.add_row(name, source, *[cells.get(b, "–") for b in benchmarks])
        last = model
    printer.table(table)
    printer.text(
        "Scores of one answer per problem move by several points from run to run (AIME: 30 problems); "
        "compare like with like."
    )
    printer.text("Take your own: openr1 eval math_500 --model MODEL")


def _lines(rows: list[Published]) -> list[tuple[str, str, dict[str, str]]]:
    """One line per model and source: (model, "source date", benchmark -> "score (samples)")."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        key = (row.model, f"{row.source.removesuffix(' README')} {row.date[:7]}")
        lines.setdefault(key, {})[row.benchmark] = f"{row.score:.1f} ({row.samples})"
    models = list(dict.fromkeys(model for model, _ in lines))
    ordered = sorted(lines.items(), key=lambda item: (models.index(item[0][0]), item[0][1]))
    return [(model, source, cells) for (model, source), cells in ordered]
