r"""The rows to complete and the conversations they become (child processes only)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from openr1.data import tiny_task
from openr1.data.columns import PROMPT_NAMES, Row, as_messages, find_column
from openr1.data.sources import rows_of
from openr1.errors import RecipeError
from openr1.generation.template import BACKSPACE, PromptTemplate

BUILTIN_ROWS = 100


@dataclass(frozen=True)
class Source:
    """A dataset's rows, the column that holds the prompt, and the names of all columns."""

    name: str
    rows: Sequence[Row]
    prompt_column: str
    columns: list[str]


def open_source(values: dict[str, Any]) -> Source:
    """The first `limit` rows of the dataset.

    Raises:
        RecipeError: it is empty, or has no such column; names the columns there are.
        EnvironmentProblem: the hub cannot be reached.
    """
    name, limit = values["dataset_name"], values["limit"]
    if tiny_task.is_builtin(name):
        spec = tiny_task.parse_task(name)
        made = list(tiny_task.grpo_rows(spec, values["seed"], limit or BUILTIN_ROWS))
        return Source(name, made, "prompt", ["prompt", "solution"])
    raw = rows_of(name, values["dataset_config"], values["dataset_split"])
    if len(raw) == 0:
        raise RecipeError("the dataset is empty", where=name)
    columns = list(raw.column_names)
    try:
        column = find_column(columns, PROMPT_NAMES, values["prompt_column"], "prompt", "prompt_column")
    except RecipeError as error:
        error.where = name
        raise
    return Source(name, raw.select(range(min(limit or len(raw), len(raw)))), column, columns)


def conversations(
    source: Source, template: PromptTemplate | None, system_prompt: str | None
) -> Iterator[list[dict[str, str]]]:
    """What the model is given for each row, made row by row.

    Raises:
        RecipeError: a row without a prompt, or on which the template fails; names the row.
    """
    if template:
        template.check(source.columns)
    for number, row in enumerate(source.rows):
        try:
            messages = as_messages(row[source.prompt_column], system_prompt)
            yield _templated(messages, row, template) if template else messages
        except RecipeError as error:
            place = f"{source.name}, row {number + 1}"
            error.where = f"{place}; {error.where}" if error.where else place
            raise


def _templated(messages: list[dict[str, str]], row: Row, template: PromptTemplate) -> list[dict[str, str]]:
    """The conversation with its last user turn put into the template."""
    last = max((i for i, message in enumerate(messages) if message["role"] == "user"), default=None)
    if last is None:
        raise RecipeError("there is no user turn to put into the prompt template")
    turn = {"role": "user", "content": template.render(row, str(messages[last]["content"]))}
    return [*messages[:last], turn, *messages[last + 1 :]]


def has_backspace(messages: Sequence[dict[str, str]]) -> bool:
    r"""A `\boxed` written in a string that is not raw is a backspace, and `oxed`."""
    return any(BACKSPACE in str(message["content"]) for message in messages)
