"""Packages that may be missing: the command that brings one, and imports that do without."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import cast

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


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Import as if these packages were not installed.

    For libraries that import whatever they find, which costs seconds. What is loaded already stays loaded;
    afterwards the packages can be imported as ever, though a library may remember that it found none.
    """
    # None is how Python notes that there is no such module: an import raises, and `find_spec` finds nothing.
    nothing = cast(ModuleType, None)
    hidden = {name: nothing for name in packages if name not in sys.modules}
    sys.modules.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name, sys) is None:
                del sys.modules[name]
