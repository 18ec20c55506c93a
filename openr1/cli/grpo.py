"""`openr1 grpo`"""

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
  openr1 grpo tiny-cpu                           the grpo section, from the recipe's sft result
  openr1 grpo my.yaml --num_generations 16       override any key of the recipe
  openr1 grpo my.yaml --dry-run --json           the resolved plan, for a program
  openr1 grpo my.yaml --show-samples 3           prompts as the model sees them, with golds
  openr1 grpo my.yaml --check-rewards 50         golds, columns, template, rewards; no training
  openr1 grpo my.yaml --slurm --dry-run          the job's script; --slurm --help: its options
  openr1 grpo --model_name_or_path MODEL --dataset_name problems.jsonl

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
    """Reinforcement learning with verifiable rewards (GRPO)."""
    from openr1.cli.stage_view import run_stage
    from openr1.services import grpo

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
    shown, asked = take(asked, "show_samples")
    if shown is not None:
        from openr1.cli import rows_view

        rows_view.run("grpo", with_recipe(plain, asked), shown, json=json, quiet=quiet)
        return
    rows, asked = take(asked, "check_rewards")
    if rows is not None:
        from openr1.cli import rewards_view
        from openr1.cli.printer import Printer
        from openr1.services.check_rewards import DEFAULT_ROWS

        no_sample, asked = take(asked, "no_sample")
        count = DEFAULT_ROWS if rows is True else int(rows)
        printer = Printer(json=json, quiet=quiet)
        rewards_view.run(printer, with_recipe(plain, asked), rows=count, sample=no_sample is None)
        return
    asked = with_recipe(plain, asked)
    run_stage(grpo, asked, dry_run=dry_run, all_values=all_values, json=json, quiet=quiet)
