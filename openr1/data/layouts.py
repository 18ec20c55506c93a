"""How a row of any dataset becomes a row to train on. Pure functions over column names and rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openr1.data.columns import (
    PROMPT_NAMES,
    SOLUTION_NAMES,
    SYSTEM_NAMES,
    Row,
    as_messages,
    find_column,
    gold_text,
    number_as_text,
    spelt_out,
    value_at,
)
from openr1.data.dialects import REASONING_NAMES, Style, system_to_style, to_style
from openr1.data.messages import Message, as_conversation, is_conversation, with_system
from openr1.errors import RecipeError

CONVERSATION_NAMES = ("messages", "conversations", "conversation")
COMPLETION_NAMES = (
    "completion",
    "response",
    "output",
    "generation",
    "generations",
    "deepseek_solution",
    "llm_response",
    "solution",
    "answer",
)
REASONING = "_reasoning"
"""Column that every mapped row gets: what `dialects.to_style` found in it. Counted, then removed."""
KEPT = ("tools",)
"""Columns that TRL reads beside the conversation."""


@dataclass(frozen=True)
class Wanted:
    """What a section says about its columns; None: found by name."""

    system_prompt: str | None = None
    prompt_column: str | None = None
    completion_column: str | None = None
    messages_column: str | None = None
    solution_column: str | None = None
    style: Style = "think"
    text_column: str = "text"  # TRL's dataset_text_field


@dataclass(frozen=True)
class Layout:
    """A dataset's layout: what a row becomes, the mapping in words, and the columns it reads."""

    row_of: Callable[[Row], Row]
    words: str
    sources: tuple[str, ...]


def grpo_layout(columns: Sequence[str], wanted: Wanted, needs_gold: bool = True) -> Layout:
    """How a row becomes a GRPO row: {"prompt": messages, "solution": gold}; other columns stay for rewards.

    Args:
        columns: the dataset's, with the fields of structs as `struct.field`.
        needs_gold: whether a reward reads the gold answer; without it a dataset may lack one.

    Raises:
        RecipeError: when there is no prompt or no gold column.
    """
    talk = None if any(c in columns for c in PROMPT_NAMES) else _conversation_column(columns, Wanted())
    asked = wanted.prompt_column or talk
    prompt = find_column(columns, PROMPT_NAMES, asked, "prompt", "dataset_prompt_column")
    whole = prompt in CONVERSATION_NAMES  # the answer at its end is what the model is to find itself
    gold: str | None = None
    if needs_gold or wanted.solution_column or set(columns) & set(SOLUTION_NAMES):
        key = "dataset_solution_column"
        gold = find_column(columns, SOLUTION_NAMES, wanted.solution_column, "gold answer", key)
    system = next((c for c in SYSTEM_NAMES if c in columns), None)

    def row_of(row: Row) -> Row:
        own = row[system] if system else None
        asked = as_messages(value_at(row, prompt), own or wanted.system_prompt)
        made: Row = {"prompt": _without_answer(asked) if whole else asked}
        if gold:
            found = value_at(row, gold)
            made["solution"] = gold_text(_one_gold(found) if needs_gold else found)
        return made

    words = f"{prompt} without its last answer → prompt" if whole else f"{prompt} → prompt"
    words += f", {gold} → solution" if gold else ", no gold answer"
    words += f", {system} → system message" if system else ""
    sources = tuple(c.partition(".")[0] for c in (prompt, gold, system) if c)
    return Layout(row_of, words, sources)


def _without_answer(messages: list[Message]) -> list[Message]:
    """A conversation up to its last question."""
    while messages and messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    if not any(m["role"] == "user" for m in messages):
        raise RecipeError("the conversation asks nothing", fix="mend or remove the row")
    return messages


def _one_gold(value: Any) -> Any:
    """A gold answer that can be graded; of a list its only item."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return value[0]
    if isinstance(value, (list, tuple, dict)):
        raise RecipeError(
            f"a gold answer must be one text or number; here is {repr(value)[:60]}",
            fix="mend the row, or set dataset_solution_column (a field inside a column is COLUMN.FIELD)",
        )
    return value


def sft_layout(columns: Sequence[str], wanted: Wanted) -> Layout:
    """How a row of these columns becomes a training conversation.

    A conversation wins over a pair, a pair over plain text; named columns win over all.

    Raises:
        RecipeError: when the columns are none that supervised fine-tuning knows.
    """
    if wanted.text_column != "text":
        find_column(columns, (), wanted.text_column, "text", "dataset_text_field")
        return _text(columns, wanted.text_column)
    pair_asked = wanted.prompt_column or wanted.completion_column
    talk = _conversation_column(columns, wanted)
    if talk and not pair_asked:
        return _conversation(columns, talk, wanted)
    if pair_asked or _pair(columns):
        return _pairs(columns, wanted)
    if "text" in columns:
        return _text(columns, "text")
    raise RecipeError(
        "the dataset has no columns to fine-tune on (messages, or prompt and completion, or conversations, "
        "or text)",
        fix=f"it has: {', '.join(columns)}; name them: dataset_messages_column, or "
        "dataset_prompt_column and dataset_completion_column",
    )


def _conversation_column(columns: Sequence[str], wanted: Wanted) -> str | None:
    if wanted.messages_column:
        key = "dataset_messages_column"
        return find_column(columns, CONVERSATION_NAMES, wanted.messages_column, "conversation", key)
    return next((c for c in CONVERSATION_NAMES if c in columns), None)


def _pair(columns: Sequence[str]) -> bool:
    return any(c in columns for c in PROMPT_NAMES) and any(c in columns for c in COMPLETION_NAMES)


def _unused(columns: Sequence[str], used: Sequence[str | None]) -> str:
    left = [c for c in columns if c not in used and c not in KEPT]
    return f"; not used: {', '.join(left)}" if left else ""


def _kept(row: Row) -> Row:
    return {key: row[key] for key in KEPT if key in row}


def _conversation(columns: Sequence[str], source: str, wanted: Wanted) -> Layout:
    system = next((c for c in SYSTEM_NAMES if c in columns), None)

    def row_of(row: Row) -> Row:
        own = row[system] if system else None
        messages = with_system(as_conversation(spelt_out(row[source])), own, wanted.system_prompt)
        if not any(m["role"] == "assistant" for m in messages):
            raise RecipeError("the conversation has no turn of the assistant", fix="mend or remove the row")
        styled, found = _styled(messages, wanted.style)
        return {"messages": styled, REASONING: found, **_kept(row)}

    merged = f", {system} → system message" if system else ""
    unused = _unused(columns, [source, system])
    return Layout(row_of, f"{source} → messages{merged}{unused}", (source,))


def _pairs(columns: Sequence[str], wanted: Wanted) -> Layout:
    prompt = find_column(columns, PROMPT_NAMES, wanted.prompt_column, "prompt", "dataset_prompt_column")
    others = [c for c in columns if c != prompt]
    completion = find_column(
        others, COMPLETION_NAMES, wanted.completion_column, "completion", "dataset_completion_column"
    )
    system = next((c for c in SYSTEM_NAMES if c in columns), None)
    reasoning = next((c for c in REASONING_NAMES if c in columns and c != completion), None)
    if wanted.style == "keep":
        reasoning = None
    context = "input" if prompt == "instruction" and "input" in columns else None  # Alpaca's

    def row_of(row: Row) -> Row:
        asked = number_as_text(value_at(row, prompt))
        if context and isinstance(asked, str) and row[context]:
            asked = f"{asked}\n\n{row[context]}"
        turns = as_messages(asked, (row[system] if system else None) or wanted.system_prompt)
        answer = _answer(row, completion)
        if reasoning and row[reasoning]:
            answer[0] = {**answer[0], "reasoning": str(row[reasoning])}
        both, found = _styled([*turns, *answer], wanted.style)
        cut = len(turns)
        return {"prompt": both[:cut], "completion": both[cut:], REASONING: found, **_kept(row)}

    words = f"{prompt}{f' + {context}' if context else ''} → prompt, "
    words += f"{reasoning} + {completion} → completion" if reasoning else f"{completion} → completion"
    words += f", {system} → system message" if system else ""
    unused = _unused(columns, [prompt.partition(".")[0], completion, system, reasoning, context])
    return Layout(row_of, f"{words} (only the completion is learnt){unused}", (prompt, completion))


def _answer(row: Row, column: str) -> list[Message]:
    """The completion as messages; of several generations the first right one, else the first whole one."""
    value = spelt_out(number_as_text(value_at(row, column)))
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, str) for v in value):
        value = value[_best(row, len(value))]
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    if is_conversation(value):
        return as_conversation(value)
    raise RecipeError("the completion is missing", fix="mend or remove the row")


def _best(row: Row, count: int) -> int:
    """Which of `count` generations is learnt."""
    for column in ("correctness_math_verify", "is_reasoning_complete"):
        marks: Any = row.get(column)
        if isinstance(marks, (list, tuple)) and len(marks) == count and any(marks):
            return next(i for i, mark in enumerate(marks) if mark)
    return 0


def _text(columns: Sequence[str], source: str) -> Layout:
    def row_of(row: Row) -> Row:
        text = number_as_text(row[source])
        if not isinstance(text, str) or not text:
            raise RecipeError("the text is missing", fix="mend or remove the row")
        return {source: text, REASONING: ""}

    return Layout(row_of, f"{source} → text (no chat template){_unused(columns, [source])}", (source,))


def _styled(messages: list[Message], style: Style) -> tuple[list[Message], str]:
    """The conversation with its reasoning in the wanted style; and the first kind that was found."""
    done: list[Message] = []
    kind = ""
    for message in messages:
        reasoning = message.pop("reasoning", None)
        if message["role"] == "assistant":
            content, found = to_style(message["content"], style, reasoning)
            kind = kind or found
            message = {**message, "content": content}
        elif message["role"] == "system":
            message = {**message, "content": system_to_style(message["content"], style)}
        done.append(message)
    return done, kind
