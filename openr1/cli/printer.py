"""The only place that prints: for people, as JSON, or quietly. Data to stdout, everything else to stderr."""

from __future__ import annotations

import json as json_module
import sys
from typing import TYPE_CHECKING, Any

from openr1.errors import Interrupted, OpenR1Error, RecipeErrors
from openr1.language import translate

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class Printer:
    """One printer per command.

    Args:
        json: a program reads: one JSON document on stdout, nothing else there.
        quiet: results only.
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
        """A line of the answer, for a person."""
        if not self.json:
            self.console().print(text, style=style, markup=False)

    def table(self, table: Table) -> None:
        if not self.json:
            self.console().print(table)

    def note(self, text: str) -> None:
        """Something worth knowing once; not part of the answer."""
        if not (self.json or self.quiet):
            self.console(err=True).print(f"• {translate(text)}", style="dim", markup=False)

    def error(self, error: OpenR1Error) -> None:
        """What is wrong, where, and what to do."""
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
            console.print(f": {translate(problem.what)}", markup=False, soft_wrap=True)
            if problem.where:
                console.print(f"  at  {translate(problem.where)}", markup=False, soft_wrap=True)
            if problem.fix:
                console.print(f"  do  {translate(problem.fix)}", markup=False, soft_wrap=True)
            for edit in getattr(problem, "edits", ())[1:]:
                enough = "or" if edit.suffices else "helps"
                console.print(f"  {enough:<5} {edit.flags}  ({edit.words})", markup=False, soft_wrap=True)
            if getattr(problem, "edits", ()) and problem.code == 4:
                console.print("  or    --fit applies the first that suffices; --force starts all the same")
        sys.stderr.flush()
