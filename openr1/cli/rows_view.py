"""Training rows on a screen, as the model sees them."""

from __future__ import annotations

from typing import Any

from openr1.cli.live import Live
from openr1.cli.printer import Printer
from openr1.cli.words import harmless_lines
from openr1.services import show_samples
from openr1.services.request import Asked

OPEN, CLOSE = "⟦", "⟧"


def run(stage: str, asked: Asked, count: Any, *, json: bool, quiet: bool) -> None:
    printer = Printer(json=json, quiet=quiet)
    with Live(printer, "samples") as live:
        found = show_samples.samples(stage, asked, live.listen, count)
    if json:
        printer.data(found)
    elif stage == "grpo":
        show_prompts(printer, found)
    else:
        show(printer, found)


def show(printer: Printer, found: dict[str, Any]) -> None:
    """Every sample: what is learnt as it is, what is masked grey and between ⟦ and ⟧."""
    from rich.text import Text

    printer.hint(
        f"masked tokens stand between {OPEN} and {CLOSE}: the model reads them and does not learn them"
    )
    for sample in found["samples"]:
        head = f"row {sample['row']:,}: {sample['tokens']:,} tokens, {sample['learnt']:,} learnt"
        beyond = sample["tokens"] - sample["kept"]
        printer.text()
        printer.say(head + (f", {beyond:,} beyond max_length" if beyond else ""), style="bold")
        text = Text()
        for piece in sample["pieces"]:
            if piece["learnt"]:
                text.append(harmless_lines(piece["text"]))
            else:
                text.append(f"{OPEN}{harmless_lines(piece['text'])}{CLOSE}", style="dim")
        printer.styled(text)


def show_prompts(printer: Printer, found: dict[str, Any]) -> None:
    """Every prompt up to where the completion begins, and the gold answer beside it."""
    from rich.text import Text

    shortest, middle, longest = found["tokens"]
    printer.hint("prompts as the model sees them; the completion begins at ▌, and it alone is learnt from")
    printer.say(f"tokens per prompt: {shortest:,} to {longest:,}, half have {middle:,} or fewer")
    for sample in found["samples"]:
        printer.text()
        printer.say(f"row {sample['row']:,}: {sample['tokens']:,} tokens", style="bold")
        printer.styled(Text(f"{harmless_lines(sample['text'])}▌"))
        if sample["gold"] is not None:
            printer.styled(Text(f"gold: {harmless_lines(str(sample['gold']))}", style="dim"))
