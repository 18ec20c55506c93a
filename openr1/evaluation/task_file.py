"""A task of one's own: `file.py:NAME`, where the file says `NAME = Task(...)` as `tasks.py` does.

The file is read, not run: everything in the call is written out, so that the command can look at it without
importing what it may import, and nothing in it is executed.
"""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from openr1.config.names import nearest
from openr1.errors import RecipeError
from openr1.evaluation.tasks import Kind, Task

EXAMPLE = 'NAME = Task("NAME", "problems.jsonl", columns=("question", "answer"))'
KINDS = get_args(Kind)


def task_from(reference: str) -> Task:
    """The task that `file.py:NAME` names; its data file is looked for beside the task's.

    Raises:
        RecipeError: no such file or name, or something other than a Task with its values written out.
    """
    name, _, wanted = reference.rpartition(":")
    path = Path(name).expanduser()
    if not path.is_file():
        raise RecipeError(f"task file {name} does not exist", where=str(path), fix="check the path")
    try:
        body = ast.parse(path.read_bytes(), filename=str(path)).body
    except (SyntaxError, ValueError) as problem:
        line = getattr(problem, "lineno", None)
        where = f"{path}:{line}" if line else str(path)
        raise RecipeError(f"{name} is no Python: {problem}", where=where, fix=EXAMPLE) from None
    calls = dict(filter(None, map(_task_call, body)))
    if wanted not in calls:
        there = ", ".join(calls) or "none"
        raise RecipeError(
            f"{name} has no task `{wanted}`", where=str(path), fix=f"it has: {there}; {EXAMPLE}"
        )
    return _made(calls[wanted], wanted, path)


def _task_call(node: ast.stmt) -> tuple[str, ast.Call] | None:
    """`NAME = Task(...)` as its name and call."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
        return None
    target, func = node.targets[0], node.value.func
    called = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    return (target.id, node.value) if isinstance(target, ast.Name) and called == "Task" else None


def _made(call: ast.Call, name: str, path: Path) -> Task:
    where = f"{path}:{call.lineno}"
    known = [field.name for field in fields(Task)]
    try:
        given = dict(zip(known, map(ast.literal_eval, call.args), strict=False))
        given |= {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except ValueError:
        raise RecipeError(
            f"task `{name}`: a value is computed; the file is read, not run", where=where, fix="write it out"
        ) from None
    for key in given.keys() - set(known):
        near = nearest(key, known)
        raise RecipeError(
            f"a task has no `{key}`",
            where=where,
            fix=f"did you mean `{near}`?" if near else f"it has: {', '.join(known)}",
        )
    _check(given, name, where)
    hub = given.get("hub")
    if hub is not None and (beside := path.parent / hub).exists():
        given["hub"] = str(beside)
    return Task(**{"name": name, "hub": None, **given})


def _check(given: dict[str, Any], name: str, where: str) -> None:
    columns = given.get("columns", ("", ""))
    if given.get("kind", KINDS[0]) not in KINDS:
        raise RecipeError(f"task `{name}`: kind must be one of {', '.join(KINDS)}", where=where, fix=EXAMPLE)
    if not isinstance(columns, tuple) or len(columns) != 2 or not all(isinstance(c, str) for c in columns):
        raise RecipeError(
            f"task `{name}`: columns are two names, problem and gold answer", where=where, fix=EXAMPLE
        )
    texts = ("name", "hub", "config", "split", "revision")
    for key in texts:
        if given.get(key) is not None and not isinstance(given[key], str):
            raise RecipeError(f"task `{name}`: {key} must be text", where=where, fix=EXAMPLE)
