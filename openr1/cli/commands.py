"""A group of commands: what it does not have, and words it cannot read, are messages like any other."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """Typer's group with a helpful word about a mistyped command, and our printer for usage errors."""

    # Typer brings a click of its own or uses the installed one, depending on its version: hence Any, and
    # click's errors are known by what they have.
    def main(self, args: Any = None, *, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(args, standalone_mode=False, **extra)
        except typer.Abort:  # Ctrl-C or the end of input at a question
            sys.exit(130)
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            sys.exit(_refuse(error, words))
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from openr1.config.names import nearest

            names = self.list_commands(ctx)
            near = nearest(args[0], names)
            meant = f" Did you mean `{near}`?" if near else ""
            ctx.fail(f"there is no command `{args[0]}`.{meant} Commands: {', '.join(names)}")
        return super().resolve_command(ctx, args)


def _refuse(error: Any, words: list[str]) -> int:
    """Say what click found wrong with the command line; returns the exit code.

    A command that needs a word and got none shows its help instead, as click has it.
    """
    from openr1.cli.printer import Printer
    from openr1.errors import UsageError

    path = error.ctx.command_path if getattr(error, "ctx", None) else "openr1"
    asks = type(error).__name__ == "NoArgsIsHelpError"
    if asks and "--json" not in words:
        error.show()
        return 2
    said = f"{path} needs one of its commands" if asks else " ".join(error.format_message().split())
    problem = UsageError(said, where="the command line", fix=f"{path} --help")
    Printer(json="--json" in words).error(problem)
    return problem.code
