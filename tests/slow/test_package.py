"""What is published: wheel and sdist, installed into an environment that holds no ML package.

Needs a package index for the seven base dependencies; `nox -s package` runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.package]
ROOT = Path(__file__).parents[2]
LIMIT_S = 600


def build(what: str, folder: Path) -> Path:
    """A wheel or an sdist of this checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", what, "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that has openr1 and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp(request.param)
    package = build(request.param, folder / "dist")
    venv.create(folder / "env", with_pip=True)
    pip = [str(folder / "env/bin/python"), "-m", "pip", "install", "-q", str(package)]
    done = subprocess.run(pip, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "env/bin/openr1"


def give(openr1: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed command, away from the checkout and from everything its environment could inherit."""
    hidden = ("PYTHON", "OPENR1", "VIRTUAL_ENV")
    env = {k: v for k, v in os.environ.items() if not k.startswith(hidden)} | {"COLUMNS": "100"}
    command = [str(openr1), *words]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "hw-profile"),
        (["--version"], ""),
        (["hw-profile"], "profile"),
        (["configs", "ls"], "qwen0.5b-light"),
        (["sft", "qwen0.5b-light", "--dry-run", "--simulate", "RTX 3060"], "recipe: qwen0.5b-light.yaml:"),
        (["bench", "--list"], "math_500"),
        (["eval", "math_500", "--model", "Qwen/Qwen2.5-0.5B-Instruct", "--dry-run"], "would run"),
    ],
)
def test_what_needs_no_extra_works_without_any(
    installed: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    done = give(installed, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["pipeline", "tiny-cpu"], "train"),
        (["sft", "tiny-cpu"], "train"),
        (["eval", "builtin:chain-sum", "--model", "builtin:tiny-qwen2"], "eval"),
        (["generate", "--dataset", "builtin:chain-sum", "--model", "builtin:tiny-qwen2"], "generate"),
        (["hw-profile", "--verify"], "train"),
    ],
)
def test_a_missing_extra_is_one_line_with_the_command_that_installs_it(
    installed: Path, tmp_path: Path, words: list[str], extra: str
) -> None:
    done = give(installed, tmp_path, *words)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (fix,) = [line for line in done.stderr.splitlines() if line.lstrip().startswith("do ")]
    assert "pip install" in fix and f"openr1[{extra}]" in fix


def test_a_wheel_holds_the_recipes_and_an_sdist_what_builds_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(build("wheel", tmp_path / "wheel")) as wheel:
        names = wheel.namelist()
    assert any(name.endswith("_recipes/tiny-cpu.yaml") for name in names)
    for part in ("messages_zh.yaml", "health_rules.yaml", "published.csv", "trl_fields.json", "run.html.j2"):
        assert any(name.endswith(part) for name in names), part
    assert not any(name.startswith(("tests/", "docs/")) for name in names)
    with tarfile.open(build("sdist", tmp_path / "sdist")) as sdist:
        names = [name.partition("/")[2] for name in sdist.getnames()]
    assert {"pyproject.toml", "README.md", "README.zh-CN.md", "LICENSE", "noxfile.py"} <= set(names)
