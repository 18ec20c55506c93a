"""Run a program nobody has read: no network, no files but a scratch folder, and bounded in everything.

Two kinds of walls, both of the Linux kernel: bubblewrap where it is installed, else namespaces made
directly. Where neither works the sandbox refuses; it never runs a program without walls.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import os
import selectors
import shutil
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EnvironmentProblem

SCRATCH = "/scratch"
MAX_STDERR = 16_384
START_GRACE_S = 5.0
"""Wall clock beyond the program's own for building the walls on a busy machine."""

_INIT = str(Path(__file__).with_name("sandbox_init.py"))
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/nix/store")
# A user of its own for every sandbox, so that limits per user are limits per sandbox.
_uids = itertools.count(os.getpid() % 50_000 * 10_000)


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    Args:
        cpu_s: processor time of the program and of what it waited for; beyond it the reason is `timeout`.
            Unlike wall clock it does not grow when other programs run beside. None: wall clock alone.
        stack_mb: deepest stack, where the system allows more than its usual 8 MB.
    """

    wall_s: float = 5.0
    cpu_s: float | None = None
    stack_mb: int | None = None
    memory_mb: int = 512
    processes: int = 16
    output_bytes: int = 2**20
    file_mb: int = 16
    scratch_mb: int = 32


@dataclass(frozen=True)
class Job:
    """A command and the files it finds in its scratch folder.

    Args:
        argv: the command, run in the scratch folder; its first word is an absolute path.
        files: relative path -> text.
        programs: relative path -> an executable file's bytes.
        stdin: standard input.
    """

    argv: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, bytes] = field(default_factory=dict)
    stdin: str = ""


@dataclass(frozen=True)
class Ran:
    """How one program ended.

    Args:
        reason: empty when it ended with status 0, else `timeout`, `memory`, `output`, or what went wrong.
        stdout, stderr: what it wrote, cut at the limits.
        seconds: wall clock with the building of the walls.
        failed_setup: the sandbox could not be built; nothing was run and nothing is known.
    """

    reason: str
    stdout: str
    stderr: str
    seconds: float
    failed_setup: bool = False

    @property
    def ok(self) -> bool:
        return not self.reason


@functools.cache
def interpreter() -> str:
    """The Python that programs run on: the one below any virtual environment."""
    return os.path.realpath(sys.executable)


@functools.cache
def readable_paths() -> tuple[str, ...]:
    """Folders visible inside, read-only: the system's, the interpreter's, its packages'."""
    wanted = [p for p in _SYSTEM if Path(p).exists()]
    for path in (os.path.realpath(sys.base_prefix), *_site_packages()):
        if Path(path).is_dir() and not any(path == w or path.startswith(w + "/") for w in wanted):
            wanted.append(path)
    return tuple(wanted)


def _site_packages() -> list[str]:
    return [os.path.realpath(p) for p in site.getsitepackages() if Path(p).is_dir()]


def _environment() -> dict[str, str]:
    """The whole environment of a program; nothing of ours goes in."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(_site_packages()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


@functools.cache
def walls() -> str:
    """Which walls work on this machine: `bubblewrap` or `namespaces`; tried once with a real program.

    Raises:
        EnvironmentProblem: neither works.
    """
    if sys.platform != "linux":
        raise EnvironmentProblem("code rewards need Linux: their sandbox is made of kernel namespaces")
    tried = []
    # Limits per user do not bind the real root; made directly, the walls end in another user.
    order = ("namespaces", "bubblewrap") if os.geteuid() == 0 else ("bubblewrap", "namespaces")
    for kind in order:
        if kind == "bubblewrap" and shutil.which("bwrap") is None:
            tried.append("bubblewrap: not installed")
            continue
        ran = _run(kind, python_job("print(6 * 7)"), Limits(wall_s=10.0))
        if ran.ok and ran.stdout.strip() == "42":
            return kind
        tried.append(f"{kind}: {ran.reason or 'no output'} {ran.stderr.strip()[-200:]}".strip())
    raise EnvironmentProblem(
        "no sandbox for code rewards works here (" + "; ".join(tried) + ")",
        fix="apt install bubblewrap, or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1",
    )


def run_python(program: str, stdin: str = "", limits: Limits | None = None) -> Ran:
    """Run a Python program in a fresh sandbox.

    Raises:
        EnvironmentProblem: no sandbox works on this machine.
    """
    return run(python_job(program, stdin), limits or Limits())


def python_job(program: str, stdin: str = "") -> Job:
    """A Python program as a job."""
    return Job((interpreter(), "-B", "main.py"), {"main.py": program}, stdin=stdin)


def run(job: Job, limits: Limits) -> Ran:
    """Run a command in a fresh sandbox.

    Raises:
        EnvironmentProblem: no sandbox works on this machine.
    """
    return _run(walls(), job, limits)


def _run(kind: str, job: Job, limits: Limits) -> Ran:
    started = time.monotonic()
    report_read, report_write = os.pipe()
    request = {
        "walls": "given" if kind == "bubblewrap" else "namespaces",
        "report": report_write,
        "readable": list(readable_paths()),
        "scratch": SCRATCH,
        "scratch_mb": limits.scratch_mb,
        "uid": 100_000_000 + next(_uids) % 2_000_000_000,
        "files": dict(job.files),
        "programs": {name: base64.b64encode(data).decode("ascii") for name, data in job.programs.items()},
        "stdin": job.stdin,
        "argv": list(job.argv),
        "env": _environment(),
        "wall_s": limits.wall_s,
        "cpu_s": int(limits.wall_s if limits.cpu_s is None else limits.cpu_s) + 1,
        "stack_mb": limits.stack_mb,
        "memory_mb": limits.memory_mb,
        "file_mb": limits.file_mb,
        "processes": limits.processes,
    }
    try:
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(request).encode("ascii"))
            file.seek(0)
            process = subprocess.Popen(
                _command(kind, limits),
                **_user(kind, int(str(request["uid"]))),
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={"PATH": "/usr/bin:/bin"},
                pass_fds=(report_write,),
                start_new_session=True,
            )
        os.close(report_write)
        report_write = -1
        out, err, cut = _collect(process, limits)
        return _verdict(_report(report_read), out, err, cut, limits, time.monotonic() - started)
    finally:
        os.close(report_read)
        if report_write >= 0:
            os.close(report_write)


def _user(kind: str, uid: int) -> dict[str, Any]:
    """bubblewrap keeps the user that starts it, so the real root becomes another one first."""
    if kind == "bubblewrap" and os.geteuid() == 0:
        return {"user": uid, "group": uid, "extra_groups": []}
    return {}


def _command(kind: str, limits: Limits) -> list[str]:
    start = [interpreter(), "-I", "-S", _INIT]
    if kind == "namespaces":
        return start
    bwrap = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--as-pid-1",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--clearenv",
    ]
    for path in readable_paths():
        bwrap += ["--ro-bind", path, path]
    bwrap += ["--ro-bind", _INIT, "/sandbox_init.py", "--proc", "/proc", "--dev", "/dev"]
    bwrap += ["--size", str(limits.scratch_mb * 2**20), "--tmpfs", SCRATCH, "--remount-ro", "/"]
    return [*bwrap, "--", interpreter(), "-I", "-S", "/sandbox_init.py"]


def _collect(process: subprocess.Popen[bytes], limits: Limits) -> tuple[bytes, bytes, str]:
    """Read what the program writes until it ends, writes too much, or the clock runs out."""
    assert process.stdout is not None and process.stderr is not None
    deadline = time.monotonic() + limits.wall_s + START_GRACE_S
    streams = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    out, err = streams.values()
    cut = ""
    with selectors.DefaultSelector() as selector:
        for number in streams:
            selector.register(number, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                cut = "timeout"
                break
            for key, _ in selector.select(left):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fd)
                elif key.fd == process.stdout.fileno() or len(err) < MAX_STDERR:
                    streams[key.fd] += chunk
            if len(out) > limits.output_bytes:
                cut = "output"
                break
    if cut:
        process.kill()  # its death takes everything inside along
    process.wait()
    for stream in (process.stdout, process.stderr):
        stream.close()
    return bytes(out[: limits.output_bytes]), bytes(err[:MAX_STDERR]), cut


def _report(descriptor: int) -> dict[str, object]:
    """What the sandbox's first process said: `{"started": true}`, then how the program ended or what failed.

    A program that manages to end its watcher leaves only the first line behind.
    """
    os.set_blocking(descriptor, False)
    text = b""
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(descriptor, 65536):
            text += chunk
    report: dict[str, object] = {}
    for line in text.decode("utf-8", "replace").splitlines():
        report |= json.loads(line)
    return report


def _verdict(
    report: dict[str, object], out: bytes, err: bytes, cut: str, limits: Limits, seconds: float
) -> Ran:
    stdout, stderr = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    if "setup" in report or "started" not in report:
        why = str(report.get("setup") or stderr.strip()[-200:] or "ended without a report")
        return Ran(f"sandbox: {why}", "", stderr, seconds, failed_setup=True)
    if not cut and "exit" not in report and "signal" not in report:
        cut = "ended its watcher"
    over = limits.cpu_s is not None and float(str(report.get("cpu_s") or 0)) > limits.cpu_s
    return Ran(cut or ("timeout" if over else _reason(report, stderr)), stdout, stderr, seconds)


def _reason(report: dict[str, object], stderr: str) -> str:
    if report.get("why"):
        return str(report["why"])
    last = _last_line(stderr)
    if report.get("exit") and (
        "Resource temporarily unavailable" in last or "can't start new thread" in last
    ):
        return "processes"
    number = report.get("signal")
    if number == 24:  # SIGXCPU
        return "timeout"
    if number == 25:  # SIGXFSZ
        return "file too large"
    if number is not None:
        return f"killed by signal {number}"
    if report.get("exit"):
        return (
            "memory"
            if last.startswith("MemoryError")
            else f"exit status {report['exit']}: {last}".rstrip(": ")
        )
    return ""


def _last_line(text: str) -> str:
    lines: Sequence[str] = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""
