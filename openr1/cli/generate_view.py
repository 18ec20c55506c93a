"""The end of a generation: what was kept at every step, what was found, and where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openr1.cli.printer import Printer
from openr1.cli.words import harmless_lines, percent
from openr1.language import label, translate
from openr1.services.request import Asked


def show_generation(printer: Printer, result: dict[str, Any]) -> None:
    """Counts at every step, verdicts, contamination, and the files."""
    printer.say(
        f"{result['samples']:,} completions of {result['rows']:,} rows, "
        f"{result['mean_tokens']:.0f} tokens on average, {percent(result['truncated'])} cut off"
    )
    if result.get("failed"):
        why = Path(result["file"]).with_name("quarantine.jsonl")
        printer.say(
            f"{result['failed']:,} samples failed; {why} says why, and the same command tries them again"
        )
    if result.get("verdicts"):
        said = ", ".join(f"{label(name)} {count:,}" for name, count in result["verdicts"].items())
        printer.say(f"verdicts: {said}")
    if len(result.get("funnel", ())) > 1:
        printer.table(_funnel(result["funnel"]))
    if result.get("contamination"):
        _show_contamination(printer, result["contamination"])
    printer.text(f"  {result['file']}")
    if result.get("dataset"):
        rows = {name: translate(f"{count:,} rows") for name, count in result["exported"].items()}
        said = ", ".join(f"{name}: {counted}" for name, counted in rows.items())
        printer.text(f"  {result['dataset']}  ({said})")
        stage = {"messages": "sft", "full": "grpo"}.get(next(iter(result["exported"])))
        if stage:
            printer.next(f"openr1 {stage} RECIPE --dataset {result['dataset']}")
    if result.get("hub"):
        printer.text(f"  {result['hub']}")


def _funnel(steps: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("step")
    for column in ("problems", "completions", "of all"):
        table.add_column(column, justify="right")
    everything = steps[0]["samples"]
    for step in steps:
        share = percent(step["samples"] / everything) if everything else "–"
        table.add_row(label(step["step"]), f"{step['problems']:,}", f"{step['samples']:,}", share)
    return table


def _show_contamination(printer: Printer, found: dict[str, Any]) -> None:
    by_set = ", ".join(f"{name} {count:,}" for name, count in found["by_set"].items())
    printer.say(
        f"contaminated problems: {found['problems']:,}{f' ({by_set})' if by_set else ''}, each shares "
        f"{found['ngram_size']} words with a test item; contamination.jsonl has the evidence"
    )
    for shared in found["most_shared"][:1]:
        if shared["documents"] > 1:
            printer.hint(f"  most shared, by {shared['documents']:,}: {shared['ngram']}")


def ask(asked: Asked, prompt: str, *, json: bool, quiet: bool) -> None:
    """One question: every completion with its reasoning, dim, and its answer."""
    from openr1.cli.live import Live
    from openr1.services import ask as service

    printer = Printer(json=json, quiet=quiet)
    with Live(printer) as live:
        replies = service.ask(asked, prompt, live.listen)
    if json:
        printer.data({"prompt": prompt, "completions": [reply.as_dict() for reply in replies]})
        return
    for reply in replies:
        if quiet:
            printer.text(harmless_lines(reply.answer))
            continue
        printer.text(label("reasoning"), style="bold")
        printer.text(harmless_lines(reply.reasoning) or "–", style="dim")
        printer.text(label("answer"), style="bold")
        printer.text(harmless_lines(reply.answer) or "–")
        cut = reply.finish_reason == "length"
        printer.hint(f"{reply.tokens:,} tokens, cut off" if cut else f"{reply.tokens:,} tokens")
