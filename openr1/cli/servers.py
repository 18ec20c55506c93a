"""`--server URL`, which several commands take any number of times."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openr1.services.request import Asked


def take_servers(words: list[str]) -> tuple[list[str], list[str]]:
    """Every `--server URL`, which unlike other keys may be repeated, and the other words."""
    from openr1.errors import UsageError

    servers, rest, left = [], [], list(words)
    while left:
        word = left.pop(0)
        if word == "--server" and (not left or left[0].startswith("--")):
            raise UsageError("--server needs an address", where="--server", fix="--server http://HOST:8000")
        if word == "--server":
            servers.append(left.pop(0))
        elif word.startswith("--server="):
            servers.append(word.partition("=")[2])
        else:
            rest.append(word)
    return servers, rest


def with_servers(asked: Asked, servers: list[str]) -> Asked:
    from dataclasses import replace

    return replace(asked, overrides={**asked.overrides, "server": (servers, " ".join(servers))})
