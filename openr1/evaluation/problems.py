"""A task's problems: from the hub, a local file, or made on the spot (child processes only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openr1.data import tiny_task
from openr1.data.columns import PROMPT_NAMES, SOLUTION_NAMES, find_column, gold_text
from openr1.data.load import rows_of
from openr1.errors import RecipeError
from openr1.evaluation.tasks import BUILTIN_PROBLEMS, Task


@dataclass(frozen=True)
class Problem:
    """One problem: its row in the dataset, the user turn that asks it, and the gold answer."""

    row: int
    problem: str
    prompt: str
    gold: str


def problems_of(task: Task, values: dict[str, Any]) -> list[Problem]:
    """The problems of a task, the first `limit` of them.

    Raises:
        RecipeError: the file is empty or lacks the columns.
        EnvironmentProblem: the hub cannot be reached and no local file was given.
    """
    if tiny_task.is_builtin(task.name):
        count = values["limit"] or BUILTIN_PROBLEMS
        made = tiny_task.eval_rows(tiny_task.parse_task(task.name), values["seed"], count)
        return [Problem(i, r["problem"], r["problem"], r["answer"]) for i, r in enumerate(made)]
    name = values["dataset"] or task.hub
    raw = rows_of(str(name), None if values["dataset"] else task.config, task.split)
    if len(raw) == 0:
        raise RecipeError("the dataset is empty", where=str(name))
    asked, gold = task.columns
    question = asked if asked in raw.column_names else _column(raw, PROMPT_NAMES, "problem", name)
    answer = gold if gold in raw.column_names else _column(raw, SOLUTION_NAMES, "gold answer", name)
    rows = raw.select(range(min(values["limit"] or len(raw), len(raw))))
    found = []
    for index, row in enumerate(rows):
        text, gold_answer = row[question], gold_text(row[answer])
        if text is None or gold_answer is None:
            raise RecipeError(f"row {index + 1} lacks its problem or its gold answer", where=str(name))
        found.append(Problem(index, str(text), task.prompt.format(problem=text), gold_answer))
    return found


def _column(raw: Any, names: tuple[str, ...], what: str, name: Any) -> str:
    try:
        return find_column(raw.column_names, names, None, what, "the file's column")
    except RecipeError as error:
        error.where, error.fix = str(name), f"it has: {', '.join(raw.column_names)}; rename one of them"
        raise
