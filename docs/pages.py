"""Pages made from the program: one per command with every option, and which recipe fits which machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from openr1.cli.app import app
from openr1.config.names import keys_of
from openr1.config.schema import STAGES
from openr1.services.configs import explain, list_recipes
from openr1.services.hw_profile import the_machine

MACHINES = ("cpu", "RTX 3060", "RTX 4090", "A100-80GB", "8xA100-80GB", "8xH100", "8xH200")
VERDICT = {True: "fits", False: "no", None: "not known"}


def write(folder: Path) -> None:
    """Write `commands/*.md` and `machines.md` below a folder."""
    root: Any = get_command(app)
    commands = folder / "commands"
    commands.mkdir(exist_ok=True)
    for old in commands.glob("*.md"):
        old.unlink()
    context = typer.Context(root)
    names = root.list_commands(context)
    for name in names:
        (commands / f"{name}.md").write_text(_command(name, root.get_command(context, name)))
    toc = "\n".join(names)
    index = f"# Commands\n\n```{{toctree}}\n:maxdepth: 1\n\n{toc}\n```\n"
    (commands / "index.md").write_text(index)
    (folder / "machines.md").write_text(_machines())


def _command(name: str, command: Any) -> str:
    parts = [f"# openr1 {name}", _prose(command.help)]
    if hasattr(command, "commands"):
        for sub, one in command.commands.items():
            parts += [f"## openr1 {name} {sub}", _prose(one.help), _options(one)]
    else:
        parts.append(_options(command))
    parts.append("```text\n" + (command.epilog or "").replace("\b\n", "").strip() + "\n```")
    if name in STAGES:
        parts += ["## Keys", _KEYS, _keys(name)]
    return "\n\n".join(parts) + "\n"


_KEYS = "Set in a recipe, by `--KEY VALUE` or by `OPENR1_KEY`; [recipes](../recipes.md) says which wins."


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def _options(command: Any) -> str:
    rows = ["| option | what it does |", "|---|---|"]
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        metavar = parameter.metavar or ""
        names = ", ".join(o for o in parameter.opts if o.startswith("-"))
        shown = f"{names} {metavar}".strip() if names else metavar or parameter.name
        rows.append(f"| `{_cell(shown)}` | {_cell(parameter.help or '')} |")
    return "\n".join(rows)


def _keys(stage: str) -> str:
    """Every key of a stage; openr1's own before TRL's."""
    rows: dict[bool, list[str]] = {True: [], False: []}
    for key in sorted(keys_of(stage)):
        meaning = next(m for m in explain(key).meanings if stage in m.stages)
        kind = meaning.type + (f", one of {', '.join(map(str, meaning.choices))}" if meaning.choices else "")
        said = f"{meaning.help} ({meaning.unit})" if meaning.unit else meaning.help
        default = "" if meaning.default is None else f"`{_cell(json.dumps(meaning.default))}`"
        row = f"| `{key}` | {_cell(kind)} | {default} | {_cell(said)} |"
        rows[meaning.owner == "openr1"].append(row)
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    found = "### openr1's own\n\n" + "\n".join(head + rows[True])
    if rows[False]:
        found += "\n\n### TRL's and transformers'\n\n" + "\n".join(head + rows[False])
    return found


_PLANNED = """
The planner's answer for every shipped recipe, made when this page was built. A training section fits with
the plan openr1 makes for that machine at the recipe's global batch; for an evaluation or a generation the
weights are compared with the memory. `openr1 configs ls` says it for your machine, `openr1 hw-profile --for
RECIPE` with the bytes by cause.
"""


def _machines() -> str:
    """Shipped recipes x machines, as the planner answers."""
    entries = {machine: list_recipes(the_machine(machine)) for machine in MACHINES}
    parts = ["# What runs on which machine", _PLANNED]
    for number, entry in enumerate(entries[MACHINES[0]]):
        parts += [f"## {entry.name}", entry.header.what, f"Needs {entry.header.needs}."]
        sections = [fit.section for fit in entry.fits]
        rows = ["| machine | " + " | ".join(sections) + " |", "|---" * (len(sections) + 1) + "|"]
        for machine in MACHINES:
            fits = entries[machine][number].fits
            rows.append(f"| {machine} | " + " | ".join(_fit(f.fits, f.words) for f in fits) + " |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _fit(fits: bool | None, words: str) -> str:
    return f"{VERDICT[fits]}: {_cell(words.partition(',')[0])}"
