"""What goes wrong, as types: one exit code and one clear message each.

Rooms raise these; `openr1.cli.printer` is the only place that turns one into words on a screen.
Nothing here imports anything, so every room may use it.
"""

from __future__ import annotations


class OpenR1Error(Exception):
    """An error a person can act on.

    Args:
        what: one sentence that says what is wrong.
        where: the place, as `file:line`, a row, a path or a flag.
        fix: what to do next, as a command or an edit.
    """

    code = 7
    notices: tuple[str, ...] = ()
    """What a person was to be told anyway, before the error."""

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def as_dict(self) -> dict[str, object]:
        """The error as JSON-ready fields, for `--json` and for a child telling its parent."""
        return {
            "kind": type(self).__name__,
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "fix": self.fix,
        }


class UsageError(OpenR1Error):
    """Unknown command, option, task or run (exit 2)."""

    code = 2


class RecipeError(OpenR1Error):
    """A recipe, an override or the data it names is refused (exit 3)."""

    code = 3


class RecipeErrors(RecipeError):
    """Several problems in one recipe, reported at once (exit 3)."""

    def __init__(self, problems: list[RecipeError]) -> None:
        super().__init__(f"{len(problems)} problems in the recipe")
        self.problems = problems

    def as_dict(self) -> dict[str, object]:
        return super().as_dict() | {"problems": [p.as_dict() for p in self.problems]}


class DoesNotFit(OpenR1Error):
    """The plan needs more memory than the machine has (exit 4)."""

    code = 4


class EnvironmentProblem(OpenR1Error):
    """Missing package, GPU, hub, disk space or permission (exit 5)."""

    code = 5


class OutOfMemory(OpenR1Error):
    """Memory ran out while the run was going (exit 6)."""

    code = 6


class ComponentFailed(OpenR1Error):
    """A child, a server or too many items failed; the run can be continued (exit 7)."""

    code = 7


class Interrupted(OpenR1Error):
    """Stopped by the user or the scheduler; the run can be continued (exit 130)."""

    code = 130


BY_NAME: dict[str, type[OpenR1Error]] = {
    c.__name__: c
    for c in (
        UsageError,
        RecipeError,
        DoesNotFit,
        EnvironmentProblem,
        OutOfMemory,
        ComponentFailed,
        Interrupted,
    )
}


def from_dict(fields: dict[str, object]) -> OpenR1Error:
    """The error a child described with `as_dict`, as an exception again."""
    problems = fields.get("problems")
    if isinstance(problems, list):
        return RecipeErrors([p for p in map(from_dict, problems) if isinstance(p, RecipeError)])
    kind = BY_NAME.get(str(fields.get("kind")), ComponentFailed)
    where, fix = fields.get("where"), fields.get("fix")
    return kind(
        str(fields.get("what")),
        where=None if where is None else str(where),
        fix=None if fix is None else str(fix),
    )
