"""`openr1 generate`"""

from __future__ import annotations

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
    Words,
    asked_from,
    guarded,
    with_recipe,
)

EXAMPLES = """Examples:

\b
  openr1 generate --model runs/my-run --dataset problems.jsonl --num_generations 4
  openr1 generate --model my-model --dataset problems.jsonl --temperature 0.6 --max_new_tokens 2048 --limit 10
  openr1 generate my.yaml                        the generate section of a recipe

Sampling is with transformers, in this process's child, on this machine; servers, verification and export
of training data come with a later version. The same command continues; finished samples are kept.
"""


@guarded
def command(
    words: Words = None,
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
    """Sample completions for a dataset's rows into a JSONL file."""
    from openr1.cli.stage_view import run_stage
    from openr1.services import generate

    renamed = {"model": "model_name_or_path", "dataset": "dataset_name", "split": "dataset_split"}
    plain, asked = asked_from(
        words,
        config=config,
        section=section,
        profile=profile,
        simulate=simulate,
        fresh=fresh,
        renamed=renamed,
    )
    run_stage(generate, with_recipe(plain, asked), dry_run=dry_run, json=json, quiet=quiet)
