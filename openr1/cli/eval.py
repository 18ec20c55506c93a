"""`openr1 eval`"""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from openr1.cli.common import (
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
)

EXAMPLES = """Examples:

\b
  openr1 eval math_500 --dataset math_500.jsonl --model my-model --limit 100
  openr1 eval gsm8k --model runs/my-run --num_samples 4 --temperature 0.6
  openr1 eval builtin:chain-sum --model runs/tiny-cpu-grpo-1234abcd
  openr1 eval tiny-cpu                           the eval section of a recipe

Tasks: math_500, gsm8k, builtin:chain-sum. The same command continues; finished samples are kept.
"""

Tasks = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(
        metavar="TASK --KEY VALUE",
        help="Names of tasks, or one recipe; any key of an eval section can be set.",
        show_default=False,
    ),
]


@guarded
def command(
    words: Tasks = None,
    config: Config = None,
    section: SectionName = None,
    profile: Profile = None,
    simulate: Simulate = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Accuracy on problems with verifiable answers, with error bars."""
    from openr1.cli.stage_view import run_prepared
    from openr1.services import evaluate

    plain, asked = asked_from(
        words,
        config=config,
        section=section,
        profile=profile,
        simulate=simulate,
        fresh=fresh,
        renamed={"model": "model_name_or_path"},
    )
    prepared = evaluate.prepare(plain, asked)
    run_prepared(prepared, dry_run=dry_run, json=json, quiet=quiet)
