"""Training rows on a screen, as the model sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openr1.cli.live import Live
from openr1.cli.printer import Printer
from openr1.cli.words import harmless_lines
from openr1.services import show_samples
from openr1.services.request import Asked

if TYPE_CHECKING:
    from rich.text import Text

OPEN, CLOSE = "⟦", "⟧"
MOST_PIECES = 5  # of one row on one line


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


def one_line(sample: dict[str, Any], width: int) -> Text:
    """A sample on one line: masked between ⟦ and ⟧, line breaks as ↵, the middle of what is long left out."""
    from rich.cells import cell_len
    from rich.text import Text

    pieces = sample.get("pieces") or [
        {"text": sample["text"], "learnt": False},
        {"text": "" if sample["gold"] is None else f"▌ {sample['gold']}", "learnt": True},
    ]
    if len(pieces) > MOST_PIECES:
        pieces = [*pieces[:2], {"text": " … ", "learnt": True}, *pieces[-2:]]
    texts = [harmless_lines(p["text"]).replace("\n", "↵").replace("\t", " ") for p in pieces]
    head = f"  row {sample['row']:<6,} "
    room = width - cell_len(head) - 2 * len(pieces)
    # What is short takes what it needs; the others share the rest.
    rooms = {}
    for left, index in enumerate(sorted(range(len(texts)), key=lambda i: cell_len(texts[i]))):
        rooms[index] = min(cell_len(texts[index]), room // (len(texts) - left))
        room -= rooms[index]
    line = Text(head)
    for index, piece in enumerate(pieces):
        text = _without_middle(texts[index], rooms[index])
        masked = "pieces" in sample and not piece["learnt"]
        line.append(f"{OPEN}{text}{CLOSE}" if masked else text)
    return line


def _without_middle(text: str, room: int) -> str:
    """`text` in `room` cells of a terminal: its beginning and its end."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= room:
        return text
    if room < 3:
        return "…"[:room]
    first = set_cell_size(text, (room - 1) // 2).rstrip()
    last = set_cell_size(text[::-1], room - 1 - (room - 1) // 2)[::-1].lstrip()
    return f"{first}…{last}"
