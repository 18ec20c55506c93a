"""`openr1 eval`"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from openr1.cli.common import (
    AllValues,
    Config,
    Debug,
    DryRun,
    Fresh,
    Json,
    Profile,
    Quiet,
    SectionName,
    Simulate,
    asked_from,
    guarded,
    take,
)

if TYPE_CHECKING:
    pass

EXAMPLES = """Examples:

\b
  openr1 eval math_500 --model my-model --protocol r1-paper
  openr1 eval aime24 gpqa --dataset folder-with-the-files --gpus 8
  openr1 eval math_500 --server http://host:8000 --server http://other:8000
  openr1 eval gsm8k --dataset gsm8k.jsonl --model runs/my-run --num_samples 4
  openr1 eval 'lighteval:ifeval' --model my-model      a task of lighteval's
  openr1 eval tiny-cpu                                 the eval section of a recipe
  openr1 eval --rescore runs/eval-1234abcd             grade again, generate nothing

Tasks: math_500, aime24, aime25, gpqa:diamond, gsm8k, builtin:chain-sum, lighteval:TASK.
Protocols: quick, open-r1, r1-paper, open-r1-2025-02. The same command continues; finished samples are kept.
"""

Tasks = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(
        metavar="TASK --KEY VALUE",
        help="Names of tasks, or one recipe; any key of an eval section can be set.",
        show_default=False,
    ),
]
Gpus = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--gpus", metavar="N", min=1, help="GPUs that sample (default: all)."),
]


@guarded
def command(
    words: Tasks = None,
    config: Config = None,
    section: SectionName = None,
    gpus: Gpus = None,
    profile: Profile = None,
    simulate: Simulate = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
    all_values: AllValues = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Accuracy on problems with verifiable answers, with error bars."""
    from openr1.cli.scores_view import show_rescored
    from openr1.cli.servers import take_servers, with_servers
    from openr1.cli.stage_view import run_prepared
    from openr1.errors import UsageError
    from openr1.services import evaluate
    from openr1.services.seed_words import take_gpus, translate

    servers, rest = take_servers(words or [])
    rest, said = translate(rest)
    rest, theirs = take_gpus(rest)
    gpus = gpus or theirs
    plain, asked = asked_from(
        rest,
        config=config,
        section=section,
        gpus=gpus,
        profile=profile,
        simulate=simulate,
        fresh=fresh,
        renamed={"model": "model_name_or_path"},
    )
    if servers:
        asked = with_servers(asked, servers)
    again, asked = take(asked, "rescore")
    if again is not None:
        if plain or asked.overrides:
            raise UsageError(
                "--rescore takes a run and nothing else",
                where="the command line",
                fix="openr1 eval --rescore RUN",
            )
        show_rescored(str(again), json=json, quiet=quiet)
        return
    shows = dry_run or all_values
    prepared = evaluate.prepare(plain, replace(asked, dry_run=shows), said)
    run_prepared(prepared, dry_run=shows, all_values=all_values, json=json, quiet=quiet)
