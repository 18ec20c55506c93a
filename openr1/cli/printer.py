"""The only place that prints: for people, as JSON, or quietly. Data to stdout, everything else to stderr."""

from __future__ import annotations

import json as json_module
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from openr1.errors import Interrupted, OpenR1Error, RecipeErrors
from openr1.language import label as translate_label
from openr1.language import translate

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

ROOM = 24  # columns that are left beside a head at least; where there are fewer, lines break as they may


class Printer:
    """One printer per command.

    Args:
        json: a program reads: one JSON document on stdout, nothing else there.
        quiet: results only: no notes and progress, no hints; a list is one name on each line.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json, self.quiet = json, quiet
        self._consoles: dict[bool, Console] = {}

    def console(self, *, err: bool = False) -> Console:
        """rich's console; NO_COLOR and dumb terminals are its business."""
        from rich.console import Console

        if err not in self._consoles:
            self._consoles[err] = Console(stderr=err, highlight=False, soft_wrap=False)
        return self._consoles[err]

    def data(self, value: Any) -> None:
        """The answer a program asked for."""
        print(json_module.dumps(value, indent=1, ensure_ascii=False, default=str))

    def text(self, text: str = "", style: str | None = None) -> None:
        """A line of the answer, for a person; what does not fit on it keeps its indentation."""
        if not self.json:
            body = text.lstrip(" ")
            shown = hanging(self.console(), text[: len(text) - len(body)], body)
            self.console().print(shown, style=style, markup=False)

    def exact(self, text: str) -> None:
        """A file's text as it is, so that it can be redirected into one."""
        if not self.json:
            print(text, end="" if text.endswith("\n") else "\n")

    def styled(self, text: Text) -> None:
        """A text with styles of its own; the terminal breaks its lines."""
        if not self.json:
            self.console().print(text, soft_wrap=True)

    def hint(self, text: str) -> None:
        """What explains the answer or says what comes next; not part of the answer."""
        if not self.quiet:
            self.say(text, "dim")

    def next(self, text: str) -> None:
        """The command that comes next, to copy."""
        if not self.quiet:
            self.command(f"{translate_label('next:')}  {text}", "dim")

    def say(self, text: str, style: str | None = None) -> None:
        """`text` in the reader's language; for openr1's own words, never for a model's."""
        indent = text[: len(text) - len(text.lstrip(" "))]
        self.text(indent + translate(text.lstrip(" ")), style)

    def field(
        self, label: str, text: str, *, width: int = 12, indent: int = 0, style: str | None = None
    ) -> None:
        """A label in the reader's language, and its text beside it in a column of its own."""
        if not self.json:
            from rich.cells import cell_len

            shown = translate_label(label)
            head = " " * indent + shown + " " * max(width - cell_len(shown), 1)
            self.console().print(hanging(self.console(), head, text), style=style, markup=False)

    def command(self, text: str, style: str | None = None) -> None:
        """A line to copy: never broken, whatever the terminal's width."""
        if not self.json:
            self.console().print(text, style=style, markup=False, soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table, its heads and title in the reader's language."""
        if self.json:
            return
        for column in table.columns:
            if isinstance(column.header, str):
                column.header = translate_label(column.header)
            column._cells = [_Han(c) if isinstance(c, str) and HAN.search(c) else c for c in column.cells]
        if isinstance(table.title, str):
            table.title = translate(table.title)
        self.console().print(table)

    def note(self, text: str) -> None:
        """Something worth knowing once; not part of the answer."""
        if not (self.json or self.quiet):
            console = self.console(err=True)
            console.print(hanging(console, "• ", translate(text)), style="dim", markup=False)

    def error(self, error: OpenR1Error) -> None:
        """What is wrong, where, and what to do."""
        from rich.cells import cell_len

        if self.json:
            self.data({"error": error.as_dict()})
            return
        for notice in error.notices:
            self.note(notice)
        problems = error.problems if isinstance(error, RecipeErrors) else [error]
        console = self.console(err=True)
        for problem in problems:
            stopped = isinstance(problem, Interrupted)
            label, style = ("Stopped", "bold yellow") if stopped else ("Error", "bold red")
            console.print(translate(label), style=style, end="")
            said = "" if problem.what == label.lower() else f": {translate(problem.what)}"
            console.print(said, markup=False, soft_wrap=True)
            lines = [("at", problem.where), ("do", problem.fix)]
            for edit in getattr(problem, "edits", ())[1:]:
                enough = "or" if edit.suffices else "helps"
                lines.append((enough, f"{edit.flags}  ({translate(edit.words)})"))
            edits = getattr(problem, "edits", ()) if problem.code == 4 else ()
            if any(edit.suffices for edit in edits):
                lines.append(("or", "--fit applies the first that suffices; --force starts all the same"))
            elif edits:
                lines.append(("or", "--force starts all the same"))
            heads = [translate_label(label) for label, _ in lines]
            width = max([3, *(cell_len(head) for head, (_, text) in zip(heads, lines, strict=True) if text)])
            for head, (_, text) in zip(heads, lines, strict=True):
                if text:
                    # Not wrapped: what is to be done is often a command to copy.
                    shown = f"  {head}{' ' * (width - cell_len(head))} {translate(text)}"
                    console.print(shown, markup=False, soft_wrap=True)
        sys.stderr.flush()


def hanging(console: Console, head: str, text: str) -> str:
    """`head` and `text` on lines of the console's width, all but the first indented as far as the head."""
    from rich.cells import cell_len
    from rich.text import Text

    indent = cell_len(head)
    room = console.width - indent
    if room < ROOM or cell_len(text) <= room or "\n" in text:
        return head + text
    if HAN.search(text):
        lines = han_lines(text, room)
    else:
        lines = [line.plain.rstrip() for line in Text(text).wrap(console, room)]
    return f"\n{' ' * indent}".join([head + lines[0], *lines[1:]])


class _Han:
    """A table's cell in Chinese, broken as `han_lines` does: rich breaks at spaces alone."""

    def __init__(self, markup: str) -> None:
        from rich.text import Text

        self.text = Text.from_markup(markup)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        lines = self.text.divide(_breaks(self.text.plain, options.max_width))
        for line in lines:
            line.rstrip()
        yield Text("\n").join(lines)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.cells import cell_len
        from rich.measure import Measurement

        longest = max(cell_len(piece) for piece in _PIECE.findall(self.text.plain))
        return Measurement(min(longest, options.max_width), min(self.text.cell_len, options.max_width))


HAN = re.compile("[\u3400-\u9fff]")
# A line may break at a space and beside a Chinese character, but not before what closes or after what opens.
_PIECE = re.compile(
    r"[（“《]*(?:[\u3400-\u9fff]|[^\s\u3400-\u9fff，。：；、）”》（“《]+|.)[，。：；、）”》]*", re.DOTALL
)


def han_lines(text: str, room: int) -> list[str]:
    """Lines of at most `room` columns; Chinese has no spaces to break at."""
    ends = [*_breaks(text, room), len(text)]
    return [text[start:end].rstrip() for start, end in zip([0, *ends], ends, strict=False)]


def _breaks(text: str, room: int) -> list[int]:
    """Where the second line begins, and every one after it."""
    from rich.cells import cell_len

    found, width = [], 0
    for piece in _PIECE.finditer(text):
        length = cell_len(piece[0])
        if width and width + length > room and not piece[0].isspace():  # a space ends the line before
            found.append(piece.start())
            width = 0
        width += length
    return found
