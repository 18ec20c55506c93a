"""The reward check on a screen."""

from __future__ import annotations

from typing import Any

from openr1.cli.live import Live
from openr1.cli.printer import Printer
from openr1.cli.words import harmless, percent
from openr1.language import label, translate
from openr1.services import check_rewards
from openr1.services.request import Asked

SHOWN = 8  # completions on the screen; --json has them all
WIDTH = 160  # characters of one


def run(printer: Printer, asked: Asked, *, rows: int, sample: bool) -> None:
    with Live(printer, "check") as live:
        report = check_rewards.check(asked, live.listen, rows=rows, sample=sample)
    if printer.json:
        printer.data(report)
    else:
        show(printer, report)


def show(printer: Printer, report: dict[str, Any]) -> None:
    from rich.table import Table

    printer.say(f"{report['rows']} rows looked at; columns: {report['columns']}", style="bold")
    for gold in report["gold_problems"][:SHOWN]:
        printer.say(
            f"  row {gold['row'] + 1}: the gold `{gold['gold'][:60]}` cannot be used: {gold['reason']}"
        )
    for reward, columns in report["missing_columns"].items():
        printer.say(f"  {reward} needs a column the dataset lacks: {' or '.join(columns)}")
    if report["long_prompts"]:
        printer.say(f"  {len(report['long_prompts'])} prompts are longer than the context leaves room for")
    if report["think_prefilled"]:
        printer.say("  the chat template opens <think> by itself; rewards know")
    if report["rewards"]:
        table = Table(box=None, pad_edge=False)
        for column in ("reward", "mean", "groups without spread", "what was seen"):
            table.add_column(
                column, justify="right" if column in ("mean", "groups without spread") else "left"
            )
        for reward in report["rewards"]:
            mean = "–" if reward["mean"] is None else f"{reward['mean']:.3f}"
            table.add_row(reward["name"], mean, percent(reward["flat_groups"]), translate(reward["why"]))
        printer.text()
        printer.table(table)
        printer.say(f"cut off: {percent(report['truncated'])}")
        printer.text()
    for one in report["samples"][:SHOWN]:
        given = ", ".join(f"{k} {'–' if v is None else f'{v:g}'}" for k, v in one["rewards"].items())
        row = translate(f"row {one['row'] + 1}")
        printer.text(f"{row}  {given}  ({label(one['verdict'])})")
        printer.text(f"    {harmless(one['text'])[:WIDTH]}", style="dim")
    printer.text()
    for problem in report["problems"]:
        printer.say(f"look: {problem}", style="yellow")
    if not report["problems"]:
        printer.say("no problem found", style="green")
