"""The `openr1` command."""

from __future__ import annotations


def main() -> None:
    from openr1.cli.app import app

    app(prog_name="openr1")


if __name__ == "__main__":
    main()
