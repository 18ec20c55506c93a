"""The command that brings a missing package."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]


def install(*extras: str) -> str:
    """`pip install …` for extras of openr1.

    From a checkout it is that checkout's, at the versions that are known to work together.

    Args:
        extras: names in pyproject.toml, for example "train".
    """
    wanted = ",".join(extras)
    if not (ROOT / "pyproject.toml").exists():  # from a wheel
        return f'pip install "openr1[{wanted}]"'
    pins = ROOT / f"constraints-{'cuda' if shutil.which('nvidia-smi') else 'cpu'}.txt"
    return f"pip install -c {shlex.quote(str(pins))} -e {shlex.quote(f'{ROOT}[{wanted}]')}"
