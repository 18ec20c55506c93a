"""What a recipe names from outside openr1: `file.py:NAME`, or `package.module:NAME`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from openr1.errors import RecipeError


def is_reference(name: str) -> bool:
    """True for `something:name`."""
    module, colon, attribute = name.rpartition(":")
    return bool(colon and module and attribute.isidentifier())


def load_module(name: str, what: str) -> Any:
    """Import the file or module before the colon of a reference. It may import torch: for children only.

    Args:
        what: what it should hold, for the message: "reward", "backend".

    Raises:
        RecipeError: there is none, or it does not import.
    """
    return _from_file(name, what) if name.endswith(".py") else _from_module(name)


def _from_file(name: str, what: str) -> Any:
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise RecipeError(f"{what} file {name} does not exist", where=str(path), fix="check the path")
    label = f"openr1_{what}_{path.stem}_{abs(hash(str(path))):x}"
    if label in sys.modules:
        return sys.modules[label]
    spec = importlib.util.spec_from_file_location(label, path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{name} cannot be imported", where=str(path), fix="name a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        del sys.modules[label]
        raise RecipeError(
            f"{name} does not import: {type(problem).__name__}: {problem}",
            where=str(path),
            fix="mend it: python FILE shows the traceback",
        ) from problem
    return module


def _from_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as problem:
        raise RecipeError(
            f"module {name} does not import: {type(problem).__name__}: {problem}",
            fix="is it installed in this environment, or reachable by PYTHONPATH?",
        ) from problem
