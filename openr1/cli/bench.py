"""`openr1 bench`"""

from typing import Annotated, Any, Optional

import typer

from openr1.cli.common import Debug, Json, Profile, Quiet, Simulate, asked_from, guarded

EXAMPLES = """Examples:

\b
  openr1 bench                                   the published tables, ours beside them
  openr1 bench --benchmarks math_500,aime24      some columns
  openr1 bench --models Qwen-7B,Llama --md       some rows, by a part of the name, as Markdown
  openr1 bench --list --simulate 8xH100          what would be run, and for how long there
  openr1 bench --run --models Qwen-1.5B --benchmarks math_500 --dataset math_500.jsonl
  openr1 bench --run --weights Qwen-1.5B=/models/r1-1.5b --backend vllm
  openr1 bench --run --slurm --dry-run           a Slurm job per missing score: scripts, costs
  openr1 bench --speed --model MODEL             this machine's own figures, for later estimates

Keys of an eval section (--protocol, --dataset, --limit, ...) say how the missing ones are run; the protocol
is r1-paper when none is named. The same command continues.
"""
Text = Optional[str]  # noqa: UP045
Words = Optional[list[str]]  # noqa: UP045
Number = Optional[int]  # noqa: UP045


@guarded
def command(
    words: Annotated[
        Words, typer.Argument(metavar="--KEY VALUE", help="Keys of an eval section.", show_default=False)
    ] = None,
    models: Annotated[
        Text, typer.Option("--models", metavar="A,B", help="Models, by parts of their names.")
    ] = None,
    benchmarks: Annotated[
        Text, typer.Option("--benchmarks", metavar="A,B", help="Benchmarks to show.")
    ] = None,
    from_: Annotated[
        Words, typer.Option("--from", metavar="RUN", help="Take ours from these runs only.")
    ] = None,
    weights: Annotated[
        Words,
        typer.Option("--weights", metavar="NAME=PATH", help="Where a model's weights are; may be repeated."),
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Run what is missing, one after the other.")] = False,
    list_: Annotated[
        bool, typer.Option("--list", "--dry-run", help="List what --run would start; start nothing.")
    ] = False,
    speed: Annotated[bool, typer.Option("--speed", help="Measure this machine's own speed.")] = False,
    model: Annotated[Text, typer.Option("--model", metavar="M", help="With --speed: whose shape.")] = None,
    gpus: Annotated[Number, typer.Option("--gpus", metavar="N", min=1, help="GPUs that sample.")] = None,
    profile: Profile = None,
    simulate: Simulate = None,
    md: Annotated[bool, typer.Option("--md", help="Print Markdown.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The published scores of DeepSeek and open-r1, beside ours."""
    from openr1.cli import bench_view
    from openr1.cli.printer import Printer
    from openr1.errors import UsageError

    plain, asked = asked_from(words, gpus=gpus, profile=profile, simulate=simulate)
    if from_:  # `--from RUN RUN`
        from_, plain = [*from_, *plain], []
    if plain:
        raise UsageError(f"`{plain[0]}` says nothing here", fix="openr1 bench --models A --benchmarks B")
    if model is not None and not speed:
        raise UsageError("--model belongs to --speed", fix="--models A,B chooses rows")
    printer = Printer(json=json, quiet=quiet)
    if speed:
        bench_view.measure(printer, asked, model)
        return
    if run and from_:
        raise UsageError("--from shows runs and --run makes them", fix="give one of them")
    chosen: dict[str, Any] = {"models": models, "benchmarks": benchmarks, "weights": weights or []}
    if run and not list_:
        found = bench_view.run(printer, asked, chosen)
    else:
        from openr1.services.bench import bench

        found = bench(asked, runs=from_ or [], **chosen)
    if list_:
        bench_view.show_jobs(printer, found)
    else:
        bench_view.show(printer, found, md=md)
