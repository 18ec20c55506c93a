"""`openr1 bench`"""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from openr1.cli.common import Debug, Json, guarded

EXAMPLES = """Examples:

\b
  openr1 bench                                   all published numbers, model by model
  openr1 bench --benchmarks math_500,aime24      some columns
  openr1 bench --models Qwen-7B,Llama            some rows, by a part of the name
  openr1 bench --json

Numbers of your own stand beside them in a later version; `openr1 eval` takes them today.
"""
Names = Optional[str]  # noqa: UP045


@guarded
def command(
    models: Annotated[
        Names, typer.Option("--models", metavar="A,B", help="Models, by parts of their names.")
    ] = None,
    benchmarks: Annotated[
        Names, typer.Option("--benchmarks", metavar="A,B", help="Benchmarks to show.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """The published tables of DeepSeek-R1 and open-r1, with sources."""
    from openr1.cli.bench_view import show
    from openr1.services.bench import bench

    show(bench(models=models, benchmarks=benchmarks), json=json)
