"""`openr1 report`"""

from typing import Annotated, Optional

import typer

from openr1.cli.common import Debug, Json, Quiet, guarded

EXAMPLES = """Examples:

\b
  openr1 report                                  the newest run
  openr1 report tiny-cpu-1234abcd                a summary, and report.html in the run's folder
  openr1 report runs/a/grpo runs/b/grpo          two runs side by side, in compare-grpo.html
  openr1 report tiny-cpu-1234abcd --json         scores and health, for a program

The page opens from disk and loads nothing. Every run leaves one behind; OPENR1_REPORT=off turns that off.
"""


@guarded
def command(
    run: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="RUN",
            help="A run or pipeline: its folder or name (default: the newest).",
            show_default=False,
        ),
    ] = None,
    other: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="RUN", help="A second one, to compare with.", show_default=False),
    ] = None,
    out: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--out", metavar="FILE", help="Write the page there instead."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """A run as one page, or two compared: curves, health, scores."""
    from pathlib import Path

    from openr1.cli import report_view
    from openr1.services import report as service

    path = Path(out) if out else None
    if run is None:
        from openr1.cli.common import newest_run

        run = newest_run(json=json, quiet=quiet)
    found = service.report(run, path) if other is None else service.compare(run, other, path)
    report_view.show(found, json=json, quiet=quiet)
