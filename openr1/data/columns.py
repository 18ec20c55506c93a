"""Which column is the prompt, which the gold answer. Pure functions over column names and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openr1.data.literals import structure_in
from openr1.data.messages import as_conversation, is_conversation, with_system
from openr1.errors import RecipeError

PROMPT_NAMES = ("prompt", "problem", "question", "instruction", "problem_statement")
SOLUTION_NAMES = (
    "solution",
    "answer",
    "ground_truth",
    "expected_answer",
    "final_answer",
    "reward_model.ground_truth",
    "verification_info.ground_truth",
)
SYSTEM_NAMES = ("system", "system_prompt")

Row = dict[str, Any]


def find_column(columns: Sequence[str], names: Sequence[str], asked: str | None, what: str, key: str) -> str:
    """The column that holds `what`: the asked one, else the first known name that is there.

    Raises:
        RecipeError: when it is not there; names the columns that are.
    """
    have = ", ".join(columns)
    if asked:
        if asked in columns or asked.partition(".")[0] in columns:
            return asked
        raise RecipeError(
            f"the dataset has no column `{asked}`", fix=f"it has: {have}; set {key} to one of them"
        )
    for name in names:
        if name in columns:
            return name
    raise RecipeError(
        f"the dataset has no column for the {what} (looked for {', '.join(dict.fromkeys(names))})",
        fix=f"it has: {have}; set {key} to one of them",
    )


def value_at(row: Mapping[str, Any], name: str) -> Any:
    """A column, or a field inside one: `reward_model.ground_truth`; None where it is not there.

    What holds the field may be text that spells it (`{"ground_truth": "2"}`).
    """
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        value = structure_in(value) if isinstance(value, str) else value
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def as_messages(value: Any, system: str | None) -> list[dict[str, str]]:
    """A prompt as a message list: text becomes a user turn; a system message goes first if there is none.

    Raises:
        RecipeError: it is neither text nor messages.
    """
    value = spelt_out(number_as_text(value))
    if isinstance(value, str):
        return with_system([{"role": "user", "content": value}], system)
    if not is_conversation(value):
        shown = "nothing" if value in (None, [], ()) else repr(value)[:60]
        raise RecipeError(
            f"a prompt must be text, or messages with role and content; here is {shown}",
            fix="mend or remove the row, or name another column",
        )
    return with_system(as_conversation(value), system)


def spelt_out(value: Any) -> Any:
    """The conversation that a text spells, as in a CSV; every other value as it is."""
    if not isinstance(value, str) or not ("role" in value or "from" in value):
        return value
    found = structure_in(value)
    return found if is_conversation(found) else value


def number_as_text(value: Any) -> Any:
    """`"answer": 2`, or a CSV column of nothing but numbers, is meant as text."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def gold_text(value: Any) -> str | None:
    """The gold answer as text. GSM8K's form, a worked solution that ends in `#### N`, becomes N."""
    if value is None:
        return None
    text = str(value)
    return text.rsplit("####", 1)[1].strip().replace(",", "") if "####" in text else text
