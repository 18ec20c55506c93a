"""The Typer app and the order of its commands."""

import typer

from openr1.cli import (
    bench,
    configs,
    eval,
    generate,
    grpo,
    hw_profile,
    pipeline,
    report,
    runs,
    samples,
    sft,
    slurm,
)
from openr1.cli.commands import Commands

EPILOG = """Start here:

\b
  openr1 pipeline tiny-cpu      the whole R1 loop on any CPU, in minutes, nothing downloaded
  openr1 hw-profile             what this machine is and which defaults it gets
  openr1 sft RECIPE --dry-run   what would be done, every value with its origin
"""

# This module and those of the commands do without `from __future__ import annotations`: typer would compile
# the text of every annotation, a third of what `openr1 --help` costs beside typer itself.
app = typer.Typer(
    name="openr1",
    cls=Commands,
    help="From a base model to a measured R1-style reasoning model, on the machine you have.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich triples the cost of --help
    pretty_exceptions_enable=False,
)

# Every command takes RECIPE and `--KEY VALUE` in any order, so that words it does not know are its own.
AS_JOBS = ("pipeline", "sft", "grpo", "eval", "generate", "bench")
WIDE = {"max_content_width": 100}  # of a help page, where the terminal has the room
OPEN = {**WIDE, "allow_extra_args": True, "ignore_unknown_options": True}


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from openr1 import __version__

        typer.echo(f"openr1 {__version__}")
        raise typer.Exit()


for name, function, epilog in (
    ("pipeline", pipeline.command, pipeline.EXAMPLES),
    ("sft", sft.command, sft.EXAMPLES),
    ("grpo", grpo.command, grpo.EXAMPLES),
    ("eval", eval.command, eval.EXAMPLES),
    ("generate", generate.command, generate.EXAMPLES),
    ("samples", samples.command, samples.EXAMPLES),
    ("bench", bench.command, bench.EXAMPLES),
    ("hw-profile", hw_profile.command, hw_profile.EXAMPLES),
    ("report", report.command, report.EXAMPLES),
):
    if name in AS_JOBS:
        epilog += slurm.POINTER.format(command=name)
    settings = OPEN if name not in ("hw-profile", "report", "samples") else WIDE
    app.command(name, epilog=epilog, context_settings=settings)(function)
app.add_typer(configs.app, name="configs")
app.add_typer(runs.app, name="runs")
