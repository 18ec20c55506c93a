"""Conversations in their several spellings, as lists of `{"role", "content"}`. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openr1.data.dialects import REASONING_NAMES
from openr1.errors import RecipeError

Message = dict[str, Any]

# ShareGPT's names and other people's, and what chat templates call them.
ROLES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
KEPT = ("tool_calls", "tool_call_id", "name")
"""Fields of a message that chat templates read beside role and content."""


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of messages, in one of the two spellings."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(m, Mapping) and ("role" in m or "from" in m) for m in value)
    )


def as_conversation(value: Any) -> list[Message]:
    """Messages of either spelling (role/content, from/value) as role/content.

    A reasoning field of a message stays as `reasoning` beside the content.

    Raises:
        RecipeError: no list of messages, an unknown role, or content that is no text.
    """
    if not is_conversation(value):
        shown = "nothing" if value in (None, [], ()) else repr(value)[:60]
        raise RecipeError(
            "a conversation must be a list of messages with role and content (or from and value); "
            f"here is {shown}",
            fix="mend or remove the row",
        )
    return [_message(m) for m in value]


def _message(given: Mapping[str, Any]) -> Message:
    said = str(given.get("role") or given.get("from") or "")
    role = ROLES.get(said.lower())
    if role is None:
        raise RecipeError(
            f"`{said}` is no role of a conversation", fix=f"known roles: {', '.join(ROLES)}; mend the row"
        )
    content = _text(given["content"] if "content" in given else given.get("value"))
    extra = {key: given[key] for key in KEPT if key in given}
    if content is None and not extra.get("tool_calls"):
        raise RecipeError(f"a turn of the {role} has no content", fix="mend or remove the row")
    message: Message = {"role": role, "content": content or "", **extra}
    reasoning = next((given[key] for key in REASONING_NAMES if given.get(key)), None)
    if reasoning and role == "assistant":
        message["reasoning"] = str(reasoning)
    return message


def _text(content: Any) -> str | None:
    """Content as text; OpenAI's list of text parts is joined."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        return str(content)
    parts = content if isinstance(content, list) else []
    if parts and all(isinstance(p, Mapping) and p.get("type") == "text" for p in parts):
        return "".join(str(p.get("text") or "") for p in parts)
    raise RecipeError("a message's content must be text", fix="images and other parts are not trained on")


def with_system(messages: list[Message], *systems: str | None) -> list[Message]:
    """The conversation with the first system text there is.

    A conversation that brings its own keeps it, and a column's text that is another one goes before it;
    the recipe's own (the last of several `systems`) is for conversations that have none.
    """
    system = next((s for s in systems if s), None)
    if messages and messages[0]["role"] in ("system", "developer"):
        own, column = messages[0]["content"], systems[0] if len(systems) > 1 else None
        if not column or column.strip() in own:
            return messages
        return [{**messages[0], "content": f"{column}\n\n{own}"}, *messages[1:]]
    if system is None:
        return messages
    return [{"role": "system", "content": system}, *messages]
