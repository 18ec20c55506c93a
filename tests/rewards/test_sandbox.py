"""Programs nobody has read: each way out is tried, and contained, with the reason as what is said."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from openr1.errors import EnvironmentProblem
from openr1.rewards import sandbox
from openr1.rewards.sandbox import Limits, run_python

try:
    sandbox.walls()
except EnvironmentProblem as problem:  # pragma: no cover
    if os.environ.get("CI"):
        raise  # where changes are judged, containment is not left untested
    pytest.skip(f"no sandbox on this machine: {problem}", allow_module_level=True)

THREADS = """
import threading, time
for _ in range(99):
    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
"""
DEAF = """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except Exception:
        pass
while True:
    pass
"""
ALL_COMMANDS = """
import os
print(os.environ)
for p in os.listdir("/proc"):
    if p.isdigit():
        print(p, open(f"/proc/{p}/cmdline").read())
"""
SHORT = Limits(wall_s=1.0, memory_mb=150)


def test_a_program_reads_its_input_and_prints() -> None:
    ran = run_python("print(sum(map(int, input().split())))", "1 2 3\n")
    assert (ran.ok, ran.stdout, ran.reason) == (True, "6\n", "")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ValueError('x')", "exit status 1: ValueError: x"),
        ("import sys; sys.exit(3)", "exit status 3"),
        ("def f(:", "exit status 1: SyntaxError"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("import os\nwhile True:\n  os.fork()", "processes"),
        (THREADS, "processes"),
        ("while True: print('x' * 1000)", "output"),
        ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "timeout"),
        ("import time; time.sleep(60)", "timeout"),
        ("while True: pass", "timeout"),
        (DEAF, "timeout"),
        ("a = []\nwhile True: a.append(bytes(10**7))", "memory"),
        ("b = bytearray(10**9)", "memory"),
        ("f = open('a', 'wb')\nwhile True: f.write(bytes(2**20))", "exit status 1: OSError: [Errno 27]"),
        ("for i in range(99): open(str(i), 'wb').write(bytes(2**20))", "exit status 1: OSError: [Errno 28]"),
        ("[open('/dev/null') for _ in range(999)]", "exit status 1: OSError: [Errno 24] Too many open files"),
    ],
    ids=lambda value: str(value)[:24].replace("\n", " "),
)  # fmt: skip
def test_limits_hold_and_are_named(program: str, reason: str) -> None:
    started = time.monotonic()
    ran = run_python(program, "", SHORT)
    assert ran.reason.startswith(reason) and not ran.failed_setup, ran
    assert time.monotonic() - started < SHORT.wall_s + sandbox.START_GRACE_S + 1
    assert len(ran.stdout) <= SHORT.output_bytes and len(ran.stderr) <= sandbox.MAX_STDERR


@pytest.mark.parametrize(
    "expression",
    [
        "open('/usr/x', 'w')",
        "open('/x', 'w')",
        "open('/dev/x', 'w')",
        f"open({str(Path(__file__).resolve())!r})",
        "open('/etc/passwd')",
        "open('/etc/shadow')",
        "open('/proc/1/environ').read()",
        "open('/proc/1/mem', 'rb+')",
        "os.listdir('/home')",
        "os.remove('/usr/bin/env')",
        "os.setuid(0) or open('/proc/sys/kernel/hostname', 'w').write('x')",
        "open('/proc/sys/vm/drop_caches', 'w').write('1')",
        "os.mknod('disk', 0o60600, os.makedev(8, 0)) or open('disk', 'rb')",
        "socket.create_connection(('1.1.1.1', 53), 1)",
        "socket.create_connection(('127.0.0.1', PORT), 1)",
        "socket.create_connection(('::1', PORT), 1)",
        "socket.socket(socket.AF_UNIX).connect('/run/systemd/private')",
        "socket.socket(socket.AF_UNIX).connect('\\0ABSTRACT')",
        "os.kill(PARENT, 9)",
        "os.kill(1, 9) or time.sleep(9)",
    ],
)
def test_no_way_out(expression: str) -> None:
    """Files outside, other processes, devices and sockets: an OSError inside, and nothing happens outside."""
    abstract = f"openr1-test-{os.getpid()}"
    with socket.socket() as server, socket.socket(socket.AF_UNIX) as local:
        server.bind(("127.0.0.1", 0))
        server.listen()
        local.bind("\0" + abstract)
        local.listen()
        names = f"PORT = {server.getsockname()[1]}; PARENT = {os.getpid()}"
        code = expression.replace("ABSTRACT", abstract)
        ran = run_python(
            f"import os, socket, time\n{names}\n"
            f"try:\n    {code}\nexcept OSError as e:\n    print('no:', e)\n",
            "",
            SHORT,
        )
    contained = ran.stdout.startswith("no:") or ran.reason in ("timeout", "ended its watcher")
    assert contained and not ran.failed_setup, ran


def test_the_environment_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    ran = run_python(ALL_COMMANDS)
    assert ran.ok and "hf_secret" not in ran.stdout and "pytest" not in ran.stdout


def test_scratch_is_writable_and_forgotten() -> None:
    assert run_python("open('kept', 'w').write('1'); print(open('kept').read())").stdout == "1\n"
    assert run_python("import os; print(os.path.exists('kept'))").stdout == "False\n"


def test_nothing_is_left_running() -> None:
    marker = f"left_{os.getpid()}"
    run_python(f"import os, time\nopen('{marker}.py', 'w').write('import time; time.sleep(60)')\n"
               "if os.fork() == 0:\n  os.setsid()\n"
               f"  os.execv({sandbox.interpreter()!r}, ['python', '{marker}.py'])")  # fmt: skip
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and marker in _commands():
        time.sleep(0.05)
    assert marker not in _commands()


def _commands() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


def test_an_abandoned_sandbox_ends_with_its_parent() -> None:
    """kill -9 of whoever ran it: the program does not go on."""
    marker = f"abandoned-{os.getpid()}"
    program = f"import time; time.sleep(60)  # {marker}"
    code = f"from openr1.rewards.sandbox import *; run_python({program!r}, '', Limits(wall_s=60))"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    )
    # its own descendants: those of the test before may still be ending
    tree = psutil.Process(parent.pid)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and len(tree.children(recursive=True)) < 2:
        time.sleep(0.05)
    children = tree.children(recursive=True)
    parent.kill()
    parent.wait()
    assert len(children) >= 2
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_many_at_once_do_not_disturb_each_other() -> None:
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(run_python(f"print({i})").stdout.strip()))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [str(i) for i in range(8)]


def test_refused_with_exit_5_where_no_walls_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a plain subprocess instead."""
    sandbox.walls.cache_clear()
    monkeypatch.setattr(sandbox, "_INIT", "/nonexistent/init.py")
    monkeypatch.setenv("PATH", "/nonexistent")
    try:
        with pytest.raises(EnvironmentProblem, match="no sandbox") as problem:
            run_python("print(1)")
        assert problem.value.code == 5 and "bubblewrap" in str(problem.value.fix)
    finally:
        monkeypatch.undo()
        sandbox.walls.cache_clear()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_ordinary_user_gets_walls_too() -> None:
    """User namespaces do for everybody what root can do directly."""
    python = "/usr/bin/python3"
    if not Path(python).exists():
        pytest.skip("no system Python")
    root = Path(__file__).parents[2] / "openr1"
    copy = Path(f"/tmp/openr1-user-{os.getpid()}")
    subprocess.run(
        ["cp", "-r", str(root), f"{copy}/"] if copy.mkdir() else ["cp", "-r", str(root), str(copy)],
        check=True,
    )
    subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
    code = (
        "from openr1.rewards.sandbox import *\n"
        "r = run_python('import os; os.fork(); open(\"/usr/x\", \"w\")', '', Limits(wall_s=2.0))\n"
        "print(walls(), r.reason)\n"
    )
    try:
        done = subprocess.run(
            [python, "-c", code], user=65534, group=65534, extra_groups=[], cwd="/", timeout=60, check=False,
            env={"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        subprocess.run(["rm", "-rf", str(copy)], check=True)
    if "no sandbox" in done.stderr:
        pytest.skip("this machine forbids user namespaces to ordinary users")
    assert "Read-only file system" in done.stdout, done.stderr
