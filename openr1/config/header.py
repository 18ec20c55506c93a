"""The comment a shipped recipe begins with: what it does, then `needs`, `start` and `gives`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LABELS = ("needs", "start", "gives")


@dataclass(frozen=True)
class Header:
    """A recipe in words. A file of one's own may have none: then all are empty."""

    what: str = ""
    needs: str = ""
    start: str = ""
    gives: str = ""

    @property
    def gpu_gb(self) -> int:
        """GPU memory that `needs` names, over all cards and nodes, in GB; 0 for what a CPU does."""
        nodes = re.search(r"(\d+) nodes? of", self.needs)
        cards = re.search(r"(\d+) GPUs? of", self.needs)
        memory = re.search(r"(\d+) GB", self.needs)
        if memory is None or "CPU" in self.needs:
            return 0
        return int(nodes[1] if nodes else 1) * int(cards[1] if cards else 1) * int(memory[1])

    @property
    def needs_shortly(self) -> str:
        """`needs` up to its first aside."""
        return re.split(r" as |[,;(]", self.needs)[0].strip()


def header_of(path: Path) -> Header:
    """The words at the top of a recipe file.

    The first comment lines say what it does, up to the first empty comment line; a line that begins with
    a label (`needs`, `start`, `gives`) opens that part, and lines indented below it belong to it.

    Raises:
        OSError: the file cannot be read.
    """
    found: dict[str, list[str]] = {"what": []}
    part: str | None = "what"
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("#"):
            break
        text = line[1:].rstrip()
        label = re.match(r"\s?(needs|start|gives)\s\s+(.*)", text)
        if label:
            part = label[1]
            found[part] = [label[2].strip()]
        elif not text.strip():
            part = None
        elif part == "what" or (part and text.startswith("   ")):
            found[part].append(text.strip())
    return Header(**{part: " ".join(lines) for part, lines in found.items()})
