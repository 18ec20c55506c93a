"""Help and shell completion: whole, quick and light. What a command imports is in test_parent.py."""

from __future__ import annotations

import pytest

from tests.cli.test_parent import COMMANDS, HEAVY, modules
from tests.conftest import Cli


def complete(cli: Cli, line: str) -> list[str]:
    """What a bash shell is offered for the last word of a line."""
    at = len(line.split(" ")) - 1
    return cli(_OPENR1_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(at)).out.split()


def test_commands_and_flags_complete(cli: Cli) -> None:
    assert complete(cli, "openr1 ") == COMMANDS
    assert complete(cli, "openr1 ge") == ["generate"]
    offered = complete(cli, "openr1 sft --")
    assert {"--config", "--section", "--dry-run", "--json", "--debug"} <= set(offered)


def test_completion_imports_nothing_heavy(cli: Cli) -> None:
    cli.env |= {"_OPENR1_COMPLETE": "complete_bash", "COMP_WORDS": "openr1 g", "COMP_CWORD": "1"}
    found = modules(cli)
    assert "typer" in found
    assert not found & (HEAVY | {"yaml", "rich", "psutil", "pynvml"})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_can_be_shown(cli: Cli, shell: str) -> None:
    done = cli(_OPENR1_COMPLETE=f"source_{shell}")
    assert "_OPENR1_COMPLETE" in done.out


def test_help_of_a_group_says_every_command_in_full(cli: Cli) -> None:
    listed = cli("configs", "--help", COLUMNS="80").out.split("Commands:")[1].split("Examples")[0]
    assert "..." not in listed and "explain" in listed


def test_root_help_says_every_command_in_full(cli: Cli) -> None:
    """80 columns; typer cuts a longer line off with an ellipsis."""
    done = cli("--help", COLUMNS="80")
    listed = done.out.split("Commands:")[1].split("Start here")[0]
    assert [line.split()[0] for line in listed.strip().splitlines()] == COMMANDS
    assert "..." not in listed
    assert "openr1 pipeline tiny-cpu" in done.out


@pytest.mark.parametrize(
    ("word", "said"),
    [("evl", "Did you mean `eval`?"), ("hwprofile", "hw-profile"), ("nonsense", "Commands: pipeline, sft")],
)
def test_an_unknown_command_suggests_the_nearest_or_the_help(cli: Cli, word: str, said: str) -> None:
    done = cli(word, code=2)
    assert said in done.err
    assert done.out == ""
    assert "Traceback" not in done.err
