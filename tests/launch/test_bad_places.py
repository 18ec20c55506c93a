"""What cannot be launched says what is wrong and what to do; nothing is written, nothing is left running."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from openr1.errors import EnvironmentProblem, RecipeError
from openr1.launch import accelerate_file
from openr1.launch.command import Command, Ranks, check_port, free_port, of_ranks, with_parent
from tests.conftest import TINY, Cli, rows_of

START = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    cli = Cli(tmp_path_factory.mktemp("bad"))
    cli.write("tiny.yaml", TINY)
    return cli


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("sft", "--gpus", 9, "--simulate", "8xH100"), 5, ["--gpus 9", "8 GPUs", "--gpus 8 or less"]),
        (
            ("grpo", *START, "--gpus", 4, "--vllm_mode", "server", "--simulate", "4xH100"),
            5,
            ["4 training GPUs + 1 for the vLLM server are 5; there are 4", "--gpus 3"],
        ),
        (
            ("grpo", *START, "--gpus", 7, "--simulate", "4xH100"),
            5,
            ["--gpus 7 asks for more than the 4 GPUs", "--gpus 4 or less"],
        ),
        (
            ("grpo", *START, "--vllm_server_host", "h2", "--simulate", "4xH100"),
            3,
            ["openr1 starts the vLLM server itself", "--vllm_server_base_url http://h2:8000"],
        ),
        (("sft", "--gpus", 2, "--simulate", "cpu"), 5, ["this machine has no GPU", "leave --gpus out"]),
        (("sft", "--processes", 2, "--simulate", "2xH100"), 2, ["--processes 2", "--gpus 2"]),
        (("sft", "--nodes", 2), 2, ["--nodes needs --master", "node1:29500"]),
        (("sft", "--nodes", 2, "--master", "here"), 2, ["here is not HOST:PORT"]),
        (("sft", "--nodes", 2, "--node-rank", 2, "--master", "a:1"), 2, ["--node-rank 2 of 2 nodes"]),
        (("sft", "--node-rank", 1), 2, ["--nodes 2"]),
        (("sft", "--processes", 3), 3, ["global_batch_size 8", "3 ranks"]),
        (("sft", "--accelerate-config", "none.yaml"), 3, ["none.yaml", "check the path"]),
    ],
)
def test_refused_with_words(place: Cli, words: tuple[object, ...], code: int, says: list[str]) -> None:
    stage, *rest = words
    done = place(stage, "tiny.yaml", *rest, "--dry-run", code=code)
    for text in says:
        assert text in done.err
    assert not (place.folder / "runs").exists()


def test_seven_and_one(place: Cli) -> None:
    """`openr1 grpo --gpus 7` on eight cards: seven train, the eighth serves, as the original recipe."""
    words = ("grpo", "tiny.yaml", *START, "--gpus", 7, "--simulate", "8xH100", "--num_generations", 7)
    plan = place(*words, "--global_batch_size", 49, "--dry-run", "--json").json["plan"]
    assert plan["processes"] == 7
    assert plan["train_gpus"] == list(range(7))
    assert plan["vllm_gpus"] == [7]
    assert plan["values"]["vllm_mode"]["value"] == "server"
    shown = place(*words, "--global_batch_size", 49, "--vllm_server_port", 8123, "--dry-run").out
    assert "CUDA_VISIBLE_DEVICES=7" in shown and "--port 8123" in shown


def test_seven_and_one_on_two_nodes(place: Cli) -> None:
    """Seven train on each node, the first node's eighth GPU serves them all; the idle one is named."""
    words = ("grpo", "tiny.yaml", "--model_name_or_path", "Qwen/Qwen2.5-1.5B", "--gpus", 7, "--nodes", 2)
    words = (*words, "--master", "a:29500", "--simulate", "8xH100", "--num_generations", 7)
    plan = place(*words, "--global_batch_size", 98, "--dry-run", "--json").json["plan"]
    assert (plan["processes"], plan["nodes"], plan["vllm_nodes"]) == (14, 2, 0)
    assert (plan["train_gpus"], plan["vllm_gpus"]) == (list(range(7)), [7])
    assert plan["values"]["vllm_mode"]["value"] == "server"
    assert any("1 GPU(s) of the other nodes do nothing" in words for words in plan["warnings"])


def test_a_port_in_use(place: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"port {port} cannot be used here"):
            check_port(port, "--master")
        done = place("sft", "tiny.yaml", "--nodes", 2, "--master", f"localhost:{port}", code=5)
    assert f"port {port}" in done.err
    assert "name a port that is free on the first node" in done.err
    check_port(free_port(), "--master")


@pytest.mark.slow
def test_a_node_that_never_comes_up(cli: Cli, tiny: str) -> None:
    words = ("sft", tiny, "--nodes", 2, "--master", f"localhost:{free_port()}")
    done = cli(*words, code=5, OPENR1_MEETING_SECONDS="5")
    assert "1 of 2 ranks did not come up within 5 s: node 1" in done.err
    assert "--node-rank" in done.err
    done = cli(*words, "--node-rank", 1, code=7, OPENR1_MEETING_SECONDS="3")
    assert "the first rank at localhost" in done.err
    assert "firewall" in done.err


@pytest.mark.slow
def test_a_file_system_that_is_not_shared(cli: Cli, tiny: str) -> None:
    words = ("sft", tiny, "--nodes", 2, "--master", f"localhost:{free_port()}")
    other = cli.start(*words, "--node-rank", 1, OPENR1_RUNS_DIR=str(cli.folder / "elsewhere"))
    done = cli(*words, code=5)
    _, err = other.communicate(timeout=120)
    assert other.returncode == 5
    for text in (done.err, err):
        assert "run folder" in text
        assert "share" in text


@pytest.mark.slow
def test_two_nodes_without_slurm(cli: Cli, tiny: str) -> None:
    """Two `nodes` of this host train what one process trains."""
    words = ("sft", tiny, "--nodes", 2, "--master", f"localhost:{free_port()}")
    other = cli.start(*words, "--node-rank", 1)
    done = cli(*words)
    assert other.wait(120) == 0
    assert "12 steps" in done.out
    (run,) = (cli.folder / "runs").glob("tiny-sft-*")
    assert (run / "logs" / "attempt-1" / "rank-0.log").exists()
    assert (run / "logs" / "node-1" / "attempt-1" / "rank-1.log").exists()


def test_ranks_are_told_who_they_are_and_nothing_that_others_said(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Command(["x"], {"A": "1"})
    assert of_ranks(one, Ranks(1, 1)) == [one]
    assert of_ranks(one, Ranks(1, 1), (3,))[0].env == {"A": "1", "CUDA_VISIBLE_DEVICES": "3"}
    second = of_ranks(one, Ranks(2, 4, node=1, host="h", port=9), (0, 1))
    assert [c.env["RANK"] for c in second] == ["2", "3"]
    assert [c.env["LOCAL_RANK"] for c in second] == ["0", "1"]
    assert {c.env["WORLD_SIZE"] for c in second} == {"4"}
    assert {c.env["MASTER_ADDR"] + c.env["MASTER_PORT"] for c in second} == {"h9"}
    for name in ("RANK", "PMI_RANK", "ACCELERATE_USE_DEEPSPEED", "MASTER_ADDR", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "7")
    assert not {"RANK", "PMI_RANK", "ACCELERATE_USE_DEEPSPEED", "MASTER_ADDR"} & set(with_parent({}))


FILE = """\
compute_environment: LOCAL_MACHINE
distributed_type: {kind}
{more}
num_machines: 1
num_processes: 2
mixed_precision: 'no'
use_cpu: true
"""
ZERO2 = "deepspeed_config: {zero_stage: 2, zero3_init_flag: false, gradient_accumulation_steps: 1}"


def test_files_of_accelerate_config(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for kind, more, sharding in (
        ("MULTI_GPU", "", "ddp"),
        ("DEEPSPEED", ZERO2, "zero2"),
        ("FSDP", "fsdp_config: {fsdp_version: 2}", "fsdp"),
        ("DEEPSPEED", f"deepspeed_config: {{deepspeed_config_file: {tmp_path}/ds.json}}", "zero3"),
    ):
        (tmp_path / "ds.json").write_text('{"zero_optimization": {"stage": 3}}')
        path.write_text(FILE.format(kind=kind, more=more))
        found = accelerate_file.read(path)
        assert (found.sharding, found.processes, found.machines, found.on_cpu) == (sharding, 2, 1, True)
    for text, says in (
        ("a: 1", "no file of `accelerate config`"),
        ("[", "not YAML"),
        ("distributed_type: TPU", "TPU is not launched"),
        ("distributed_type: NO\nnum_processes: x", "num_processes must be"),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: 3", "must be a map"),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {deepspeed_config_file: no.json}", "no.json cannot"),
    ):
        path.write_text(text)
        with pytest.raises(RecipeError, match=says):
            accelerate_file.read(path)


def test_a_file_of_ones_own_is_the_plans_reason(place: Cli) -> None:
    """Its ranks and sharding, for the machines and cards it is for; the batch stays the recipe's."""
    text = FILE.replace("use_cpu: true", "").replace("num_processes: 2", "num_processes: 8")
    place.write("zero3.yaml", text.format(kind="DEEPSPEED", more=ZERO2.replace("2", "3", 1)))
    place.write("fsdp.yaml", text.format(kind="FSDP", more="fsdp_config: {fsdp_version: 2}"))
    place.write("two.yaml", text.replace("machines: 1", "machines: 2").format(kind="MULTI_GPU", more=""))
    words = ("sft", "tiny.yaml", "--model_name_or_path", "Qwen/Qwen2.5-0.5B", "--dry-run")
    words = (*words, "--global_batch_size", 64, "--per_device_train_batch_size", 4, "--accelerate-config")
    found = place(*words, "zero3.yaml", "--simulate", "8xH100", "--json").json
    plan = found["plan"]
    assert (plan["processes"], plan["sharding"]) == (8, "zero3")
    assert plan["processes_reason"] == plan["sharding_reason"] == "as zero3.yaml says"
    assert any("gradient_accumulation_steps 1 gives way" in notice for notice in found["notices"])
    plan = place(*words, "fsdp.yaml", "--simulate", "8xH100", "--json").json["plan"]
    assert (plan["sharding"], "deepspeed" in plan["requires"]) == ("fsdp", False)
    assert plan["values"]["dtype"]["value"] == "float32", "FSDP keeps no masters beside 16-bit weights"
    few = place(*words, "zero3.yaml", "--simulate", "4xH100", code=5)
    assert "the file is for 8 GPUs, this machine shows 4" in few.err and "--gpus 4" in few.err
    alone = place(*words, "two.yaml", "--simulate", "8xH100", code=3)
    assert "the file is for 2 machines, this command for 1" in alone.err and "--nodes 2" in alone.err


@pytest.mark.slow
def test_an_accelerate_file_of_ones_own(cli: Cli, tiny: str) -> None:
    """Trains what one process trains, although the file counts its steps and clips otherwise."""
    clips = ZERO2.replace("steps: 1", "steps: 1, gradient_clipping: 1.0")
    cli.write("zero2.yaml", FILE.format(kind="DEEPSPEED", more=clips))
    # SGD: the clipping shows in every step, which Adam would level
    words = ("sft", tiny, "--max_grad_norm", 0.2, "--optim", "sgd", "--learning_rate", 0.5)
    cli(*words, "--run_name", "one")
    words = (*words, "--accelerate-config", "zero2.yaml", "--per_device_train_batch_size", 2)
    done = cli(*words, "--run_name", "own")
    assert "12 steps" in done.out
    assert "gradient_clipping 1.0 gives way to max_grad_norm 0.2" in done.err
    run = cli.folder / "runs" / "own"
    losses = [[row["loss"] for row in rows_of(run.with_name(n) / "metrics.jsonl")] for n in ("own", "one")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert list(run.glob("checkpoints/checkpoint-12/global_step12/*zero*")), (
        "DeepSpeed did not save its states"
    )
    assert not (run / "deepspeed.json").exists()
    done = cli(*words, "--sharding", "zero3", "--run_name", "own", "--fresh", code=3)
    assert "contradict each other" in done.err
