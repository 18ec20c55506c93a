"""What the pages point to exists: files, headings, addresses, commands and their flags."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.main import get_command

from openr1.cli import slurm
from openr1.cli.app import app
from openr1.config.names import all_keys
from openr1.services import generate
from tests.docs.pages import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MADE = {"machines.md", "commands/index.md"}  # written by docs/pages.py
# Flags that a command takes out of its words before they are read as keys.
TAKEN = {"server", "rescore", "check-rewards", "no-sample", "show-samples", "model-args", "use-chat-template"}
TAKEN |= {"model", "dataset", "split", "prompt", "config-name", "from", "only", "help"}
COMMENT = re.compile(r"\s{2,}#.*")


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The headings' names in an address, as the site and code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        if file in MADE:
            continue
        there = page.parent / file if file else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_address_is_well_formed(page: Path) -> None:
    for address in re.findall(r"\w+://[^\s)`>\"'|]+", page.read_text(encoding="utf-8")):
        parts = urlsplit(address.rstrip(".,;:"))
        assert parts.scheme in ("http", "https", "file") and (parts.netloc or parts.path), address
        assert parts.hostname is None or re.fullmatch(r"[\w.…-]+", parts.hostname), address


def commands(page: Path) -> Iterator[str]:
    """Every `openr1 …` line of a block, and every one between backticks."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield from (COMMENT.sub("", line) for line in block.splitlines() if line.startswith("openr1 "))
    yield from (" ".join(found.split()) for found in re.findall(r"(?<!`)`(openr1 [^`]+)`(?!`)", prose(page)))


def flags_of(command: Any) -> set[str]:
    found = {option.removeprefix("--") for p in command.params for option in (*p.opts, *p.secondary_opts)}
    return found.union(*(flags_of(sub) for sub in getattr(command, "commands", {}).values()))


def test_every_command_and_flag_of_the_pages_exists() -> None:
    root: Any = get_command(app)
    keys = {key.replace("_", "-") for key in all_keys()} | TAKEN | set(slurm.VALUES) | set(slurm.SWITCHES)
    keys |= {name.replace("_", "-") for name in (*generate.UPSTREAM_NAMES, *generate.WITHOUT_MEANING)}
    wrong, seen = [], 0
    for page in PAGES:
        for line in commands(page):
            name = line.split()[1]
            if name.startswith("--"):
                known = {"help", "version"}
            elif name.isupper() or "|" in name or "…" in name:  # a placeholder
                continue
            elif name not in root.commands:
                wrong.append((page.name, line))
                continue
            else:
                known = flags_of(root.commands[name]) | keys
            for flag in re.findall(r"(?<=\s)--([\w.-]+)", line):
                seen += 1
                if flag.rpartition(".")[2].replace("_", "-") not in known:
                    wrong.append((page.name, f"{line}: --{flag}"))
    assert seen > 150
    assert not wrong, "\n".join(map(str, wrong))
