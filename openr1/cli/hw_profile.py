"""`openr1 hw-profile`"""

from typing import Annotated, Optional

import typer

from openr1.cli.common import Debug, Gpus, Json, Profile, Quiet, Simulate, guarded

EXAMPLES = """Examples:

\b
  openr1 hw-profile                              this machine, and what it can train
  openr1 hw-profile --for qwen0.5b-light         every phase's memory, by cause
  openr1 hw-profile --simulate "RTX 3060" --for qwen0.5b-light
  openr1 hw-profile --check                      what to mend, with the command that mends it
  openr1 hw-profile --verify                     predicted bytes against the real model code
"""
Recipe = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--for", metavar="RECIPE", help="Show how this recipe's training sections would run here."),
]


@guarded
def command(
    recipe: Recipe = None,
    gpus: Gpus = None,
    profile: Profile = None,
    simulate: Simulate = None,
    check: Annotated[
        bool, typer.Option("--check", help="Look for what is broken; exit 5 if something is.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the memory model with fake tensors.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """What this machine is, which defaults it gets, and what fits."""
    from openr1.cli import hardware_view as view
    from openr1.cli.printer import Printer
    from openr1.services import hw_profile as service

    printer = Printer(json=json, quiet=quiet)
    if verify:
        if not view.show_verified(printer, service.verify()):
            raise typer.Exit(7)
        return
    sections = service.sections_of(recipe) if recipe else []
    report = service.hw_profile(
        simulate=simulate, profile=profile, sections=sections, with_checks=check, gpus=gpus
    )
    view.show(printer, report, only_checks=check and not recipe)
    if not report.healthy:
        raise typer.Exit(5)
