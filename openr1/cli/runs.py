"""`openr1 runs ls|show|rm`"""

from typing import Annotated

import typer

from openr1.cli.commands import Commands
from openr1.cli.common import Debug, Json, Quiet, guarded

EXAMPLES = """Examples:

\b
  openr1 runs ls                                 state, best score, size and age of everything
  openr1 runs show tiny-cpu-1234abcd             one run in full
  openr1 runs rm tiny-cpu-1234abcd               remove it, after a question
"""
LS = """Examples:

\b
  openr1 runs ls
  OPENR1_RUNS_DIR=/data/runs openr1 runs ls --json
"""
SHOW = """Examples:

\b
  openr1 runs show tiny-cpu-1234abcd
  openr1 runs show tiny-cpu-1234abcd/grpo --json
"""
RM = """Examples:

\b
  openr1 runs rm tiny-cpu-1234abcd
  openr1 runs rm tiny-cpu-1234abcd/grpo --yes    without a question
"""

app = typer.Typer(
    cls=Commands,
    help="List, show and remove runs.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(metavar="RUN", help="Its folder, its name, or the beginning of one.")]


@app.command("ls", epilog=LS)
@guarded
def ls(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """What there is, and how what is unfinished goes on."""
    from openr1.cli import runs_view
    from openr1.cli.printer import Printer
    from openr1.services import runs

    runs_view.show_list(Printer(json=json, quiet=quiet), runs.ls(), runs.root())


@app.command("show", epilog=SHOW)
@guarded
def show(run: Name, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """One run in full: state, scores, sizes, where it comes from."""
    from openr1.cli import runs_view
    from openr1.cli.printer import Printer
    from openr1.services import runs

    runs_view.show_one(Printer(json=json, quiet=quiet), runs.show(run))


@app.command("rm", epilog=RM)
@guarded
def rm(
    run: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without a question.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Remove a run with its weights; one that is going on is refused."""
    from openr1.cli import runs_view
    from openr1.cli.printer import Printer
    from openr1.services import runs

    printer = Printer(json=json, quiet=quiet)
    removal = runs.plan_removal(run)
    runs_view.ask(printer, removal, yes=yes)
    runs.remove(removal)
    runs_view.removed(printer, removal)
