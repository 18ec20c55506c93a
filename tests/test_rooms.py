"""The house has rooms, and imports go one way through it (see docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "openr1"
# A room imports only rooms of later lines, or itself.
ORDER = (
    ("cli",),
    ("services",),
    ("generation", "training"),
    ("evaluation",),
    ("launch", "sampling"),
    ("planning", "rewards", "runs"),
    ("config", "data", "grading", "hardware"),
    ("extras", "language"),
    ("errors",),
)
PLACE = {room: number for number, line in enumerate(ORDER) for room in line}


def imports() -> Iterator[tuple[str, str, str]]:
    """Every import between rooms: file and line, the room it is in, the room it takes from."""
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT)
        room = inside.parts[0] if len(inside.parts) > 1 else inside.stem
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{a.name}" for a in node.names]
            for name in names:
                parts = name.split(".")
                if parts[0] == "openr1" and len(parts) > 1 and parts[1] in PLACE and parts[1] != room:
                    yield f"{inside}:{node.lineno}", room, parts[1]


def test_every_room_is_in_the_order() -> None:
    rooms = {p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    rooms |= {p.stem for p in ROOT.glob("*.py")} - {"__init__", "__main__"}
    assert rooms == set(PLACE)


def test_imports_go_one_way() -> None:
    found = list(imports())
    assert len(found) > 300
    wrong = [
        f"{where}: {room} takes from {other}"
        for where, room, other in found
        if room in PLACE and PLACE[other] <= PLACE[room]
    ]
    assert not wrong, "\n".join(wrong)
