"""`--server URL`, which several commands take any number of times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openr1.services.request import Asked


def take_servers(words: list[str], also: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """Every `--server URL`, which unlike other keys may be repeated, and the other words.

    Args:
        also: other names of the key.
    """
    from openr1.errors import UsageError

    servers, rest, left = [], [], list(words)
    names = {"server", *also}
    while left:
        word = left.pop(0)
        flag, equals, address = word.partition("=")
        if not flag.startswith("--") or flag[2:].replace("-", "_") not in names:
            rest.append(word)
        elif equals:
            servers.append(address)
        elif not left or left[0].startswith("--"):
            raise UsageError(f"{flag} needs an address", where=flag, fix="--server http://HOST:8000")
        else:
            servers.append(left.pop(0))
    return servers, rest


def with_servers(asked: Asked, servers: list[str]) -> Asked:
    from dataclasses import replace

    return replace(asked, overrides={**asked.overrides, "server": (servers, " ".join(servers))})
