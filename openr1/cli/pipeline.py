"""`openr1 pipeline`"""

from openr1.cli.common import (
    SHORT,
    AllValues,
    Config,
    Debug,
    DryRun,
    Fit,
    Force,
    Fresh,
    Gpus,
    Json,
    MaxGpuTemp,
    NoRehearse,
    Profile,
    Quiet,
    Simulate,
    Words,
    asked_from,
    guarded,
    with_recipe,
)

EXAMPLES = """Examples:

\b
  openr1 pipeline tiny-cpu                       SFT, GRPO, and evaluations before and after
  openr1 pipeline tiny-cpu --seed 1              another seed, in a folder of its own
  openr1 pipeline my.yaml --grpo.learning_rate 1e-6
  openr1 pipeline my.yaml --dry-run              all sections, every value with its origin

The same command continues where the last one stopped.
"""


@guarded
def command(
    words: Words = None,
    config: Config = None,
    gpus: Gpus = None,
    profile: Profile = None,
    simulate: Simulate = None,
    fresh: Fresh = False,
    fit: Fit = False,
    force: Force = False,
    max_gpu_temp: MaxGpuTemp = None,
    no_rehearse: NoRehearse = False,
    dry_run: DryRun = False,
    all_values: AllValues = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """All sections of a recipe in order: SFT, GRPO, evaluations."""
    from openr1.cli.pipeline_view import run_pipeline

    plain, asked = asked_from(
        words,
        config=config,
        gpus=gpus,
        profile=profile,
        simulate=simulate,
        fresh=fresh,
        fit=fit,
        force=force,
        max_gpu_temp=max_gpu_temp,
        rehearse=False if no_rehearse else None,
        renamed=SHORT,
    )
    shows = dry_run or all_values
    run_pipeline(
        with_recipe(plain, asked),
        dry_run=shows,
        all_values=all_values,
        json=json,
        quiet=quiet,
    )
