"""Scores on a screen: accuracy with its two errors, and what the answers were like."""

from __future__ import annotations

from typing import Any

from openr1.cli.printer import Printer
from openr1.cli.words import harmless, percent
from openr1.language import label, translate


def show_scores(printer: Printer, scores: list[dict[str, Any]]) -> None:
    """One line per model and task, then the protocols."""
    ours = [score for score in scores if "metrics" not in score]
    if ours:
        _table(printer, ours)
    for score in (s for s in scores if "metrics" in s):
        printer.text(
            harmless(
                f"{score['model']} on {score['task']} ({score['problems']:,} problems, {score['protocol']})"
            )
        )
        for name, value in score["metrics"].items():
            error = score["errors"].get(name)
            first = name == next(iter(score["metrics"]))
            ends = "  95 %: {:.4f} – {:.4f}".format(*score["interval"]) if first else ""
            said = f" ± {error:.4f} (lighteval's)" if error is not None else ""
            printer.text(f"  {name}  {value:.4f}{said}{ends}")
        printer.hint(f"  lighteval's own files: {score['lighteval_files']}")


def _table(printer: Printer, scores: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    several = any(score.get("samples", 1) > 1 for score in scores)
    table = Table(box=None, pad_edge=False)
    for column in ("model", "task"):
        table.add_column(column, overflow="fold")
    heads = ["accuracy", "95 %"]
    heads += ["± run", "maj@n"] if several else []
    heads += ["length", "cut off", "answers"]
    for column in heads:
        table.add_column(column, justify="right", no_wrap=True)
    for score in scores:
        again = [_points(score.get("other_run")), _share(score.get("majority"))] if several else []
        table.add_row(
            Text(harmless(score["model"])),
            Text(harmless(score["task"])),
            percent(score["accuracy"]),
            interval(score),
            *again,
            f"{score['mean_tokens']:.0f}",
            percent(score["truncated"]),
            f"{score.get('problems', 0):,} × {score.get('samples', 1)}",
        )
    printer.table(table)
    for score in scores:
        _below(printer, score, several=len(scores) > 1)
    said = "95 %: another draw of problems"
    printer.hint(said + ("; ± run: another run on these problems, 95 %" if several else ""))
    for protocol in dict.fromkeys(score.get("protocol") for score in scores):
        printer.hint(f"protocol: {harmless(str(protocol))}")


def _below(printer: Printer, score: dict[str, Any], *, several: bool) -> None:
    """What does not fit into the table, where there is something to say."""
    from openr1.evaluation.advice import advice

    who = harmless(f"{score['model']}, {score['task']}") + ": " if several else ""
    pass_at = score.get("pass_at") or {}  # runs of earlier versions lack some of this
    if len(pass_at) > 1:
        chances = "  ".join(f"pass@{k} {percent(value)}" for k, value in pass_at.items())
        printer.text(f"{who}{chances}")
    if score.get("no_answer"):
        _say(printer, who, f"{percent(score['no_answer'])} of the answers hold no answer")
    if score.get("unjudged"):
        which = {k: v for k, v in score["verdicts"].items() if k in ("timeout", "error", "gold_unparsable")}
        said = ", ".join(f"{count} {label(name)}" for name, count in which.items())
        _say(printer, who, f"not judged, counted as not right: {said}", "yellow")
    to_do = advice(score)
    if to_do:
        _say(printer, who, f"advice: {to_do}", "yellow")
    if score.get("tokens_per_second") and not printer.quiet:
        _say(printer, who, f"{score['tokens_per_second']:,.0f} tokens/s", "dim")


def _say(printer: Printer, who: str, text: str, style: str | None = None) -> None:
    """openr1's words, after a name that is not."""
    printer.text(who + translate(text), style)


def interval(score: dict[str, Any]) -> str:
    """The 95 % interval in points."""
    low, high = score["interval"]
    return f"{100 * low:.1f} – {100 * high:.1f}"


def _points(error: float | None) -> str:
    return "–" if error is None else f"± {100 * 1.96 * error:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def show_rescored(run: str, *, json: bool, quiet: bool) -> None:
    """Grade a run's samples again and show what came out."""
    from openr1.cli.live import Live
    from openr1.services.evaluate import rescore

    printer = Printer(json=json, quiet=quiet)
    with Live(printer, "rescore") as live:
        result = rescore(run, live.listen)
    if json:
        printer.data(result)
        return
    show_scores(printer, result["scores"])
    printer.say(f"{result['changed']:,} of {result['samples']:,} verdicts are not what they were")
