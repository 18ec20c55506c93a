"""Which column is the prompt, which the gold answer. Pure functions over column names and rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from openr1.errors import RecipeError

PROMPT_NAMES = ("prompt", "problem", "question", "instruction")
SOLUTION_NAMES = ("solution", "answer", "ground_truth", "final_answer")

Row = dict[str, Any]


def find_column(columns: Sequence[str], names: Sequence[str], asked: str | None, what: str, key: str) -> str:
    """The column that holds `what`: the asked one, else the first known name that is there.

    Raises:
        RecipeError: when it is not there; names the columns that are.
    """
    have = ", ".join(columns)
    if asked:
        if asked in columns:
            return asked
        raise RecipeError(
            f"the dataset has no column `{asked}`", fix=f"it has: {have}; set {key} to one of them"
        )
    for name in names:
        if name in columns:
            return name
    raise RecipeError(
        f"the dataset has no column for the {what} (looked for {', '.join(names)})",
        fix=f"it has: {have}; set {key} to one of them",
    )


def as_messages(value: Any, system: str | None) -> list[dict[str, str]]:
    """A prompt as a message list: text becomes a user turn; a system message goes first if there is none.

    Raises:
        RecipeError: it is neither text nor messages.
    """
    value = _number_as_text(value)
    is_list = isinstance(value, (list, tuple)) and all(isinstance(m, dict) and "role" in m for m in value)
    if not (isinstance(value, str) or (is_list and value)):
        shown = "nothing" if value in (None, [], ()) else repr(value)[:60]
        raise RecipeError(
            f"a prompt must be text, or messages with role and content; here is {shown}",
            fix="mend or remove the row, or name another column",
        )
    messages = [{"role": "user", "content": value}] if isinstance(value, str) else list(value)
    if system and not (messages and messages[0]["role"] == "system"):
        messages.insert(0, {"role": "system", "content": system})
    return messages


def _number_as_text(value: Any) -> Any:
    """`"answer": 2`, or a CSV column of nothing but numbers, is meant as text."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def gold_text(value: Any) -> str | None:
    """The gold answer as text. GSM8K's form, a worked solution that ends in `#### N`, becomes N."""
    if value is None:
        return None
    text = str(value)
    return text.rsplit("####", 1)[1].strip().replace(",", "") if "####" in text else text


def sft_mapper(
    columns: Sequence[str], system: str | None, prompt_column: str | None
) -> tuple[Callable[[Row], Row], str]:
    """How a row of these columns becomes a training conversation.

    Returns:
        A function row -> {"messages": …} or {"prompt": …, "completion": …} or {"text": …}, and the mapping
        in words.

    Raises:
        RecipeError: when the columns are none that supervised fine-tuning knows.
    """
    if "messages" in columns and not prompt_column:
        return lambda row: {"messages": as_messages(row["messages"], system)}, "messages → messages"
    if "completion" in columns:
        source = find_column(columns, PROMPT_NAMES, prompt_column, "prompt", "dataset_prompt_column")

        def pair(row: Row) -> Row:
            answer = _number_as_text(row["completion"])
            if isinstance(answer, str):
                answer = [{"role": "assistant", "content": answer}]
            elif not answer:
                raise RecipeError("the completion is missing", fix="mend or remove the row")
            return {"prompt": as_messages(row[source], system), "completion": answer}

        return pair, f"{source} → prompt, completion → completion (only the completion is learnt)"
    if "text" in columns:
        return lambda row: {"text": row["text"]}, "text → text (no chat template)"
    raise RecipeError(
        "the dataset has no columns to fine-tune on (messages, or prompt and completion, or text)",
        fix=f"it has: {', '.join(columns)}; dataset_prompt_column names the prompt beside `completion`",
    )


def grpo_mapper(
    columns: Sequence[str], system: str | None, prompt_column: str | None, solution_column: str | None
) -> tuple[Callable[[Row], Row], str]:
    """How a row becomes a GRPO row: {"prompt": messages, "solution": gold}; other columns stay for rewards.

    Raises:
        RecipeError: when there is no prompt or no gold column.
    """
    prompt = find_column(columns, PROMPT_NAMES, prompt_column, "prompt", "dataset_prompt_column")
    gold = find_column(columns, SOLUTION_NAMES, solution_column, "gold answer", "dataset_solution_column")

    def row_of(row: Row) -> Row:
        return {"prompt": as_messages(row[prompt], system), "solution": gold_text(row[gold])}

    return row_of, f"{prompt} → prompt, {gold} → solution"
