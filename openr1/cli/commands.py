"""A group of commands that, asked for one it does not have, says which it has."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class Commands(TyperGroup):
    """Typer's group with a helpful word about a mistyped command."""

    # Typer brings a click of its own or uses the installed one, depending on its version: hence Any.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from openr1.config.names import nearest

            names = self.list_commands(ctx)
            near = nearest(args[0], names)
            meant = f" Did you mean `{near}`?" if near else ""
            ctx.fail(f"there is no command `{args[0]}`.{meant} Commands: {', '.join(names)}")
        return super().resolve_command(ctx, args)
