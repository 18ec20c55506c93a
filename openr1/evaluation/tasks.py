"""The tasks `openr1 eval` knows: where their problems are and how they are asked."""

from __future__ import annotations

from dataclasses import dataclass

from openr1.config.names import nearest
from openr1.data.tiny_task import is_builtin, parse_task
from openr1.errors import UsageError

# DeepSeek-R1's README: no system prompt, the instruction in the user turn.
BOXED = "{problem}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."


@dataclass(frozen=True)
class Task:
    """One benchmark.

    `rows` is the published size; another number is said beside the score. `columns` are (problem, gold).
    """

    name: str
    hub: str | None
    config: str | None
    split: str
    columns: tuple[str, str]
    prompt: str
    rows: int | None


TASKS = {
    task.name: task
    for task in (
        Task("math_500", "HuggingFaceH4/MATH-500", None, "test", ("problem", "answer"), BOXED, 500),
        Task("gsm8k", "openai/gsm8k", "main", "test", ("question", "answer"), BOXED, 1319),
    )
}
BUILTIN_PROBLEMS = 500


def task_named(name: str) -> Task:
    """The task of that name, or a built-in one with its options.

    Raises:
        UsageError: no such task; names the nearest.
        RecipeError: a built-in task's options are wrong.
    """
    if is_builtin(name):
        parse_task(name)
        return Task(name, None, None, "test", ("problem", "answer"), "{problem}", None)
    if name in TASKS:
        return TASKS[name]
    near = nearest(name, TASKS)
    raise UsageError(
        f"unknown task `{name}`",
        fix=f"did you mean {near}?" if near else f"tasks: {', '.join(TASKS)}, builtin:chain-sum",
    )
