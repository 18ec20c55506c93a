"""One section: its dry run as a page, its run as a live view, its result as a table."""

from __future__ import annotations

import json as json_module
from collections import Counter
from dataclasses import replace
from typing import Any

from openr1.cli.live import Live
from openr1.cli.plan_view import is_spread, plan_lines, processes
from openr1.cli.printer import Printer
from openr1.cli.scores_view import show_scores
from openr1.cli.words import duration, short
from openr1.language import translate
from openr1.services import launching, serving
from openr1.services.prepare import Prepared
from openr1.services.request import Asked
from openr1.services.stage import Outcome, execute, rehearse


def run_stage(
    service: Any, asked: Asked, *, dry_run: bool, all_values: bool, json: bool, quiet: bool
) -> None:
    """What sft, grpo and generate have in common: prepare, show or run, sum up; all values are only shown."""
    shows = dry_run or all_values
    prepared = service.prepare(replace(asked, dry_run=shows))
    run_prepared(prepared, dry_run=shows, all_values=all_values, json=json, quiet=quiet)


def run_prepared(prepared: Prepared, *, dry_run: bool, all_values: bool, json: bool, quiet: bool) -> None:
    printer = Printer(json=json, quiet=quiet)
    if dry_run:
        if json:
            printer.data(prepared.as_dict())
        else:
            show_dry_run(printer, prepared, all_values=all_values)
            say_defaults(printer, [prepared], all_values)
        return
    if prepared.rehearse:
        from openr1.cli.rehearsal_view import show as show_rehearsal

        with Live(printer, prepared.resolved.name) as live:
            found = rehearse(prepared, live.listen)
        if json:
            printer.data(found.as_dict())
        else:
            show_rehearsal(printer, found)
        return
    with Live(printer) as live:
        outcome = execute(prepared, live.listen)
    if json:
        printer.data(outcome.as_dict())
    else:
        show_outcome(printer, outcome)


def show_dry_run(printer: Printer, prepared: Prepared, *, all_values: bool) -> None:
    """The values that somebody or something chose, with their origin; the defaults where asked for."""
    from rich.table import Table

    resolved, plan = prepared.resolved, prepared.plan
    for notice in prepared.notices:
        printer.note(notice)
    printer.text(f"{resolved.recipe} · {resolved.name} ({resolved.stage})", style="bold")
    printer.field("run folder", f"{prepared.run.path}  ({translate(_state(prepared))})")
    printer.field("machine", translate(_machine(plan["machine"])))
    for name, text in plan_lines(plan):
        printer.field(name, text)
    printer.text()
    table = Table(box=None, pad_edge=False)
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("where it comes from", style="dim", overflow="fold")
    defaults = []
    for key, setting in sorted(resolved.settings.items()):
        if setting.origin.kind == "default":
            defaults.append(f"{key}={_value(setting.value)}")
        else:
            table.add_row(key, _value(setting.value), translate(str(setting.origin)))
    printer.table(table)
    printer.text()
    if all_values:
        printer.say(f"{len(defaults)} values at their defaults", style="bold")
        printer.text("  ".join(defaults), style="dim")
        printer.text()
    printer.say("would run", style="bold")
    printer.command(f"  {prepared.command}")
    if is_spread(plan):
        printer.text(f"  {processes(plan)}", style="dim")
    if serving.serves(plan):
        for line in serving.shown(prepared):
            printer.command(f"  {line}")
    elif launching.uses_server(prepared):
        printer.command(f"  {launching.shown(prepared)}")
    printer.say("would write", style="bold")
    printer.text(f"  {prepared.run.path}/")
    printer.text(f"    {_written(resolved.stage, plan)}")


def say_defaults(printer: Printer, sections: list[Prepared], all_values: bool) -> None:
    """How much a dry run did not show, and how to see it."""
    if all_values:
        return
    settings = (setting for prepared in sections for setting in prepared.resolved.settings.values())
    count = sum(setting.origin.kind == "default" for setting in settings)
    printer.hint(f"{count} more values at their defaults: --all-values")


def _machine(key: str) -> str:
    """`h100x8/H100,H100/64 cores/2 nodes` -> "profile h100x8, 2 × H100, 64 cores, on each of 2 nodes"."""
    profile, cards, cores, nodes = [*key.split("/"), "", "", ""][:4]
    counted = Counter(cards.split(","))
    shown = ", ".join(name if name == "no gpu" else f"{count} × {name}" for name, count in counted.items())
    return f"profile {profile}, {shown}, {cores}" + (f", on each of {nodes}" if nodes else "")


def _written(stage: str, plan: dict[str, Any]) -> str:
    always = "resolved.yaml, manifest.json, logs/attempt-N/"
    always += ", deepspeed.json" if launching.shares_by_our_file(plan) else ""
    more = {
        "sft": "metrics.jsonl, checkpoints/, model/",
        "grpo": "metrics.jsonl, samples/, checkpoints/, model/",
        "eval": "samples/, results.json",
        "generate": "samples/, samples.jsonl, sampling.json, verdicts.jsonl, selection.jsonl, dataset/",
    }
    return f"{always}, {more[stage]}"


def _state(prepared: Prepared) -> str:
    state = prepared.run.state
    return {None: "new", "finished": "finished: its result would be shown"}.get(
        state, f"{state}: it would be continued"
    )


def _value(value: Any) -> str:
    """A value as YAML would have it; JSON is close enough and says true, null and "text" the same way."""
    if isinstance(value, str):
        return value.replace("\n", "\\n") or '""'
    return json_module.dumps(value, ensure_ascii=False, default=str)


def show_outcome(printer: Printer, outcome: Outcome) -> None:
    """The end of a run, in a few lines."""
    if outcome.was_finished:
        printer.say(f"finished earlier; --fresh starts over. Run folder: {outcome.prepared.run.path}")
    if "scores" in outcome.result:
        show_scores(printer, outcome.result["scores"])
    elif "served" in outcome.result:
        served = outcome.result["served"]
        printer.say(f"this node served vLLM for the first one, which has ended: {served}")
    elif "file" in outcome.result:
        from openr1.cli.generate_view import show_generation

        show_generation(printer, outcome.result)
    else:
        last = outcome.result.get("last", {})
        shown = ", ".join(f"{key} {short(value)}" for key, value in last.items() if value is not None)
        printer.say(f"{outcome.result.get('steps')} steps in {duration(outcome.seconds)}: {shown}")
        printer.field("model:", str(outcome.prepared.run.model), width=7)
        printer.next(f"openr1 eval TASK --model {outcome.prepared.run.path}")
