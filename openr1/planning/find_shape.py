"""The shape of the model a recipe names: built-in table, local folder, or the hub's cache. No download."""

from __future__ import annotations

import json
from pathlib import Path

from openr1.data.tiny_model import parse_model
from openr1.data.tiny_task import PREFIX
from openr1.errors import RecipeError
from openr1.hardware.facts import Finding, unknown
from openr1.hardware.host import cache_dir
from openr1.planning.shape_table import lookup
from openr1.planning.shapes import ModelShape

VOCABULARY = 320  # of the built-in tokenizer
SMALL_MILLIONS = 10  # 40 MB in fp32


def find_shape(name: str | None, cache: Path | None = None) -> Finding[ModelShape]:
    """The shape, and where it was found; unknown (with the reason) when nothing local says it."""
    if not name:
        return unknown("no model is named")
    folder = Path(name).expanduser()
    if folder.is_dir():
        for inside in (folder, folder / "model"):  # a run folder is accepted where a model is
            if (inside / "config.json").is_file():
                return _read(inside / "config.json", name)
        return unknown(f"{name} has no config.json")
    if name.startswith(PREFIX):
        return unknown(_built_in(name))
    if (known := lookup(name)) is not None:
        return Finding(known, "the built-in table of model shapes")
    snapshots = (cache or cache_dir()) / f"models--{name.replace('/', '--')}" / "snapshots"
    configs = sorted(snapshots.glob("*/config.json"), key=lambda p: p.stat().st_mtime, reverse=True)
    if configs:
        return _read(configs[0], name)
    return unknown(f"the shape of {name} is neither in the built-in table nor in the cache")


def _built_in(name: str) -> str:
    """Why a built-in model has no estimate: the formulas are about models of 0.5 B parameters and more."""
    try:
        spec = parse_model(name)
    except RecipeError as error:
        return error.what
    in_layers = spec.layers * 16 * spec.hidden**2  # 4 h² in attention, 12 h² in the MLP
    millions = (in_layers + VOCABULARY * spec.hidden) / 1e6
    held = ": any machine holds it" if millions < SMALL_MILLIONS else ""
    return f"{name} has about {millions:.1f} million weights, made on the spot{held}"


def _read(path: Path, name: str) -> Finding[ModelShape]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return unknown(f"{path} cannot be read: {error}")
    if not isinstance(config, dict):
        return unknown(f"{path} is not a model's configuration")
    try:
        return Finding(ModelShape.from_config(config, name), f"{path}")
    except RecipeError as error:
        return unknown(error.what)
