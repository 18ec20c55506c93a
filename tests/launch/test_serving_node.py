"""The node that serves vLLM and the first one: what each says when they do not find each other."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from openr1.launch.command import free_port
from tests.conftest import Cli

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
WORDS = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64", "--use_vllm", "true")
WORDS = (*WORDS, "--vllm_mode", "server", "--nodes", "2")


def test_the_last_node_serves_and_does_not_train(cli: Cli, tiny: str) -> None:
    words = ("grpo", tiny, *WORDS, "--master", "localhost:29500", "--dry-run")
    plan = cli(*words, "--json").json["plan"]
    assert (plan["processes"], plan["nodes"], plan["vllm_nodes"]) == (1, 2, 1)
    assert "a vLLM server on the last node" in cli(*words).out


def test_a_node_that_never_comes_up(cli: Cli, tiny: str) -> None:
    words = ("grpo", tiny, *WORDS, "--master", f"localhost:{free_port()}")
    done = cli(*words, code=5, OPENR1_MEETING_SECONDS="1")
    assert "node 1 did not come up within 1 s" in done.err
    assert "same command there with its --node-rank" in " ".join(done.err.split())
    done = cli(*words, "--node-rank", 1, code=7, OPENR1_MEETING_SECONDS="1")
    assert "the first node cannot be reached at localhost:" in done.err
    assert "firewall" in done.err


def test_a_port_in_use(cli: Cli, tiny: str) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("grpo", tiny, *WORDS, "--master", f"localhost:{port - 1}")
        done = cli(*words, code=5)
    assert f"port {port} cannot be used here" in done.err
    assert "the one after it must be free too" in " ".join(done.err.split())


def test_a_servers_port_in_use(cli: Cli, tiny: str) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("grpo", tiny, *WORDS[:-2], "--vllm_server_port", port, code=5)
    assert f"port {port} cannot be used here" in done.err
    assert "another --vllm_server_port" in done.err


def test_nodes_that_were_given_other_commands(cli: Cli, tiny: str) -> None:
    words = ("grpo", tiny, *WORDS, "--master", f"localhost:{free_port()}")
    last = cli.start(*words, "--node-rank", 1, "--learning_rate", "1e-6")
    done = cli(*words, code=5)
    out, err = last.communicate(timeout=300)
    assert "node 1 was started for another configuration" in done.err
    assert last.returncode == 5, out + err
    assert "another configuration" in err


def test_a_stop_while_waiting(cli: Cli, tiny: str) -> None:
    process = cli.start("grpo", tiny, *WORDS, "--master", f"localhost:{free_port()}")
    cli.when(process, "runs/*/manifest.json", '"running"', lambda p: p.terminate())
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
