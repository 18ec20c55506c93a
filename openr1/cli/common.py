"""Options that several commands share, and the guard around every command's body."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from openr1.services.request import Asked

Words = Annotated[
    Optional[list[str]],  # noqa: UP045  (typer on Python 3.10 reads this form)
    typer.Argument(
        metavar="RECIPE --KEY VALUE",
        help="A recipe file or a shipped recipe's name; any key of it can be overridden.",
        show_default=False,
    ),
]
Config = Annotated[Optional[str], typer.Option("--config", metavar="FILE", help="Same as RECIPE.")]  # noqa: UP045
SectionName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--section", metavar="NAME", help="Section of the recipe to run (default: the first)."),
]
Gpus = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--gpus", metavar="N", min=1, help="GPUs that train (default: the plan's choice)."),
]
Processes = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--processes", metavar="N", min=1, help="Processes that train where there is no GPU."),
]
NodesOption = Annotated[
    int, typer.Option("--nodes", metavar="N", min=1, help="Machines that work together; see --node-rank.")
]
NodeRank = Annotated[
    int,
    typer.Option("--node-rank", metavar="K", min=0, help="Which of the --nodes this one is; the first is 0."),
]
Master = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--master", metavar="HOST:PORT", help="Where the nodes meet: the first node, a free port."),
]
AccelerateConfig = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--accelerate-config", metavar="FILE", help="A file written by `accelerate config`."),
]
Rehearse = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option(
        "--rehearse/--no-rehearse",
        help="The worst of the run in two minutes, and nothing else. Long runs begin with it by themselves.",
        show_default=False,
    ),
]
NoRehearse = Annotated[
    bool, typer.Option("--no-rehearse", help="Start long sections without the rehearsal they begin with.")
]
Profile = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--profile", metavar="NAME", help="Force a hardware profile: light, h100x8, cpu."),
]
Simulate = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--simulate", metavar="MACHINE", help='Plan for another machine, e.g. "RTX 3060" or "8xH100".'
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over in a new folder instead of continuing.")]
Fit = Annotated[bool, typer.Option("--fit", help="Does not fit? Apply the cheapest edit that makes it fit.")]
Force = Annotated[bool, typer.Option("--force", help="Does not fit? Start all the same.")]
MaxGpuTemp = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--max-gpu-temp", metavar="C", min=40, max=120, help="Pause while a GPU is this hot, in °C."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, write nothing.")]
AllValues = Annotated[
    bool, typer.Option("--all-values", help="A dry run that shows the keys at their defaults too.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the result only.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


# What everybody types first, and the keys they stand for.
SHORT = {"model": "model_name_or_path", "dataset": "dataset_name"}


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn an error of ours into one message and its exit code, Ctrl-C into 130, a bug into one line."""

    @functools.wraps(command)
    def body(*args: Any, **kwargs: Any) -> None:
        from openr1.errors import Interrupted, OpenR1Error

        debug = bool(kwargs.get("debug"))
        try:
            command(*args, **kwargs)
        except OpenR1Error as error:
            _leave(error, kwargs, debug)
        except KeyboardInterrupt:
            _leave(Interrupted("interrupted"), kwargs, debug)
        except BrokenPipeError:
            raise typer.Exit(0) from None  # `openr1 … | head`
        except OSError as error:
            from openr1.runs.files import os_problem

            _leave(os_problem(error, error.filename or "this machine"), kwargs, debug)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            first = str(error).splitlines()[0] if str(error) else ""
            bug = OpenR1Error(
                f"this is a fault of openr1: {type(error).__name__}: {first}",
                fix="give the command again with --debug, and report what it shows",
            )
            _leave(bug, kwargs, debug)

    return body


def _leave(error: Any, kwargs: dict[str, Any], debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    from openr1.cli.printer import Printer

    Printer(json=bool(kwargs.get("json")), quiet=bool(kwargs.get("quiet"))).error(error)
    raise typer.Exit(error.code)


def asked_from(
    words: list[str] | None,
    *,
    config: str | None = None,
    section: str | None = None,
    gpus: int | None = None,
    profile: str | None = None,
    simulate: str | None = None,
    fresh: bool = False,
    fit: bool = False,
    force: bool = False,
    max_gpu_temp: int | None = None,
    processes: int | None = None,
    nodes: int = 1,
    node_rank: int = 0,
    master: str | None = None,
    accelerate_config: str | None = None,
    rehearse: bool | None = None,
    renamed: dict[str, str] | None = None,
) -> tuple[list[str], Asked]:
    """Sort a command's words into plain ones and overrides.

    Args:
        renamed: short flags of a command -> the keys they stand for.

    Returns:
        The plain words (a recipe, task names), and the request.

    Raises:
        UsageError: more plain words than a recipe, where `config` names one already; a flag that this
            command does not have; two names of one key with different values.
    """
    from openr1.config.overrides import parse_overrides
    from openr1.errors import UsageError
    from openr1.services.request import Asked, Nodes

    plain, overrides = parse_overrides(words or [])
    _refuse_mistyped_flags(overrides, renamed or {})
    for short, key in (renamed or {}).items():
        if short in overrides:
            given = overrides.pop(short)
            if overrides.get(key, given)[1] != given[1]:
                raise UsageError(
                    f"`--{short}` and another name of `{key}` are given: {given[1]} and {overrides[key][1]}",
                    where="the command line",
                    fix="keep one of them",
                )
            overrides[key] = given
    if config and plain:
        raise UsageError(f"two recipes are named: {plain[0]} and --config {config}", fix="name one of them")
    asked = Asked(
        config,
        section,
        overrides,
        gpus,
        profile,
        simulate,
        fresh,
        fit=fit,
        force=force,
        max_gpu_temp=max_gpu_temp,
        processes=processes,
        nodes=Nodes(nodes, node_rank, master),
        accelerate_config=accelerate_config,
        rehearse=rehearse,
    )
    return plain, asked


# The flags of the commands that take `--KEY VALUE`; a word that is nearer to one of these than to any key is
# a mistyped flag.
FLAGS = ["config", "section", "gpus", "profile", "simulate", "fresh", "fit", "force", "max_gpu_temp"]
FLAGS += ["processes", "nodes", "node_rank", "master", "accelerate_config", "rehearse", "no_rehearse"]
FLAGS += ["dry_run", "all_values", "json", "quiet", "debug", "help"]
OF_A_JOB = ("partition", "time", "account")


def _refuse_mistyped_flags(overrides: dict[str, Any], renamed: dict[str, str]) -> None:
    from difflib import SequenceMatcher

    from openr1.config.names import all_keys, nearest
    from openr1.config.overrides import COUNTS, SWITCHES
    from openr1.errors import UsageError

    known = all_keys() | set(renamed) | set(COUNTS) | set(SWITCHES)
    for word in overrides:
        if word in OF_A_JOB and word not in known:
            raise UsageError(
                f"`--{word}` is an option of a Slurm job", where="the command line", fix="add --slurm"
            )
        flag = nearest(word, FLAGS) if "." not in word and word not in known else None
        if flag is None:
            continue
        key = nearest(word, known)
        alike = [SequenceMatcher(None, word, other).ratio() for other in (flag, key or "")]
        if alike[0] >= alike[1]:
            flag, typed = (name.replace("_", "-") for name in (flag, word))
            if flag == typed:
                raise UsageError(
                    f"this command has no `--{flag}`", where="the command line", fix="leave it out"
                )
            raise UsageError(
                f"unknown option `--{typed}`", where="the command line", fix=f"did you mean `--{flag}`?"
            )


def take(asked: Asked, key: str) -> tuple[Any, Asked]:
    """A command's own `--key [value]` (None when it was not given), and the request without it."""
    from dataclasses import replace

    overrides = dict(asked.overrides)
    found = overrides.pop(key, None)
    return (None if found is None else found[0]), replace(asked, overrides=overrides)


def newest_run(*, samples: bool = False, json: bool = False, quiet: bool = False) -> str:
    """The folder of the newest run, said aloud, for a command that was given none.

    Args:
        samples: the newest that holds samples.

    Raises:
        UsageError: there is none.
    """
    from openr1.cli.printer import Printer
    from openr1.runs.listing import newest

    found = newest(samples=samples)
    Printer(json=json, quiet=quiet).note(f"no run named: taking the newest, {found.path}")
    return str(found.path)


def with_recipe(plain: list[str], asked: Asked) -> Asked:
    """The request with its one plain word as the recipe.

    Raises:
        UsageError: several plain words.
    """
    from dataclasses import replace

    from openr1.errors import UsageError

    if "" in plain:
        raise UsageError("the recipe's name is empty", fix="is a variable unset?")
    if len(plain) > 1:
        raise UsageError(
            f"one recipe at a time, not {len(plain)}: {' '.join(plain)}",
            fix="overrides are written --key value",
        )
    return replace(asked, recipe=plain[0]) if plain else asked
