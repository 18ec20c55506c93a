"""Children that end well, badly, or never; and parents that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from openr1.errors import ComponentFailed, EnvironmentProblem, Interrupted, OpenR1Error, OutOfMemory
from openr1.launch.command import Command
from openr1.launch.supervise import run

HEAD = """
import os, signal, sys, time
from openr1.runs.events import Events
events = Events()
"""


def script(folder: Path, body: str) -> Command:
    path = folder / "child.py"
    path.write_text(HEAD + textwrap.dedent(body))
    return Command([sys.executable, str(path)])


def outcome(folder: Path, body: str, events: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    seen = events if events is not None else []
    return run(script(folder, body), folder / "log", seen.append)


def test_events_arrive_in_order_and_the_result_comes_back(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    body = """
    events.send("start", total=2, done=0, unit="step")
    print("a word for the log")
    for n in (1, 2): events.send("progress", done=n, metrics={"loss": float("nan")})
    events.send("result", steps=2)
    """
    assert outcome(tmp_path, body, seen) == {"steps": 2}
    names = [e["event"] for e in seen if e["event"] != "tick"]
    assert names == ["start", "progress", "progress", "result"]
    assert "a word for the log" in (tmp_path / "log").read_text()


def test_a_child_that_ended_before_its_words_were_heard_has_not_failed(tmp_path: Path) -> None:
    """Its end is seen at once, its result only after a slow listener took what came before."""

    seen: list[str] = []

    def slow(event: dict[str, Any]) -> None:
        seen.append(event["event"])
        if event["event"] == "start":  # until the child is gone, the rest of its words still in the pipe
            process = psutil.Process(int((tmp_path / "pid").read_text()))
            while process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)

    body = f"""
    open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
    events.send("start", total=1)
    time.sleep(1)
    events.send("progress", done=1)
    events.send("result", steps=1)
    """
    assert run(script(tmp_path, body), tmp_path / "log", slow) == {"steps": 1}
    assert [name for name in seen if name != "tick"] == ["start", "progress", "result"]


def test_the_childs_error_is_the_parents(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        outcome(
            tmp_path,
            """
            from openr1.errors import EnvironmentProblem
            events.send("error", **EnvironmentProblem("no disk", where="/x", fix="free some").as_dict())
            sys.exit(5)
            """,
        )
    assert (caught.value.what, caught.value.where, caught.value.fix) == ("no disk", "/x", "free some")


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("print('the last words'); sys.exit(3)", ComponentFailed, "status 3: the last words"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", ComponentFailed, "signal 11"),
        ("os.kill(os.getpid(), signal.SIGKILL)", OutOfMemory, "signal 9"),
        ("pass", ComponentFailed, "status 0"),
    ],
)
def test_a_child_that_says_nothing_is_no_success(
    tmp_path: Path, body: str, kind: type[OpenR1Error], words: str
) -> None:
    with pytest.raises(kind, match=words):
        outcome(tmp_path, body)


def test_nothing_the_child_started_survives_it(tmp_path: Path) -> None:
    body = """
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    events.send("result", pid=child.pid)
    """
    pid = outcome(tmp_path, body)["pid"]
    assert gone(pid)


def test_one_stop_asks_and_the_child_ends_in_order(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    body = """
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    events.send("start", total=1, done=0, unit="step")
    while not asked: time.sleep(0.01)
    events.send("saved", step=1)
    time.sleep(1)
    sys.exit(130)
    """
    with pytest.raises(Interrupted):
        stopped(tmp_path, body, seen, times=1)
    assert sorted(e["event"] for e in seen if e["event"] != "tick") == ["saved", "start", "stopping"]


def test_a_second_stop_kills_a_child_that_does_not_listen(tmp_path: Path) -> None:
    body = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    events.send("start", total=1, done=0, unit="step")
    time.sleep(600)
    """
    with pytest.raises(Interrupted):
        stopped(tmp_path, body, [], times=2)


def stopped(folder: Path, body: str, seen: list[dict[str, Any]], times: int) -> None:
    """Run, and send this process SIGINT `times` once the child has started."""
    started = threading.Event()

    def listen(event: dict[str, Any]) -> None:
        seen.append(event)
        if event["event"] == "start":
            started.set()

    def press() -> None:
        assert started.wait(60)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        run(script(folder, body), folder / "log", listen)
    finally:
        thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_kill_9_of_the_parent_leaves_no_child(tmp_path: Path) -> None:
    """The child ties itself to the parent, as every child of ours does."""
    child = tmp_path / "child.py"
    child.write_text(
        "import os, time\nfrom openr1.runs.child import die_with_parent\ndie_with_parent()\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import sys\nfrom pathlib import Path\nfrom openr1.launch.command import Command\n"
        "from openr1.launch.supervise import run\n"
        f"run(Command([sys.executable, {str(child)!r}]), Path({str(tmp_path / 'log')!r}), lambda e: None)\n"
    )
    process = subprocess.Popen([sys.executable, str(parent)])
    pid_file = tmp_path / "pid"
    wait_for(lambda: pid_file.exists() and pid_file.read_text() != "")
    process.kill()
    process.wait()
    assert gone(int(pid_file.read_text()))


def wait_for(condition: Any, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def gone(pid: int) -> bool:
    """True once the process has ended (a zombie that its new parent has not reaped counts as ended)."""

    def ended() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return wait_for(ended, 20)
