"""C++ programs: compiled by g++ inside the sandbox, handed out as an executable file."""

from __future__ import annotations

import base64
import binascii
import functools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import EnvironmentProblem
from .sandbox import Job, Limits, readable_paths, run

FLAGS = ("-DEVAL", "-std=gnu++17", "-O2", "-pipe", "-s")
"""Those of the contests' own judges."""
# testlib.h takes ten seconds and half a gigabyte on a slow core.
COMPILING = Limits(wall_s=60.0, memory_mb=2048, processes=32, output_bytes=2**27, file_mb=64, scratch_mb=256)
# The scratch folder is forgotten; standard output is the way out, and it is text.
_SCRIPT = '"$@" -o .built && base64 -w 0 .built'


@dataclass(frozen=True)
class Built:
    """What g++ made.

    Args:
        program: the executable file; empty when there is none.
        error: g++'s first complaint, empty when it compiled.
        failed_setup: the sandbox could not be built; nothing is known.
    """

    program: bytes
    error: str = ""
    failed_setup: bool = False


@functools.cache
def compiler() -> str:
    """The path of g++.

    Raises:
        EnvironmentProblem: it is not installed, or not where the sandbox can see it.
    """
    path = shutil.which("g++", path="/usr/bin:/usr/local/bin:/bin") or shutil.which("g++")
    if path is None:
        raise EnvironmentProblem("C++ programs need g++, which is not installed", fix="apt install g++")
    if not any(path.startswith(folder + "/") for folder in readable_paths()):
        raise EnvironmentProblem(
            f"g++ is at {path}, which the sandbox cannot see", fix="apt install g++ (it comes to /usr/bin)"
        )
    return path


def build(files: Mapping[str, str], sources: Sequence[str]) -> Built:
    """Compile `sources`, which are among `files` (relative path -> text, headers too), into one program.

    Raises:
        EnvironmentProblem: no g++, or no sandbox works on this machine.
    """
    argv = ("/bin/sh", "-c", _SCRIPT, "sh", compiler(), *FLAGS, *sources)
    ran = run(Job(argv, files), COMPILING)
    if ran.failed_setup:
        return Built(b"", ran.reason, failed_setup=True)
    if not ran.ok:
        return Built(b"", _complaint(ran.reason, ran.stderr))
    try:
        return Built(base64.b64decode(ran.stdout, validate=True))
    except binascii.Error:
        return Built(b"", "the compiler's output cannot be read", failed_setup=True)


def _complaint(reason: str, printed: str) -> str:
    """g++'s first error; what ended it when it had none to say."""
    errors = [line.strip() for line in printed.splitlines() if "error:" in line or "undefined" in line]
    return errors[0][:200] if errors else reason
