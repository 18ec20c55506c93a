"""Jobs of Slurm: the script says what was typed, and a real two-node Slurm runs it to the end."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from openr1.errors import RecipeError, UsageError
from openr1.hardware.slurm import parse_partitions
from openr1.launch.slurm import (
    NOTICE_SECONDS,
    Job,
    Site,
    directives,
    limit_seconds,
    notice_seconds,
    render,
)
from openr1.services import slurm as service
from tests.conftest import TINY, Cli, only_run, rows_of
from tests.launch import slurm_cluster
from tests.launch.slurm_cluster import Cluster

ODD = "a \"b\" 'c' $(touch gone) `touch gone` \\n \nnext; exit 9 # %j é"
START = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")


def job(folder: Path, **more: Any) -> Job:
    place = folder / 'run\'s "folder" 100%' / "slurm"
    place.mkdir(parents=True)
    return Job("odd", [sys.executable, "-m", "openr1", "sft", ODD], folder, place / "job.sh",
               place / "job-%j.out", **more)  # fmt: skip


@pytest.mark.parametrize("nodes", [1, 2])
def test_every_word_arrives_as_it_was_typed(tmp_path: Path, nodes: int) -> None:
    """The script is run by bash, with an srun that writes down its arguments and starts them."""
    tools = tmp_path / "tools"
    tools.mkdir()
    recorder = (
        "import json, os, sys; json.dump([sys.argv[1:], os.environ['OPENR1_SUBMITTED']], open('seen', 'w'))"
    )
    (tools / "record.py").write_text(recorder)
    (tools / "srun").write_text('#!/bin/bash\nwhile [[ "$1" == --* ]]; do shift; done\nexec "$@"\n')
    (tools / "scontrol").write_text(
        '#!/bin/bash\n[ "$2" = hostnames ] && echo n1 || echo NodeAddr=10.0.0.1\n'
    )
    for tool in ("srun", "scontrol"):
        (tools / tool).chmod(0o755)
    one = job(tmp_path, nodes=nodes)
    argv = [sys.executable, str(tools / "record.py"), "sft", ODD]
    one.script.write_text(render(Job(**{**vars(one), "argv": argv})))
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "5"}
    env |= {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_PROCID": "1"}
    subprocess.run(["bash", str(one.script)], env=env, check=True, cwd=tmp_path)
    words, expected = json.loads((tmp_path / "seen").read_text())
    more = ["--nodes", "2", "--node-rank", "1", "--master", "10.0.0.1:20035"] if nodes > 1 else []
    assert words == ["sft", ODD, *more]
    assert expected == str(one.expected)
    assert not (tmp_path / "gone").exists()


def test_a_line_break_cannot_smuggle_a_directive(tmp_path: Path) -> None:
    one = job(tmp_path, partition="cpu\n#SBATCH --account=other")
    with pytest.raises(UsageError, match="line break"):
        render(one)
    lines = directives(
        job(tmp_path / "x", partition='a "b"', time="1:00:00", gpus_per_node=4, whole_nodes=False)
    )
    assert '--partition="a \\"b\\""' in lines
    assert "--gres=gpu:4" in lines
    assert "--exclusive" not in lines
    assert next(line for line in lines if line.startswith("--output=")).endswith('100%%/slurm/job-%j.out"')


@pytest.mark.parametrize(
    ("codes", "restarts", "requeues"),
    [
        ([130] * 5, 50, 5),  # time limits, many of them
        ([7, 137, 143, 7], 50, 3),  # failures, counted without the time limits
        ([5], 0, 0), ([6], 0, 0), ([0], 0, 0), ([130], 200, 0),
    ],
)  # fmt: skip
def test_a_job_is_tried_again_where_that_may_help(
    tmp_path: Path, codes: list[int], restarts: int, requeues: int
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "srun").write_text('#!/bin/bash\nexit "$CODE"\n')
    (tools / "scontrol").write_text(f'#!/bin/bash\necho "$@" >> {tools}/asked\n')
    (tools / "sleep").write_text("#!/bin/bash\n")
    for tool in ("srun", "scontrol", "sleep"):
        (tools / tool).chmod(0o755)
    one = job(tmp_path)
    one.script.write_text(render(one))
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "5"}
    for number, code in enumerate(codes):
        env |= {"SLURM_RESTART_COUNT": str(restarts + number), "CODE": str(code)}
        assert subprocess.run(["bash", str(one.script)], env=env).returncode == code
    asked = (tools / "asked").read_text().splitlines() if requeues else []
    assert asked == ["requeue 5"] * requeues
    assert (tools / "asked").exists() is (requeues > 0)


def test_the_notice_holds_a_step_and_a_checkpoint() -> None:
    assert notice_seconds(2.0, 10**9, None) == NOTICE_SECONDS
    assert notice_seconds(166.0, 46 * 10**9, None) == 60 + 166 + 92
    assert notice_seconds(166.0, 46 * 10**9, 600) == 300, "half of the limit is for work"
    assert notice_seconds(2.0, 0, limit_seconds("2")) == 60
    times = {
        "90": 5400,
        "90:30": 5430,
        "12:00:00": 43200,
        "1-0": 86400,
        "1-02:03": 93780,
        "1-00:00:01": 86401,
    }
    assert {text: limit_seconds(text) for text in times} == times
    assert limit_seconds("infinite") is limit_seconds("UNLIMITED") is None
    for wrong in ("banana", "1:2:3:4", "1-", "-5", ""):
        with pytest.raises(ValueError):
            limit_seconds(wrong)


def test_another_plan_than_at_submission_is_said_in_figures(tmp_path: Path) -> None:
    then = {"processes": 8, "nodes": 1, "sharding": "ddp", "train_gpus": list(range(8)), "vllm_gpus": []}
    then |= {"capacity_bytes": 77 << 30, "values": {"per_device_train_batch_size": {"value": 4}}}
    file = tmp_path / "expected.json"
    file.write_text(json.dumps({"planned_for": "8xH100", "plan": then}))
    assert service.mismatch({**then, "capacity_bytes": 76 << 30}, str(file)) is None
    assert service.mismatch(then, None) is service.mismatch(then, str(tmp_path / "none")) is None
    now = {**then, "processes": 4, "train_gpus": [0, 1, 2, 3], "capacity_bytes": 38 << 30}
    said = service.mismatch(now | {"values": {"per_device_train_batch_size": {"value": 2}}}, str(file))
    assert said == (
        "planned for 8xH100 at submission, planned again here: processes 8 → 4, training GPUs of a node "
        "8 → 4, rows per device 4 → 2, memory of a GPU 77 → 38 GiB"
    )


def test_a_run_has_one_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is its run's by name and folder; a second one is not submitted."""
    tools = tmp_path / "tools"
    tools.mkdir()
    one = job(tmp_path)
    (tools / "sbatch").write_text(f"#!/bin/bash\ntouch {tools}/submitted\n")
    (tools / "squeue").write_text(f"#!/bin/bash\necho '17 /elsewhere'; cat {tools}/queue\n")
    for tool in ("sbatch", "squeue"):
        (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    (tools / "queue").write_text("")
    assert service.in_the_queue(one) is None
    (tools / "queue").write_text(f"18 {tmp_path}\n")
    assert service.in_the_queue(one) == "18"
    with pytest.raises(UsageError, match="job 18 of this run waits or runs already"):
        service.submit(service.Submission(one, "", None, {}))
    assert not (tools / "submitted").exists()


def test_a_sites_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert service.site() == Site()
    path = service.config_file()
    path.parent.mkdir()
    path.write_text('sbatch: "--qos=high"\nsetup:\n  - module load cuda\n  - export A="$B"\n')
    site = service.site()
    assert site == Site(("--qos=high",), ("module load cuda", 'export A="$B"'))
    text = render(job(tmp_path, site=site))
    assert "#SBATCH --qos=high\n" in text
    assert '\nexport A="$B"\ncd ' in text.replace("\n\n", "\n")
    for wrong in ("sbatsh: [a]", "setup: [1]", "- a", "a: ["):
        path.write_text(wrong)
        with pytest.raises(RecipeError):
            service.site()


def test_partitions_as_sinfo_tells_them() -> None:
    found = parse_partitions(
        "gpu*|2|gpu:h100:8(S:0-1)|1-00:00:00|96\ngpu*|1|gpu:h100:8|1-00:00:00|64\ncpu|4|(null)|infinite|2+\n"
    )
    gpu, cpu = found
    assert (gpu.name, gpu.default, gpu.nodes, gpu.gpus_per_node, gpu.cpus) == ("gpu", True, 3, 8, 96)
    assert (cpu.name, cpu.default, cpu.nodes, cpu.gpus_per_node, cpu.cpus) == ("cpu", False, 4, 0, 2)


def test_the_plan_is_the_partitions_not_the_login_nodes(cli: Cli, tiny: str) -> None:
    words = ("grpo", tiny, *START, "--slurm", "--simulate", "8xH100", "--global_batch_size", 64, "--dry-run")
    found = cli(*words, "--json").json
    assert found["planned_for"] == "8xH100"
    assert found["plan"]["processes"] == 8
    assert "#SBATCH --gres=gpu:8\n" in found["script"]
    assert not (cli.folder / "runs").exists(), "a dry run writes nothing"
    two = cli(*words, "--nodes", 2, "--json").json
    assert (two["plan"]["processes"], two["plan"]["nodes"]) == (16, 2)
    done = cli(*words)
    assert done.out.startswith("#!/bin/bash\n"), "standard output is the script alone"
    assert "planned for 8xH100" in done.err
    assert "processes   8" in done.err
    known = (words[0], tiny, "--model_name_or_path", "Qwen/Qwen2.5-1.5B", *words[4:])
    assert "time        about" in cli(*known).err


def test_vllm_gets_a_node_of_its_own(cli: Cli, tiny: str) -> None:
    """As open-r1's Slurm script: the last node serves; its GPUs are not counted twice."""
    words = ("grpo", tiny, "--model_name_or_path", "Qwen/Qwen2.5-1.5B", "--slurm", "--simulate", "8xH100")
    words = (*words, "--nodes", 3, "--global_batch_size", 64, "--dry-run", "--vllm_mode", "server")
    found = cli(*words, "--json").json
    plan = found["plan"]
    assert (plan["processes"], plan["nodes"], plan["vllm_nodes"]) == (16, 3, 1)
    assert plan["vllm_gpus"] == list(range(8))
    assert "#SBATCH --nodes=3\n" in found["script"]
    assert "#SBATCH --gres=gpu:8\n" in found["script"]
    assert "a vLLM server on the last node" in " ".join(cli(*words).err.split())


@pytest.mark.parametrize("command", ["sft", "grpo", "eval", "generate", "bench", "pipeline"])
def test_help_names_the_options_of_the_job(cli: Cli, command: str) -> None:
    said = cli(command, "--help").out
    for option in ("--slurm", "--partition", "--time", "--account", "--slurm --help"):
        assert option in said
    assert "--partition P" in cli(command, "--slurm", "--help").out


def test_the_script_that_serves_deepseek_r1_over_two_nodes(cli: Cli) -> None:
    """The whole script, as it was looked through; what differs from place to place is named."""
    words = ("generate", "deepseek-r1-generate", "--slurm", "--nodes", 2, "--time", "24:00:00")
    found = cli(*words, "--simulate", "8xH100", "--dry-run", "--json").json
    assert found["planned_for"] == "8xH100, 2 nodes"
    assert found["plan"]["sampling"]["pipeline_parallel"] == 2
    run = Path(found["run"]).name
    script = found["script"].replace(sys.executable, "PYTHON").replace(str(cli.folder), "HERE")
    expected = Path(__file__).with_name("generate_job.sh").read_text(encoding="utf-8")
    assert script.replace(run, "RUN") == expected
    too_small = cli("generate", "deepseek-r1-generate", "--slurm", "--simulate", "8xH100", code=4)
    assert "--nodes 2" in too_small.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("hw-profile", "--slurm"), 2, "no job for Slurm"),
        (("eval", "builtin:chain-sum", "--slurm", "--nodes", 2), 2, "works on one node"),
        (("sft", "tiny.yaml", "--slurm", "--nodes", "x"), 2, "--nodes needs a number"),
        (("sft", "tiny.yaml", "--slurm", "--time", "--simulate", "8xH100"), 2, "--time needs a value"),
        (("sft", "tiny.yaml", "--slurm", "--simulate", "cpu", "--time", "soon"), 2, "--time soon is no time"),
        (("sft", "tiny.yaml", "--partition", "gpu"), 2, "add --slurm"),
        (("sft", "tiny.yaml", "--slurm", "--simulate", "8xH100", "--lerning_rate", "1"), 3, "learning_rate"),
        (("sft", "nope.yaml", "--slurm", "--simulate", "8xH100"), 3, "nope.yaml"),
        (("sft", "tiny.yaml", "--slurm"), 5, "--simulate"),
        (("sft", "tiny.yaml", "--slurm", "--simulate", "cpu"), 5, "`sbatch` is not installed"),
    ],
)
def test_what_cannot_be_submitted_says_why(
    cli: Cli, tiny: str, words: tuple[object, ...], code: int, says: str
) -> None:
    """A machine without Slurm: its tools are hidden from the command."""
    done = cli(*words, code=code, PATH="/nonexistent")
    assert says in done.err
    assert not (cli.folder / "runs").exists()


# ---- a real Slurm ----

REASON = slurm_cluster.why_not()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


def submitted(cli: Cli, slurm: Cluster, *words: object) -> tuple[int, Path]:
    found = cli(*words, "--slurm", "--json", **slurm.env).json
    return int(found["job"]), Path(str(found["output"]))


def finished(cli: Cli, slurm: Cluster, number: int, output: Path) -> str:
    """Wait for the end; what the job printed."""
    over = ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT")
    slurm.wait(lambda: slurm.state(number) in over, 600)
    said = output.read_text(errors="replace") if output.exists() else ""
    assert slurm.state(number) == "COMPLETED", said + cli.logs() + slurm.logs()
    return said


def reached(folder: Path, slurm: Cluster, step: int) -> bool:
    text = f'"step": {step},'
    return slurm.wait(lambda: any(text in p.read_text() for p in folder.glob("runs/*/metrics.jsonl")), 240)


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=str(REASON))
def test_sft_on_two_nodes_of_which_one_dies_goes_on_to_the_end(cli: Cli, tiny: str, slurm: Cluster) -> None:
    words = ("sft", tiny, "--nodes", 2, "--max_steps", 400, "--save_steps", 50)
    words += ("--system_prompt", ODD)
    number, output = submitted(cli, slurm, *words)
    assert reached(cli.folder, slurm, 120), slurm.logs()
    slurm.kill_node("n2")
    assert slurm.wait(lambda: slurm.state(number) == "PENDING", 120), slurm.logs()
    slurm.start_node("n2")
    said = finished(cli, slurm, number, output)
    assert "continuing after step" in said
    run = only_run(cli, "tiny-sft-*")
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["state"] == "finished"
    assert [row["step"] for row in rows_of(run / "metrics.jsonl")] == list(range(1, 401))
    assert json.dumps(ODD, ensure_ascii=False)[1:-1] in (run / "resolved.yaml").read_text()


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=str(REASON))
def test_grpo_stops_before_its_time_limit_and_goes_on(cli: Cli, tiny: str, slurm: Cluster) -> None:
    """Slurm's notice before the limit is a SIGTERM to the steps, as `scancel --signal` sends it."""
    words = ("grpo", tiny, *START, "--nodes", 2, "--max_steps", 60, "--save_steps", 50)
    number, output = submitted(cli, slurm, *words)
    assert reached(cli.folder, slurm, 5), slurm.logs()
    slurm.ask("scancel", "--signal=TERM", str(number))
    said = finished(cli, slurm, number, output)
    assert "goes back into the queue" in said
    assert "continuing after step" in said
    run = only_run(cli, "tiny-grpo-*")
    assert [row["step"] for row in rows_of(run / "metrics.jsonl")] == list(range(1, 61))


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=str(REASON))
def test_slurms_notice_before_a_real_limit_comes_in_time(cli: Cli, tiny: str, slurm: Cluster) -> None:
    """Of four minutes the job works for one or two: a checkpoint, the queue again, and on from there."""
    words = ("sft", tiny, "--max_steps", 100_000, "--lr_scheduler_type", "constant", "--save_steps", 50_000)
    number, output = submitted(cli, slurm, *words, "--time", 4)
    said = lambda: output.read_text(errors="replace") if output.exists() else ""  # noqa: E731
    try:
        assert slurm.wait(lambda: "continuing after step" in said(), 540), said() + slurm.logs()
    finally:
        slurm.ask("scancel", str(number))
        slurm.wait(lambda: slurm.state(number) == "CANCELLED", 60)
    assert "goes back into the queue" in said()
    assert "TIME LIMIT" not in said()


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=str(REASON))
def test_a_job_of_two_nodes_rehearses(cli: Cli, tiny: str, slurm: Cluster) -> None:
    number, output = submitted(cli, slurm, "grpo", tiny, *START, "--nodes", 2, "--rehearse")
    said = finished(cli, slurm, number, output)
    assert said.count("go (rehearsed in") == 2, "both nodes come to one verdict"
    assert "optimizer" in said and "rollout" in said
    assert not list(cli.folder.glob("runs/*/metrics.jsonl")), "the run itself has not begun"


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=str(REASON))
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_grpo_gives_vllm_the_second_node(cli: Cli, tiny: str, slurm: Cluster) -> None:
    words = ("grpo", tiny, *START, "--nodes", 2, "--use_vllm", "true", "--vllm_mode", "server")
    number, output = submitted(cli, slurm, *words, "--vllm_max_model_length", 128)
    said = finished(cli, slurm, number, output)
    assert "served vLLM for" in said
    run = only_run(cli, "tiny-grpo-*")
    assert [row["step"] for row in rows_of(run / "metrics.jsonl")] == [1, 2, 3, 4]
    assert (run / "logs" / "node-1" / "attempt-1" / "vllm.log").exists()


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=str(REASON))
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")
def test_generate_with_its_server_on_one_node_and_its_client_on_the_other(cli: Cli, slurm: Cluster) -> None:
    """Stopped in the middle as before a time limit, put into the queue again, and ended."""
    rows = [{"problem": f"What is {i}+{i}?", "answer": str(2 * i)} for i in range(12)]
    cli.write("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    words: tuple[object, ...] = ("generate", *START, "--dataset", "d.jsonl", "--keep", "any")
    words += ("--backend", "server", "--nodes", 2, "--batch_size", 4, "--num-generations", 30)
    words += ("--temperature", 1, "--max-new-tokens", 60, "--max_model_length", 160, "--run_name", "r")
    number, output = submitted(cli, slurm, *words)
    run = cli.folder / "runs" / "r"
    drawn = lambda: any('"index": 2' in p.read_text() for p in run.glob("samples/ledger*"))  # noqa: E731
    assert slurm.wait(drawn, 400), slurm.logs() + (output.read_text() if output.exists() else "")
    nodes = {
        env["SLURMD_NODENAME"]: name
        for name, env in served_by(cli.folder)
        if name in ("vllm", "openr1.generation")
    }
    assert sorted(nodes.values()) == ["openr1.generation", "vllm"], "client and server on a node of their own"
    slurm.ask("scancel", "--signal=TERM", str(number))
    said = finished(cli, slurm, number, output)
    assert "goes back into the queue" in said
    assert "which has ended: 1 servers" in said
    samples = rows_of(run / "samples.jsonl")
    assert [len(row["generations"]) for row in samples] == [30] * 12
    assert not list(served_by(cli.folder))


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=str(REASON))
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")
def test_generate_with_one_engine_in_stages_over_both_nodes(cli: Cli, slurm: Cluster) -> None:
    """vLLM's own multi-node mode, as a job for a model that no node holds alone has it."""
    rows = [{"problem": f"What is {i}+{i}?", "answer": str(2 * i)} for i in range(12)]
    cli.write("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    words: tuple[object, ...] = ("generate", "--model", "builtin:tiny-qwen2?layers=2&hidden=128")
    words += ("--dataset", "d.jsonl", "--keep", "any", "--backend", "server", "--nodes", 2)
    words += ("--pipeline_parallel", 2, "--max-new-tokens", 12, "--max_model_length", 128, "--run_name", "r")
    number, output = submitted(cli, slurm, *words)
    said = finished(cli, slurm, number, output)
    assert "which has ended: 0 servers" in said, "the other node answers no requests"
    run = cli.folder / "runs" / "r"
    assert [len(row["generations"]) for row in rows_of(run / "samples.jsonl")] == [1] * 12
    log = (run / "logs" / "node-1" / "attempt-1" / "vllm.log").read_text()
    assert "PP rank 1" in log
    assert not list(served_by(cli.folder))


def served_by(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Processes of a run in this folder, by what they are, with their environments."""
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(folder):
                name = "vllm" if "openr1.launch.vllm_cli" in words else ""
                yield (
                    name or ("openr1.generation" if "-m openr1.generation" in words else words),
                    (process.environ()),
                )


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=str(REASON))
def test_a_job_that_slurm_refuses(cli: Cli, tiny: str, slurm: Cluster) -> None:
    cli.write("site/openr1/slurm.yaml", 'sbatch: "--constraint=no-such-feature"\n')
    env = slurm.env | {"XDG_CONFIG_HOME": str(cli.folder / "site")}
    done = cli("sft", tiny, "--slurm", code=5, **env)
    assert "Slurm refuses the job" in done.err
    assert "Invalid feature specification" in done.err
    assert "is no time limit" in cli("sft", tiny, "--slurm", "--time", "yesterday", code=2, **slurm.env).err
    done = cli("sft", tiny, "--slurm", "--partition", "gpu", code=2, **slurm.env)
    assert "one of cpu" in done.err
    done = cli("sft", tiny, "--slurm", "--nodes", 3, code=2, **slurm.env)
    assert "has 2" in done.err


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=str(REASON))
def test_a_plan_for_another_machine_is_made_again_and_said(cli: Cli, slurm: Cluster) -> None:
    cli.write("tiny.yaml", TINY)
    number, output = submitted(cli, slurm, "sft", "tiny.yaml", "--simulate", "cpu, 64 cores, 2 nodes")
    said = finished(cli, slurm, number, output)
    assert "planned again here: processes 2 → 1" in said
