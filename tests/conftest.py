"""What the tests share: the real command line, run as a person would, on a recipe of seconds."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

os.environ["OPENR1_LANG"] = "en"  # whatever the machine speaks

# Long enough for the slowest machine; a test that needs it has failed already.
LIMIT_S = 600

TINY = """\
model_name_or_path: builtin:tiny-qwen2?layers=1&hidden=64
seed: 7

sft:
  dataset_name: builtin:chain-sum?steps=2
  limit: 96
  global_batch_size: 8
  max_steps: 12
  learning_rate: 1.0e-3
  save_steps: 4
  logging_steps: 1
  threads: 1

grpo:
  dataset_name: builtin:chain-sum?steps=2
  limit: 32
  reward_funcs: [accuracy, format]
  num_generations: 4
  global_batch_size: 8
  max_completion_length: 12
  max_steps: 4
  learning_rate: 1.0e-4
  save_steps: 2
  threads: 1

eval:
  tasks: ["builtin:chain-sum?steps=2"]
  limit: 20
  temperature: 1.0
  max_new_tokens: 16
  threads: 1
"""


@dataclass
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """Runs `openr1 …` in a folder of its own; runs lie in its `runs/`."""

    limit_s: float = LIMIT_S
    """After so long a command hangs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("OPENR1_")}
        # What runs teach the planner goes to the user's cache, which is not the tests' business.
        self.env |= {"XDG_CACHE_HOME": str(folder.parent / "user-cache")}
        # A page after every run is drawn where a test is about it.
        self.env |= {"OPENR1_REPORT": "off"}
        self.env |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "100", "NO_COLOR": "1"}
        self.env |= {"OPENR1_LANG": "en"}  # whatever the machine speaks

    def start(self, *words: object, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "openr1", *map(str, words)],
            cwd=self.folder,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts what runs in its background with Ctrl-C ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def __call__(self, *words: object, code: int | None = 0, **env: str) -> Done:
        process = self.start(*words, **env)
        out, err = process.communicate(timeout=self.limit_s)
        if code is not None:
            assert process.returncode == code, (
                f"exit {process.returncode}, not {code}\n{out}\n{err}\n{self.logs()}"
            )
        return Done(process.returncode, out, err)

    def when(
        self,
        process: subprocess.Popen[str],
        pattern: str,
        text: str,
        act: Callable[[subprocess.Popen[str]], None],
    ) -> None:
        """Wait until a file that matches `pattern` holds `text`, then act on the process; or it has ended."""
        while process.poll() is None:
            if any(text in path.read_text(errors="replace") for path in self.folder.glob(pattern)):
                act(process)
                return
            time.sleep(0.01)

    @staticmethod
    def kill_children(process: subprocess.Popen[str]) -> None:
        """kill -9 everything the command has started, and not the command itself."""
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()

    def logs(self) -> str:
        """The end of every child's log, for a failing test's message."""
        logs = sorted((self.folder / "runs").rglob("rank-0.log")) if (self.folder / "runs").exists() else []
        return "\n".join(f"--- {p}\n{p.read_text(errors='replace')[-3000:]}" for p in logs)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture
def tiny(cli: Cli) -> str:
    """A recipe of three sections that runs in seconds."""
    cli.write("tiny.yaml", TINY)
    return "tiny.yaml"


def only_run(cli: Cli, pattern: str) -> Path:
    """The one run folder that matches."""
    found = list((cli.folder / "runs").glob(pattern))
    assert len(found) == 1, found
    return found[0]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Callable[[], object]]:
    """A folder with little room, for the time of the block; mounting it needs root.

    Yields:
        what gives it more.
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    more = ["mount", "-o", "remount,size=64m", str(folder)]
    try:
        yield lambda: subprocess.run(more, check=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
