"""Colours are for a terminal alone, and NO_COLOR turns them off there too."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.conftest import Cli

WORDS = ("configs", "ls", "--simulate", "RTX 3060")
ESCAPE = "\x1b["


def on_a_terminal(cli: Cli, *words: str, **env: str) -> str:
    """What the command writes when its output is a terminal."""
    ours, theirs = pty.openpty()
    base = {k: v for k, v in cli.env.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "openr1", *words],
        cwd=cli.folder,
        env=base | {"TERM": "xterm-256color"} | env,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        parts.append(part)
    assert process.wait() == 0
    os.close(ours)
    return b"".join(parts).decode()


def test_a_terminal_gets_colours_unless_no_color_is_set(cli: Cli) -> None:
    assert ESCAPE + "32m" in on_a_terminal(cli, *WORDS)  # green: it fits
    plain = on_a_terminal(cli, *WORDS, NO_COLOR="1")
    assert "fits" in plain and ESCAPE + "32m" not in plain


@pytest.mark.parametrize("words", [WORDS, ("hw-profile",), ("bench", "--models", "Qwen-7B")], ids=" ".join)
def test_a_pipe_gets_none(cli: Cli, words: tuple[str, ...]) -> None:
    cli.env.pop("NO_COLOR")
    done = cli(*words, TERM="xterm-256color")
    assert done.out and "\x1b" not in done.out + done.err
