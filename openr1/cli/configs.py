"""`openr1 configs`: look at recipes, take one, ask what a key means, renew an old file."""

from typing import Annotated, Optional

import typer

from openr1.cli.commands import Commands
from openr1.cli.common import Debug, Json, Profile, Quiet, Simulate, guarded

EXAMPLES = """Examples:

\b
  openr1 configs ls                                what there is, and what fits this machine
  openr1 configs ls --simulate "RTX 3060"          what would fit another one
  openr1 configs ls --nodes 2                      what fits two machines like this one
  openr1 configs show qwen0.5b-light               a recipe as it is written
  openr1 configs cp qwen0.5b-light my.yaml         a copy to change
  openr1 configs explain beta                      meaning, type, default, and where it is set
  openr1 configs explain beta my.yaml              the value in effect in a recipe, and why
  openr1 configs migrate old.yaml new.yaml         a file of open-r1 or TRL in today's form
"""

app = typer.Typer(
    cls=Commands,
    help="List recipes, copy one, explain a key, renew an old file.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,
)
Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a file.")]
Overwrite = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]
Target = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(metavar="FILE", help="The new file, or a folder.", show_default=False),
]


@app.command("ls")
@guarded
def ls(
    profile: Profile = None,
    simulate: Simulate = None,
    nodes: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--nodes", metavar="N", min=1, help="So many machines like this one, together."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Shipped recipes: what each does and needs, and what fits here."""
    from openr1.cli.configs_view import show_list
    from openr1.cli.printer import Printer
    from openr1.services import configs
    from openr1.services.hw_profile import the_machine
    from openr1.services.launching import of_nodes

    machine = the_machine(simulate, profile)
    machine = machine if nodes is None else of_nodes(machine, nodes)
    show_list(Printer(json=json, quiet=quiet), configs.list_recipes(machine), machine)


@app.command("show")
@guarded
def show(recipe: Recipe, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Print a recipe as it is written."""
    from openr1.cli.configs_view import show_file
    from openr1.cli.printer import Printer
    from openr1.services import configs

    show_file(Printer(json=json, quiet=quiet), *configs.read_recipe(recipe))


@app.command("cp")
@guarded
def cp(
    recipe: Recipe,
    target: Target = None,
    force: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Copy a recipe into a file of your own (default: to this folder)."""
    from openr1.cli.configs_view import show_written
    from openr1.cli.printer import Printer
    from openr1.services import configs

    show_written(Printer(json=json, quiet=quiet), configs.copy_recipe(recipe, target, force=force))


@app.command("explain")
@guarded
def explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key of a recipe, e.g. learning_rate.")],
    recipe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="RECIPE", help="Say what is in effect in this recipe.", show_default=False),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Meaning, type, default and unit of a key, and where it is set."""
    from openr1.cli.configs_view import show_explained
    from openr1.cli.printer import Printer
    from openr1.services import configs

    show_explained(Printer(json=json, quiet=quiet), configs.explain(key, recipe), recipe)


@app.command("migrate")
@guarded
def migrate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A flat file of open-r1, TRL or a fork.")],
    target: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="NEW", help="Where to write it; printed when not given.", show_default=False),
    ] = None,
    force: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """An old flat file as a recipe of today; comments say what changed."""
    from openr1.cli.configs_view import show_file, show_written
    from openr1.cli.printer import Printer
    from openr1.services import configs

    printer = Printer(json=json, quiet=quiet)
    path, text = configs.migrated(file)
    if target is None:
        show_file(printer, path, text)
    else:
        configs.write_recipe(configs.target_of(path, target), text, force=force)
        show_written(printer, configs.target_of(path, target))
        if not json:
            printer.next(f"openr1 pipeline {configs.target_of(path, target)} --dry-run")
