"""What is missing can be installed by the command that a message names."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from openr1 import extras

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")


def test_from_a_checkout_it_is_the_checkout_at_its_pins() -> None:
    words = shlex.split(extras.install("train", "vllm"))
    assert words[:3] == ["pip", "install", "-c"] and words[4] == "-e"
    assert Path(words[3]).is_file()
    root, _, wanted = words[5].rstrip("]").rpartition("[")
    declared = tomllib.loads((Path(root) / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(wanted.split(",")) <= set(declared)


def test_from_a_wheel_it_is_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    assert extras.install("eval") == 'pip install "openr1[eval]"'
