"""`openr1 samples`"""

from typing import Annotated, Optional

import typer

from openr1.cli.common import Debug, Json, Quiet, guarded

EXAMPLES = """Examples:

\b
  openr1 samples                                  of the newest run: the last model's first five
  openr1 samples runs/eval-1234abcd --of base     another model's
  openr1 samples runs/eval-1234abcd --wrong       what was not right
  openr1 samples RUN --verdict truncated -n 1 --full
  openr1 samples RUN --row 17                     all answers to one problem
"""
Text = Optional[str]  # noqa: UP045
Number = Optional[int]  # noqa: UP045


@guarded
def command(
    run: Annotated[
        Text,
        typer.Argument(
            metavar="RUN", help="A run's folder, or its name (default: the newest).", show_default=False
        ),
    ] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only those that are not right.")] = False,
    verdict: Annotated[
        Text, typer.Option("--verdict", metavar="V", help="Only one verdict: wrong, truncated, no_answer, …")
    ] = None,
    row: Annotated[Number, typer.Option("--row", metavar="N", help="Only one problem, by its row.")] = None,
    of: Annotated[
        Text, typer.Option("--of", metavar="NAME", help="Only files named so (model, task).")
    ] = None,
    number: Annotated[
        Number,
        typer.Option(
            "-n", "--number", min=1, help="How many to show (default: 5; with --row all).", show_default=False
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Whole texts instead of beginning and end.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Read what a run's models wrote, with gold and verdict."""
    from openr1.cli.printer import Printer
    from openr1.cli.samples_view import show
    from openr1.services.samples import samples

    if run is None:
        from openr1.cli.common import newest_run

        run = newest_run(samples=True, json=json, quiet=quiet)
    limit = number or (5 if row is None else None)
    found = samples(run, wrong=wrong, verdict=verdict, row=row, contains=of, limit=limit)
    show(Printer(json=json, quiet=quiet), found, full=full)
