"""The evaluation sets that training data must not hold: on the hub, or in local files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.config.names import nearest
from openr1.data import tiny_task
from openr1.data.columns import PROMPT_NAMES, find_column
from openr1.data.sources import FORMATS, rows_of
from openr1.errors import EnvironmentProblem, RecipeError, UsageError

MORE_NAMES = (*PROMPT_NAMES, "Question", "question_content", "Problem")
BUILTIN_PROBLEMS = 500


@dataclass(frozen=True)
class EvaluationSet:
    """Where an evaluation set's problems are.

    Args:
        files: data files, where the repository has a loading script that `datasets` no longer runs.
        gated: its owners want their terms accepted first.
    """

    hub: str
    config: str | None
    split: str
    column: str
    files: tuple[str, ...] = ()
    gated: bool = False


SETS = {
    "aime_2024": EvaluationSet("HuggingFaceH4/aime_2024", None, "train", "problem"),
    "aime_2025": EvaluationSet("yentinglin/aime_2025", None, "train", "problem"),
    "math_500": EvaluationSet("HuggingFaceH4/MATH-500", None, "test", "problem"),
    "gpqa_diamond": EvaluationSet("Idavidrein/gpqa", "gpqa_diamond", "train", "Question", gated=True),
    "livecodebench": EvaluationSet(
        "livecodebench/code_generation_lite",
        None,
        "test",
        "question_content",
        ("test4.jsonl", "test5.jsonl"),  # its v4_v5
    ),
    "gsm8k": EvaluationSet("openai/gsm8k", "main", "test", "question"),
}
UPSTREAM = ("aime_2024", "aime_2025", "math_500", "gpqa_diamond", "livecodebench")
"""What open-r1's script compares with; taken when decontamination is asked for and no set is named."""


def parse_against(entry: str) -> tuple[str, str | None]:
    """`math_500`, `FILE`, `NAME=FILE` or `builtin:NAME` as (name, file or None). Needs nothing heavy.

    Raises:
        UsageError: neither a known set nor a file; names the nearest set.
        RecipeError: the file is not there.
    """
    name, equals, file = entry.partition("=")
    if tiny_task.is_builtin(entry):
        tiny_task.parse_task(entry)
        return entry, None
    if not equals and entry in SETS:
        return entry, None
    file = file if equals else entry
    if not equals and Path(file).suffix not in FORMATS:
        near = nearest(entry, SETS)
        raise UsageError(
            f"unknown evaluation set `{entry}`",
            fix=f"did you mean {near}?" if near else f"sets: {', '.join(SETS)}, a file, or NAME=FILE",
        )
    if not Path(file).is_file():
        raise RecipeError(f"no such dataset file: {file}", fix="check the path")
    return (name if equals else Path(file).stem), file


def load_sets(against: list[str]) -> dict[str, list[str]]:
    """The problems of each set, by name.

    Raises:
        EnvironmentProblem: a set that is not on this machine, and the hub cannot be reached.
        RecipeError: a file without problems.
    """
    return {name: _problems(name, file) for name, file in map(parse_against, against)}


def _problems(name: str, file: str | None) -> list[str]:
    if file is None and tiny_task.is_builtin(name):
        made = tiny_task.eval_rows(tiny_task.parse_task(name), 0, BUILTIN_PROBLEMS)
        return [row["problem"] for row in made]
    if file is not None:
        raw, column = rows_of(file, None, "train"), None
    else:
        known = SETS[name]
        column = known.column
        try:
            raw = (
                _from_files(known)
                if known.files
                else rows_of(known.hub, known.config, known.split, gated=known.gated)
            )
        except EnvironmentProblem as error:
            first = error.fix if known.gated else "connect, give a local file"
            error.fix = f"{first} (--against {name}=FILE), or leave {name} out of `against`"
            raise
    if column is None or column not in raw.column_names:
        try:
            column = find_column(raw.column_names, MORE_NAMES, None, "problem", "the file's column")
        except RecipeError as error:
            error.where = file or name
            error.fix = f"it has: {', '.join(raw.column_names)}; rename one of them"
            raise
    return [str(text) for text in raw[column] if text]


def _from_files(known: EvaluationSet) -> Any:
    from datasets import load_dataset

    files = [f"hf://datasets/{known.hub}/{file}" for file in known.files]
    try:
        return load_dataset("json", data_files=files, split="train")
    except Exception as error:  # the hub's and the library's; what they have in common is that it is not here
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EnvironmentProblem(
            f"the dataset {known.hub} cannot be loaded: {first}", where=known.hub
        ) from error
