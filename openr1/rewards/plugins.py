"""Reward functions from outside: `file.py:function` and `package.module:function`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config.references import load_module
from ..errors import RecipeError

_SHAPE = "def NAME(completions, **kwargs) -> list[float | None]; columns come as keywords"


def load(reference: str) -> Callable[..., Any]:
    """The function a reference names.

    Raises:
        RecipeError: no such file, module or function, it does not import, or its signature is not that
            of a reward.
    """
    module_name, _, function = reference.rpartition(":")
    module = load_module(module_name, "reward")
    func = getattr(module, function, None)
    if not callable(func):
        have = [n for n, v in vars(module).items() if inspect.isfunction(v) and not n.startswith("_")]
        raise RecipeError(
            f"{module_name} has no function {function!r}", fix=f"it has: {', '.join(have) or 'none'}"
        )
    check_signature(reference, func)
    return func


def check_signature(reference: str, func: Callable[..., Any]) -> None:
    """A reward takes `completions` and `**kwargs` (a trainer passes columns and more), and is no coroutine.

    Raises:
        RecipeError: it does not.
    """
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):
        return
    parameters = signature.parameters.values()
    names = [p.name for p in parameters]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters) or "completions" not in names:
        raise RecipeError(
            f"reward {reference} has the signature {signature}",
            fix=_SHAPE,
        )
    if inspect.iscoroutinefunction(func):
        raise RecipeError(f"reward {reference} is a coroutine", fix="make it an ordinary function")


def inspect_source(reference: str) -> set[str] | None:
    """Parameters of a plug-in read from its file without importing it: it may import torch.

    None when only an import could tell (a module, a decorated or assigned function).

    Raises:
        RecipeError: no such file or function, no Python, or the signature is not that of a reward.
    """
    name, _, function = reference.rpartition(":")
    if not name.endswith(".py"):
        return None
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise RecipeError(f"reward file {name} does not exist", where=str(path), fix="check the path")
    try:
        body = ast.parse(path.read_bytes(), filename=str(path)).body
    except (SyntaxError, ValueError) as problem:
        line = getattr(problem, "lineno", None)
        raise RecipeError(
            f"{name} is no Python: {problem}",
            where=f"{path}:{line}" if line else str(path),
            fix="mend that line",
        ) from None
    found = [n for n in body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)) and n.name == function]
    if not found:
        if any(isinstance(n, (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.If)) for n in body):
            return None
        there = [n.name for n in body if isinstance(n, ast.FunctionDef)]
        raise RecipeError(
            f"{name} has no function {function!r}",
            where=str(path),
            fix=f"it has: {', '.join(there) or 'none'}",
        )
    node = found[-1]
    if node.decorator_list:
        return None
    where = f"{path}:{node.lineno}"
    if isinstance(node, ast.AsyncFunctionDef):
        raise RecipeError(
            f"reward {reference} is a coroutine", where=where, fix="make it an ordinary function"
        )
    plain = [*node.args.posonlyargs, *node.args.args]
    if node.args.kwarg is None or "completions" not in {a.arg for a in [*plain, *node.args.kwonlyargs]}:
        raise RecipeError(
            f"reward {reference} has the signature ({ast.unparse(node.args)})", where=where, fix=_SHAPE
        )
    count = len(node.args.defaults)
    keyword_only = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return {a.arg for a in plain[len(plain) - count :]} | {a.arg for a, d in keyword_only if d is not None}


def accepted_parameters(func: Callable[..., Any]) -> set[str] | None:
    """Parameters a recipe may set: those with a default; None when that cannot be told."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return None
    return {p.name for p in parameters if p.default is not p.empty}
