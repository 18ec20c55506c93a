"""Help in a terminal of 100 columns: no example is broken in the middle."""

from __future__ import annotations

import importlib
import pkgutil

import openr1.cli
from openr1.cli.slurm import HELP, POINTER

WIDTH = 100
INDENT = 2  # of an example in its command's help


def test_examples_fit_100_columns() -> None:
    texts = {"slurm": POINTER.format(command="generate") + HELP}
    for module in pkgutil.iter_modules(openr1.cli.__path__):
        found = getattr(importlib.import_module(f"openr1.cli.{module.name}"), "EXAMPLES", None)
        if found:
            texts[module.name] = found
    assert len(texts) > 8
    lines = [(name, line) for name, text in texts.items() for line in text.split("\n")]
    examples = [(name, line) for name, line in lines if line.startswith(("  ", "Add "))]  # others are wrapped
    assert len(examples) > 40
    assert not [(name, line) for name, line in examples if len(line) + INDENT > WIDTH]
