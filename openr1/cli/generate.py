"""`openr1 generate`"""

from dataclasses import replace
from typing import Annotated, Optional

import typer

from openr1.cli.common import (
    AllValues,
    Config,
    Debug,
    DryRun,
    Fresh,
    Json,
    Master,
    NodeRank,
    NodesOption,
    Profile,
    Quiet,
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
  openr1 generate --model runs/RUN --prompt "What is 12+30?"      one question, answered at once
  openr1 generate --model my-model --dataset rows.jsonl --num-generations 4 --max-new-tokens 2048
  openr1 generate --model my-model --dataset rows.jsonl --prompt-template my.jinja --limit 10
  openr1 generate --from runs/RUN --only verify,filter,export --choose shortest
  openr1 generate --from runs/RUN --only decontaminate,export --against math_500,aime_2024
  openr1 generate --model my-model --dataset rows.jsonl --backend server   a vLLM for the run
  openr1 generate --model deepseek-ai/DeepSeek-R1 --simulate 8xH100 --nodes 2 --dry-run
  openr1 generate --model deepseek-ai/DeepSeek-R1 --slurm --nodes 2 --partition gpu
  openr1 generate --server http://host:8000 --server http://other:8000 --dataset problems.jsonl
  openr1 generate my.yaml                        the generate section of a recipe
  openr1 sft RECIPE --dataset runs/RUN/dataset   train on what was exported

After sampling: verify, filter, decontaminate (with --against), export to RUN/dataset. The same command
continues; finished samples are kept.
"""

SHORT = {
    "model": "model_name_or_path",
    "dataset": "dataset_name",
    "split": "dataset_split",
    "config_name": "dataset_config",
    "from": "from_run",
    "prompt": "prompt",  # no key: one question, below
}


Gpus = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--gpus", metavar="N", min=1, help="GPUs of each node that sample (default: all)."),
]


@guarded
def command(
    words: Words = None,
    config: Config = None,
    section: SectionName = None,
    gpus: Gpus = None,
    nodes: NodesOption = 1,
    node_rank: NodeRank = 0,
    master: Master = None,
    profile: Profile = None,
    simulate: Simulate = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
    all_values: AllValues = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Sample completions for a dataset, verify, filter, export."""
    from openr1.cli.servers import take_servers, with_servers
    from openr1.cli.stage_view import run_stage
    from openr1.services import generate

    names = generate.UPSTREAM_NAMES
    servers, rest = take_servers(words or [], [old for old, new in names.items() if new == "server"])
    plain, asked = asked_from(
        rest,
        config=config,
        section=section,
        gpus=gpus,
        nodes=nodes,
        node_rank=node_rank,
        master=master,
        profile=profile,
        simulate=simulate,
        fresh=fresh,
        renamed={**SHORT, **names, **{key: key for key in (*generate.WITHOUT_MEANING, *generate.INSTEAD)}},
    )
    if servers:
        asked = with_servers(asked, servers)
    if "prompt" in asked.overrides:
        from openr1.cli.generate_view import ask

        text = asked.overrides["prompt"][1]
        _, asked = take(asked, "prompt")
        ask(with_recipe(plain, replace(asked, dry_run=dry_run or all_values)), text, json=json, quiet=quiet)
        return
    asked = with_recipe(plain, asked)
    run_stage(generate, asked, dry_run=dry_run, all_values=all_values, json=json, quiet=quiet)
