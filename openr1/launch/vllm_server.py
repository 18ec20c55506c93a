"""A vLLM server that ranks or a client depend on: start it, see that it answers, watch it, end it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from openr1.errors import ComponentFailed, Interrupted, OpenR1Error
from openr1.launch.command import Command, free_port, with_parent
from openr1.launch.line import url
from openr1.launch.signals import stops_go_to

START_SECONDS = 900  # weights of 70B from a slow disk, compilation, CUDA graphs
PATIENCE_SECONDS = 300  # the queue of a whole rollout may be before the token that is asked for
PROBE_EVERY = 15.0
METRICS_SECONDS = 10.0  # the API's process answers these itself, however busy the engine is
LOADING_BYTES_PER_SECOND = 250e6  # of one node's share of the weights, from a slow file system
TOKENS = re.compile(r"vllm:(prompt|generation)_tokens_total[{ ]")  # of vLLM's /metrics
POINTS = re.compile(r"Traceback|See (root cause|stack trace)")
TRACED = '{"mode": 2, "backend": "eager"}'  # compiled as far as vLLM can tell, in no time
CPU_EXTENSION = "openr1.training.vllm_worker.WeightsFromFile"


@dataclass(frozen=True)
class Sampling:
    """What a server for samples is told beside the model.

    Args:
        environment: of this engine: its cards, its threads.
        node_rank, nodes, master: this node's place among those of one engine, and where they meet
            (HOST, PORT). Nodes above 0 answer no requests.
        address: this node's address for the others; they reach the server there.
        ray: address of the Ray cluster that joins the nodes, instead of vLLM's own multi-node mode.
    """

    dtype: str = "auto"
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    memory_share: float = 0.9
    at_once: int = 256
    weight_bytes: int = 0  # of one node, for the patience while it loads
    environment: Mapping[str, str] = field(default_factory=dict)
    node_rank: int = 0
    nodes: int = 1
    master: tuple[str, int] | None = None
    address: str | None = None
    ray: str | None = None


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
    sampling: Sampling | None = None
    """How a server for samples is run; None where it serves a trainer."""

    @property
    def url(self) -> str:
        return url(self.host, self.port)

    @property
    def silent(self) -> bool:
        """A node of an engine that answers on another one."""
        return self.sampling is not None and self.sampling.node_rank > 0


def command(serve: Serve) -> Command:
    """The server's command line."""
    return _for_trainer(serve) if serve.sampling is None else _for_samples(serve, serve.sampling)


def _for_samples(serve: Serve, how: Sampling) -> Command:
    """A server as vLLM 0.32 takes it, whose defaults are ours and not those of a generation_config.json."""
    on_cards = "CUDA_VISIBLE_DEVICES" in how.environment
    argv = [sys.executable, "-m", "openr1.launch.bound", sys.executable, "-m"]
    argv += ["vllm.entrypoints.cli.main" if on_cards else "openr1.launch.vllm_cli", "serve", serve.model]
    argv += ["--host", "127.0.0.1" if how.address is None else "0.0.0.0"]
    argv += ["--port", str(serve.port), "--uvicorn-log-level", "warning", "--generation-config", "vllm"]
    argv += ["--dtype", how.dtype, "--max-num-seqs", str(how.at_once)]
    argv += ["--tensor-parallel-size", str(how.tensor_parallel)]
    if how.pipeline_parallel > 1:
        argv += ["--pipeline-parallel-size", str(how.pipeline_parallel)]
    env = {"HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1", **how.environment}
    if how.ray is not None:
        argv += ["--distributed-executor-backend", "ray"]
        env["RAY_ADDRESS"] = how.ray
    elif how.nodes > 1:
        assert how.master is not None
        argv += ["--distributed-executor-backend", "mp", "--nnodes", str(how.nodes)]
        argv += ["--node-rank", str(how.node_rank), "--master-addr", how.master[0]]
        argv += ["--master-port", str(how.master[1])]
    if serve.silent:
        argv += ["--headless"]
    if how.address is not None:
        env["VLLM_HOST_IP"] = how.address
    if on_cards:
        argv += ["--gpu-memory-utilization", str(how.memory_share)]
    else:
        # Eager, a stage fails on its first request: the CPU worker makes what a stage receives into while it
        # warms up a compiled model, and only then (vLLM 0.32).
        argv += ["--enforce-eager"] if how.pipeline_parallel == 1 else ["--compilation-config", TRACED]
        # Bound to cores, several servers would all take the first ones.
        env["VLLM_CPU_OMP_THREADS_BIND"] = os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        env["VLLM_CPU_KVCACHE_SPACE"] = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")
    return Command(argv + _model_options(serve), env)


def _model_options(serve: Serve) -> list[str]:
    found = []
    if serve.max_length:
        found += ["--max-model-len", str(serve.max_length)]
    if serve.revision:
        found += ["--revision", serve.revision, "--tokenizer-revision", serve.revision]
    return [*found, "--trust-remote-code"] if serve.trust_remote_code else found


def _for_trainer(serve: Serve) -> Command:
    """The command line as TRL's trainers need it (`trl.scripts.vllm_serve.build_command`, 1.16).

    On a CPU the weights come through a file: vLLM's transfer engines all need a card.
    """
    argv = [sys.executable, "-m", "openr1.launch.bound", sys.executable, "-m"]
    if serve.gpus:
        argv += ["vllm.entrypoints.cli.main", "serve", serve.model]
    else:  # `vllm serve` asks for a package called `vllm`, and the CPU build's is called `vllm-cpu`
        argv += ["vllm.entrypoints.openai.api_server", "--model", serve.model]
    argv += ["--host", serve.host, "--port", str(serve.port), "--uvicorn-log-level", "warning"]
    argv += ["--logprobs-mode", "processed_logprobs", "--max-logprobs", "-1"]
    argv += _model_options(serve)
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


class Part:
    """A process that the run depends on, in a group of its own; a guard for `supervise.run_ranks`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, name: str, fix: str) -> None:
        self.process, self.log, self.name, self.fix = process, log, name, fix

    def problem(self) -> OpenR1Error | None:
        """It has ended."""
        code = self.process.poll()
        if code is None:
            return None
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return ComponentFailed(
            f"{self.name} ended with {how}{self._cause()}", where=str(self.log), fix=self.fix
        )

    def _cause(self) -> str:
        """The last line that names an error, and does not point to an earlier one."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace")[-20000:].splitlines()
            named = [line for line in lines if "Error" in line and not POINTS.search(line)]
            if named:
                return f": {named[-1].strip()[-200:]}"
        return ""

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Server(Part):
    """A running server."""

    def __init__(self, serve: Serve, process: subprocess.Popen[bytes], log: Path) -> None:
        trains = serve.sampling is None
        again = "give the same command again to continue" + (" from the last checkpoint" if trains else "")
        super().__init__(process, log, "the vLLM server", f"its log has the cause; {again}")
        self.otherwise = (
            "--use_vllm false trains without it" if trains else "--backend transformers does without it"
        )
        self.hanging = f"{again}; if it happens again, " + (
            "--vllm_mode colocate or --use_vllm false" if trains else "--backend vllm or --batch_size N"
        )
        self.serve = serve
        self.patience = float(os.environ.get("OPENR1_SERVER_PATIENCE", PATIENCE_SECONDS))
        weights = 0 if serve.sampling is None else serve.sampling.weight_bytes
        self.start_seconds = START_SECONDS + weights / LOADING_BYTES_PER_SECOND
        self._answered = time.monotonic()
        self._watching = False

    def wait_until_ready(self, tick: Callable[[], None]) -> None:
        """Until it has completed a token.

        Raises:
            ComponentFailed: it ended, or has not answered in time.
        """
        end = time.monotonic() + self.start_seconds
        while not self._complete_beside(tick):
            if time.monotonic() > end:
                raise ComponentFailed(
                    f"the vLLM server has not completed a token within "
                    f"{self.start_seconds // 60:.0f} minutes",
                    where=str(self.log),
                    fix=f"its log says what it does; {self.otherwise}",
                )
            time.sleep(0.5)
        self._answered = time.monotonic()

    def _complete_beside(self, tick: Callable[[], None]) -> bool:
        """Ask for a token while a stop and the server's end are still heard.

        Raises:
            OpenR1Error: the server has ended, or what `tick` raises.
        """
        answers: list[bool] = []
        ask = threading.Thread(target=lambda: answers.append(self._complete(self.patience)), daemon=True)
        ask.start()
        while True:
            ask.join(0.2)
            tick()
            problem = super().problem()
            if problem is not None:
                raise problem
            if not ask.is_alive():
                return answers == [True]

    def watch(self) -> None:
        """Ask for a token now and then, in a thread of its own."""
        self._watching = True
        threading.Thread(target=self._ask_on, daemon=True).start()

    def _ask_on(self) -> None:
        while self._watching:
            before = self._tokens()
            if self._complete(timeout=self.patience) or self._tokens() > before:
                self._answered = time.monotonic()
            time.sleep(self._pause)

    @property
    def _pause(self) -> float:
        return min(PROBE_EVERY, self.patience / 4)

    def _tokens(self) -> float:
        """Tokens read and made so far, 0 where it does not say; ours may wait behind a long rollout."""
        try:
            with urllib.request.urlopen(f"{self.serve.url}/metrics", timeout=METRICS_SECONDS / 2) as answer:
                lines = answer.read().decode("utf-8", "replace").splitlines()
        except (OSError, ValueError):
            return 0.0
        return sum(float(line.split()[-1]) for line in lines if TOKENS.match(line))

    def problem(self) -> OpenR1Error | None:
        """It has ended, or works no more."""
        silent = time.monotonic() - self._answered
        if self._watching and silent > self.patience + self._pause + METRICS_SECONDS:
            return ComponentFailed(
                f"the vLLM server hangs: no token for {silent:.0f} s",
                where=str(self.log),
                fix=self.hanging,
            )
        return super().problem()

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
        super().stop()


def start(command: Command, log: Path) -> subprocess.Popen[bytes]:
    """A process that leads a group of its own and writes to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command.argv,
            env=with_parent(command.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextlib.contextmanager
def running(serve: Serve, log: Path) -> Iterator[Server]:
    """The server, ready and watched; nothing of it is left afterwards.

    Raises:
        ComponentFailed: it does not come up.
        Interrupted: a stop was asked for meanwhile.
    """
    serve = replace(serve, port=serve.port or free_port(), group_port=serve.group_port or free_port())
    server = Server(serve, start(command(serve), log), log)
    try:
        with stop_raises() as check:
            server.wait_until_ready(check)
        server.watch()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def stop_raises() -> Iterator[Callable[[], None]]:
    """SIGINT and SIGTERM are kept until `check()` is called, which raises Interrupted."""
    asked: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        asked.append(signum)

    def check() -> None:
        if asked:
            raise Interrupted("stopped while the vLLM server was starting", fix="the same command continues")

    with stops_go_to(stop):
        yield check
        check()
