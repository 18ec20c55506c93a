"""`openr1 bench --run --slurm` on a real Slurm of two nodes: each score by a job of its own, then shown."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from openr1.data.tiny_model import ModelSpec, build_tiny_model
from tests.conftest import Cli
from tests.evaluation.in_process import write_rows
from tests.evaluation.test_bench import TWO_CELLS
from tests.launch import slurm_cluster
from tests.launch.slurm_cluster import Cluster

REASON = slurm_cluster.why_not()
OVER = ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


def test_one_job_for_each_score_and_the_table_shows_them(cli: Cli, slurm: Cluster) -> None:
    build_tiny_model(ModelSpec(1, 64), 7, cli.folder / "tiny")
    for name, count in (("math_500", 6), ("aime24", 3)):
        rows = [{"problem": f"{i}+1?", "answer": str(i + 1)} for i in range(count)]
        write_rows(cli.folder / "data" / f"{name}.jsonl", rows)
    sent = cli(*TWO_CELLS, "--run", "--slurm", "--json", **slurm.env).json["jobs"]
    numbers = [int(job["job"]) for job in sent]
    assert len(set(numbers)) == 2
    again = cli(*TWO_CELLS, "--run", "--slurm", **slurm.env).out
    assert "; job " not in again  # while they wait or run no second one is submitted
    slurm.wait(lambda: all(slurm.state(number) in OVER for number in numbers), 600)
    said = "\n".join(p.read_text(errors="replace") for p in cli.folder.glob("runs/*/slurm/job-*.out"))
    states = [slurm.state(number) for number in numbers]
    assert states == ["COMPLETED"] * 2, said + cli.logs() + slurm.logs()
    for job in sent:
        assert Path(job["output"]).is_file()

    cells = {cell["benchmark"]: cell for cell in cli(*TWO_CELLS, "--json").json["cells"]}
    for name, count in (("math_500", 6), ("aime24", 3)):
        ours = cells[name]["ours"]
        assert (ours["problems"], ours["samples"]) == (count, 2)
        assert ours["run"].startswith(f"runs/bench_{name}_DeepSeek-R1-Distill-Qwen-1.5B_r1-paper")
        assert cells[name]["cost"] is None and cells[name]["against"] == "ours"
    shown = " ".join(cli(*TWO_CELLS).out.split())
    assert "6 of 500 problems" in shown and "3 of 30 problems" in shown
    assert cli(*TWO_CELLS, "--list").out.strip() == "nothing is missing"
    nothing = cli(*TWO_CELLS, "--run", "--slurm", **slurm.env)
    assert "nothing is missing" in " ".join((nothing.out + nothing.err).split())
