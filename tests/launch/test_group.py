"""Several children at once: whose failure it was, who hears a stop, and what is left."""

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

import pytest

from openr1.errors import ComponentFailed, Interrupted, OpenR1Error, OutOfMemory, RecipeError
from openr1.launch import supervise
from openr1.launch.command import Command, free_port
from openr1.launch.vllm_server import Serve, Server, command, running
from tests.launch.test_supervise import HEAD, gone, wait_for

END = "os.kill(os.getpid(), signal."
HANG = "time.sleep(600)"
WELL = 'events.send("result", rank=int(sys.argv[1]))'
ECHO = """
from openr1.errors import OpenR1Error
events.send("error", **OpenR1Error("RuntimeError: [gloo] Connection closed by peer [::1]:1").as_dict())
sys.exit(7)
"""


def ranks(
    folder: Path, *bodies: str, guards: Any = (), seen: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    commands, logs = [], []
    for number, body in enumerate(bodies):
        path = folder / f"child-{number}.py"
        path.write_text(HEAD + textwrap.dedent(body))
        commands.append(Command([sys.executable, str(path), str(number)]))
        logs.append(folder / f"rank-{number}.log")
    events = seen if seen is not None else []
    return supervise.run_ranks(commands, logs, events.append, guards)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "GRACE", 0.5)


def test_the_first_ranks_events_and_result_count(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    said = 'events.send("phase", name=sys.argv[1])\n' + WELL
    assert ranks(tmp_path, said, said, seen=seen) == {"rank": 0}
    assert [e["name"] for e in seen if e["event"] == "phase"] == ["0"]


@pytest.mark.parametrize(
    ("bodies", "kind", "words"),
    [
        (
            (ECHO, "print('bus'); os.kill(os.getpid(), signal.SIGBUS)"),
            ComponentFailed,
            "rank 1: .*signal 7: bus",
        ),
        (
            ("time.sleep(0.3)" + ECHO, "os.kill(os.getpid(), signal.SIGKILL)"),
            OutOfMemory,
            "rank 1: .*signal 9",
        ),
        ((HANG, "sys.exit(3)"), ComponentFailed, "rank 1: .*status 3"),
        ((WELL, "time.sleep(0.2); sys.exit(3)"), ComponentFailed, "rank 1: .*status 3"),
        ((HANG, ECHO), OpenR1Error, "rank 1: .*Connection closed"),
    ],
)
def test_the_cause_is_the_first_failure_that_is_no_echo(
    tmp_path: Path, bodies: tuple[str, ...], kind: type[OpenR1Error], words: str
) -> None:
    with pytest.raises(kind, match=words):
        ranks(tmp_path, *bodies)


def test_a_stop_reaches_every_rank(tmp_path: Path) -> None:
    body = """
    from openr1.errors import Interrupted
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    open(f"{sys.argv[0]}.up", "w").close()
    while not asked: time.sleep(0.01)
    open(f"{sys.argv[0]}.asked", "w").close()
    events.send("error", **Interrupted("stopped after step 3").as_dict())
    sys.exit(130)
    """

    def press() -> None:
        wait_for(lambda: len(list(tmp_path.glob("*.up"))) == 2)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(Interrupted, match="stopped after step 3"):
        ranks(tmp_path, body, body)
    thread.join()
    assert len(list(tmp_path.glob("*.asked"))) == 2


def test_what_the_ranks_depend_on_is_the_cause(tmp_path: Path) -> None:
    class Broken:
        asked = 0

        def problem(self) -> OpenR1Error | None:
            self.asked += 1
            return RecipeError("the server is gone") if self.asked > 2 else None

    with pytest.raises(RecipeError, match="the server is gone"):
        ranks(tmp_path, HANG, HANG, guards=[Broken()])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_bound_program_and_its_children_end_with_the_parent(tmp_path: Path, how: signal.Signals) -> None:
    """As a vLLM server whose engine is a process of its own."""
    (tmp_path / "engine.py").write_text(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    (tmp_path / "server.py").write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, {str(tmp_path / 'engine.py')!r}])\n"
    )
    (tmp_path / "parent.py").write_text(
        "import os, subprocess, sys\nfrom openr1.launch.command import with_parent\n"
        f"subprocess.run([sys.executable, '-m', 'openr1.launch.bound', sys.executable, "
        f"{str(tmp_path / 'server.py')!r}], env=with_parent({{}}), start_new_session=True)\n"
    )
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")])
    pid = tmp_path / "pid"
    assert wait_for(lambda: pid.exists() and pid.read_text() != "")
    parent.send_signal(how)
    parent.wait()
    assert gone(int(pid.read_text()))


# ---- a server that is no vLLM, to see the watching itself ----

FAKE = """
import http.server, json, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        if os.path.exists(sys.argv[2]): time.sleep(600)
        body = json.dumps({"choices": [{"text": "1"}]}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        made = time.monotonic() if os.path.exists(sys.argv[2] + "-busy") else 7
        text = '# HELP vllm:generation_tokens_total x\\nvllm:generation_tokens_total{engine="0"} '
        body = f"{text}{made}\\n".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def fake(folder: Path, patience: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Server, Path]:
    monkeypatch.setenv("OPENR1_SERVER_PATIENCE", patience)
    monkeypatch.setattr("openr1.launch.vllm_server.PROBE_EVERY", 0.1)
    monkeypatch.setattr("openr1.launch.vllm_server.METRICS_SECONDS", 0.5)
    (folder / "fake.py").write_text(FAKE)
    port, silent = free_port(), folder / "silent"
    argv = [sys.executable, str(folder / "fake.py"), str(port), str(silent)]
    process = subprocess.Popen(argv, start_new_session=True)
    log = folder / "vllm.log"
    log.write_text("x\nRuntimeError: the cause\nTraceback\n")
    return Server(Serve("m", port=port), process, log), silent


def test_a_server_that_answers_then_hangs_then_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, silent = fake(tmp_path, "1", monkeypatch)
    try:
        server.wait_until_ready(lambda: None)
        server.watch()
        time.sleep(0.5)
        assert server.problem() is None
        silent.touch()
        assert wait_for(lambda: server.problem() is not None, 30)
        assert "hangs: no token for" in str(server.problem())
        server.process.kill()
        server.process.wait()
        server._answered = time.monotonic()
        assert "ended with signal 9: RuntimeError: the cause" in str(server.problem())
    finally:
        server.stop()


def test_a_server_that_is_busy_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue is longer than our patience, and it makes tokens all the time."""
    server, silent = fake(tmp_path, "0.3", monkeypatch)
    busy = silent.with_name("silent-busy")
    busy.touch()
    try:
        server.wait_until_ready(lambda: None)
        silent.touch()
        server.watch()
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            assert server.problem() is None
            time.sleep(0.05)
        busy.unlink()
        assert wait_for(lambda: server.problem() is not None, 30)
        assert "hangs: no token for" in str(server.problem())
    finally:
        server.stop()


def test_a_stop_and_an_end_are_heard_while_the_first_token_is_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, silent = fake(tmp_path, "300", monkeypatch)
    silent.touch()
    begun = time.monotonic()

    def stop() -> None:
        if time.monotonic() - begun > 1.0:
            raise Interrupted("stopped")

    try:
        with pytest.raises(Interrupted):
            server.wait_until_ready(stop)
        server.process.kill()
        with pytest.raises(ComponentFailed, match="signal 9"):
            server.wait_until_ready(lambda: None)
    finally:
        server.stop()
    assert time.monotonic() - begun < 60


def test_a_server_that_does_not_come_up_is_told_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = "RuntimeError: Engine core initialization failed. See root cause above."
    program = f"import sys, atexit; atexit.register(print, {points!r}, file=sys.stderr)"
    broken = Command([sys.executable, "-c", f"{program}; raise ValueError('no such model')"])
    monkeypatch.setattr("openr1.launch.vllm_server.command", lambda serve: broken)
    with (
        pytest.raises(ComponentFailed, match="ended with status 1: ValueError: no such model"),
        running(Serve("m"), tmp_path / "vllm.log"),
    ):
        pass


def test_the_servers_command_line() -> None:
    cards = command(Serve("m", gpus=(6, 7), max_length=1024, port=5, revision="r"))
    text = str(cards)
    assert "CUDA_VISIBLE_DEVICES=6,7" in text
    assert "--tensor-parallel-size 2" in text
    assert '--weight-transfer-config \'{"backend": "nccl"}\'' in text
    assert "--max-model-len 1024 --revision r" in text
    assert "--worker-extension-cls" not in text
    assert "--worker-extension-cls" in str(command(Serve("m", port=5)))
