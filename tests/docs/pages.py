"""Files and commands of a documentation page: fenced blocks under a line with a file's name, and `bash`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"(?:^`(?P<file>[\w.-]+)`\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


def section(page: str, title: str) -> str:
    """The text under a heading of the second level."""
    text = (ROOT / page).read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def files_and_commands(text: str) -> tuple[dict[str, str], list[str]]:
    """Name -> content of every named file, and the `openr1` commands of the bash blocks without comments."""
    files, commands = {}, []
    for block in BLOCK.finditer(text):
        if block["file"]:
            files[block["file"]] = block["text"]
        elif block["kind"] == "bash":
            lines = (re.sub(r"\s{2,}#.*", "", line) for line in block["text"].splitlines())
            commands += [line for line in lines if line.startswith("openr1 ")]
    return files, commands
