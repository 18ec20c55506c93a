"""`openr1 sft`"""

from openr1.cli.common import (
    SHORT,
    AccelerateConfig,
    AllValues,
    Config,
    Debug,
    DryRun,
    Fit,
    Force,
    Fresh,
    Gpus,
    Json,
    Master,
    MaxGpuTemp,
    NodeRank,
    NodesOption,
    Processes,
    Profile,
    Quiet,
    Rehearse,
    SectionName,
    Simulate,
    Words,
    asked_from,
    guarded,
    take,
    with_recipe,
)

EXAMPLES = """Examples:

\b
  openr1 sft tiny-cpu                            the sft section of a shipped recipe
  openr1 sft my.yaml --learning_rate 1e-5        override any key of the recipe
  openr1 sft my.yaml --dry-run                   what would be done, nothing written
  openr1 sft my.yaml --show-samples 3            rows as the model sees them, masked tokens marked
  openr1 sft my.yaml --slurm --dry-run           the job's script; --slurm --help: its options
  openr1 sft --model_name_or_path MODEL --dataset_name rows.jsonl

The same command continues a run that was stopped. Keys are TRL's and transformers' own names.
"""


@guarded
def command(
    words: Words = None,
    config: Config = None,
    section: SectionName = None,
    gpus: Gpus = None,
    processes: Processes = None,
    nodes: NodesOption = 1,
    node_rank: NodeRank = 0,
    master: Master = None,
    accelerate_config: AccelerateConfig = None,
    rehearse: Rehearse = None,
    profile: Profile = None,
    simulate: Simulate = None,
    fresh: Fresh = False,
    fit: Fit = False,
    force: Force = False,
    max_gpu_temp: MaxGpuTemp = None,
    dry_run: DryRun = False,
    all_values: AllValues = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Supervised fine-tuning on worked conversations."""
    from openr1.cli.stage_view import run_stage
    from openr1.services import sft

    plain, asked = asked_from(
        words,
        config=config,
        section=section,
        gpus=gpus,
        profile=profile,
        simulate=simulate,
        fresh=fresh,
        fit=fit,
        force=force,
        max_gpu_temp=max_gpu_temp,
        processes=processes,
        nodes=nodes,
        node_rank=node_rank,
        master=master,
        accelerate_config=accelerate_config,
        rehearse=rehearse,
        renamed=SHORT,
    )
    count, asked = take(asked, "show_samples")
    if count is not None:
        from openr1.cli import rows_view

        rows_view.run("sft", with_recipe(plain, asked), count, json=json, quiet=quiet)
        return
    asked = with_recipe(plain, asked)
    run_stage(sft, asked, dry_run=dry_run, all_values=all_values, json=json, quiet=quiet)
