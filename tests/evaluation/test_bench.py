"""The published tables as data, how ours stands to them, and running what is missing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from openr1.evaluation.published import (
    DEEPSEEK,
    LATEST,
    OPEN_R1,
    QUOTED,
    SEED,
    pick,
    published,
    published_standing,
    run_standing,
)
from tests.conftest import Cli
from tests.evaluation.in_process import write_rows

ROWS = published()
TWO_CELLS = (
    "bench",
    "--models",
    "Qwen-1.5B",
    "--benchmarks",
    "math_500,aime24",
    "--weights",
    "Qwen-1.5B=tiny",
)
TWO_CELLS += ("--dataset", "data", "--num_samples", "2", "--max_new_tokens", "4", "--threads", "1")
ORDER = ("Qwen-1.5B", "Qwen-7B", "Qwen-14B", "Qwen-32B", "Llama-8B", "Llama-70B")
# difference, z over problems with DeepSeek's p, z of sampling, worked out elsewhere, in this order of models
LATEST_TABLE = {
    "aime24": [(1.8, 0.2, 1.7), (-4.7, -0.5, -4.1), (-3.8, -0.5, -3.6),
               (-2.9, -0.4, -2.8), (-6.5, -0.7, -5.7), (-7.0, -0.8, -6.7)],
    "math_500": [(-0.8, -0.5, -1.2), (1.7, 1.5, 3.7), (0.2, 0.2, 0.5),
                 (1.3, 1.3, 3.2), (-0.5, -0.4, -0.9), (0.6, 0.6, 1.5)],
    "gpqa:diamond": [(2.0, 0.6, 2.2), (1.4, 0.4, 1.5), (2.4, 0.7, 2.6),
                     (1.0, 0.3, 1.1), (-2.3, -0.6, -2.4), (2.2, 0.6, 2.5)],
    "livecodebench": [(-0.8, -0.3, -1.1), (-0.2, -0.1, -0.2), (-1.8, -0.6, -1.9),
                      (-1.2, -0.4, -1.3), (-2.2, -0.7, -2.4), (-1.6, -0.5, -1.7)],
}  # fmt: skip


@pytest.mark.parametrize("benchmark", LATEST_TABLE)
def test_both_z_of_open_r1s_latest_table(benchmark: str) -> None:
    for short, (gap, over_problems, over_runs) in zip(ORDER, LATEST_TABLE[benchmark], strict=True):
        name = f"DeepSeek-R1-Distill-{short}"
        ours, theirs = pick(ROWS, name, benchmark, OPEN_R1, LATEST), pick(ROWS, name, benchmark, DEEPSEEK)
        assert ours and theirs
        found = published_standing(ours, theirs)
        assert found.difference == pytest.approx(gap, abs=0.06)
        assert found.z_problems == pytest.approx(over_problems, abs=0.06)
        assert found.z_run == pytest.approx(over_runs, abs=0.06)


@pytest.mark.parametrize(("short", "z"), [("Qwen-1.5B", -2.3), ("Llama-8B", -3.6), ("Qwen-14B", 0.4)])
def test_the_seeds_table(short: str, z: float) -> None:
    name = f"DeepSeek-R1-Distill-{short}"
    ours, theirs = pick(ROWS, name, "math_500", OPEN_R1, SEED), pick(ROWS, name, "math_500", DEEPSEEK)
    assert ours and theirs
    found = published_standing(ours, theirs)
    assert found.z_run == pytest.approx(z, abs=0.06)
    assert "another prompt" in found.causes
    assert ("likely cause" in found.verdict) == (abs(z) > 2)


def test_every_number_has_a_source_and_the_misprint_is_one() -> None:
    assert all(row.source and len(row.date) == 10 and 0 < row.score <= 100 for row in ROWS)
    assert len({(r.source, r.date, r.model, r.benchmark) for r in ROWS}) == len(ROWS)
    llama = "DeepSeek-R1-Distill-Llama-8B"
    right, wrong = pick(ROWS, llama, "aime24", DEEPSEEK), pick(ROWS, llama, "aime24", QUOTED)
    assert right and wrong
    assert (right.score, wrong.score) == (50.4, 41.7)
    assert "misprint" in wrong.note
    for row in ROWS:
        if row.benchmark == "aime24" and row.samples == 1:
            multiple = abs(row.score * 30 / 100 - round(row.score * 30 / 100)) < 0.016
            assert multiple != ("slip" in row.note)
        else:
            assert "slip" not in row.note


def score(accuracy: float, **more: object) -> dict[str, object]:
    from openr1.evaluation.protocol import conditions_of
    from openr1.evaluation.tasks import TASKS

    conditions = conditions_of(TASKS["math_500"], {"protocol": "r1-paper"})
    return {
        "accuracy": accuracy,
        "problems": 500,
        "samples": 16,
        "within": 0.06,
        "other_run": (0.06 / (500 * 16)) ** 0.5,
        "other_problems": 0.016,
        "conditions": conditions.as_dict(32768),
        "data": {"fingerprint": "a", "known_fingerprint": "a"},
        **more,
    }


def test_our_own_score_in_words() -> None:
    theirs = pick(ROWS, "DeepSeek-R1-Distill-Qwen-1.5B", "math_500", DEEPSEEK)
    assert theirs
    assert run_standing(score(0.838), theirs).verdict == "reproduced"
    lower = run_standing(score(0.80), theirs)
    assert lower.z_run == pytest.approx(-0.039 / (2 * 0.06 / 8000) ** 0.5, rel=1e-3)
    assert lower.verdict.startswith("differs by more than sampling noise")
    assert "the protocol is the same" in lower.verdict
    short = score(0.80)
    short["conditions"] = {**short["conditions"], "max_new_tokens": 4096}  # type: ignore[dict-item]
    assert "max_new_tokens 4096 instead of 32768" in run_standing(short, theirs).verdict
    none = run_standing(score(0.0, within=0.0, other_run=0.0, other_problems=0.0), theirs)
    assert none.z_problems == pytest.approx(-0.839 / (0.839 * 0.161 / 500) ** 0.5)
    assert none.z_run == pytest.approx(-0.839 / (0.5 * 0.839 * 0.161 / 8000) ** 0.5)  # and not infinite
    part = run_standing(score(0.9, problems=100), theirs)
    assert part.causes[0] == "100 of 500 problems"
    # variance of another draw (.016²), less that of a run, for the four fifths that were not drawn
    run_error = 0.06 / 8000
    drawn = 0.8 * (0.016**2 - run_error)
    assert part.z_run == pytest.approx(0.061 / (2 * run_error + drawn) ** 0.5, rel=1e-3)
    other = run_standing(score(0.9, data={"fingerprint": "b", "known_fingerprint": "a"}), theirs)
    assert other.causes == ["another copy of the problems"]


def test_table_list_markdown_and_json(cli: Cli) -> None:
    out = cli("bench", "--models", "Llama-8B").out
    assert "misprint" in out
    assert "(-5.7)" in out
    assert "not run here yet: 3" in out
    markdown = cli("bench", "--md", "--benchmarks", "aime24").out
    assert "| Qwen-7B | – | – | 50.8 | 55.5 | (-4.7) | (-0.5) | (-4.1) |" in markdown
    listed = cli(
        "bench", "--list", "--json", "--simulate", "8xH100", "--models", "Qwen-7B", "--protocol", "open-r1"
    )
    assert [(job["name"], job["samples"]) for job in listed.json] == [
        ("bench_aime24_DeepSeek-R1-Distill-Qwen-7B_open-r1", 1920),
        ("bench_math_500_DeepSeek-R1-Distill-Qwen-7B_open-r1", 2000),
        ("bench_gpqa-diamond_DeepSeek-R1-Distill-Qwen-7B_open-r1", 1584),
    ]
    # lighteval#698: about 2,000 answers of a 7B in about 15 minutes on 8 H100
    assert 0.1 < listed.json[0]["hours"] < 0.6
    found = cli("bench", "--json", "--simulate", "8xH100").json
    assert len(found["published"]) == len(ROWS)
    assert found["to_run"]["hours"] is None  # R1 itself does not fit
    for words, said in (
        (("--model", "x"), "--model belongs to --speed"),
        (("--from", "none"), "no run `none`"),
        (("--weights", "Qwen=x"), "names no one model"),
        (("--temperature", "-1"), "temperature"),
        (("nonsense",), "says nothing here"),
    ):
        assert said in cli("bench", *words, code=None).err


def test_running_what_is_missing_and_finding_it_again(cli: Cli) -> None:
    """The real command on a tiny model in place of the 1.5B: the verdict must say that it is far off, and
    that the problems are not the published ones."""
    from openr1.data.tiny_model import ModelSpec, build_tiny_model

    build_tiny_model(ModelSpec(1, 64), 7, cli.folder / "tiny")
    write_rows(cli.folder / "m.jsonl", [{"problem": f"{i}+1?", "answer": str(i + 1)} for i in range(12)])
    words = ("bench", "--models", "Qwen-1.5B", "--benchmarks", "math_500", "--weights", "Qwen-1.5B=tiny")
    words += ("--dataset", "m.jsonl", "--num_samples", "2", "--max_new_tokens", "4", "--threads", "1")
    assert "math_500: 12 problems × 2" in cli(*words, "--run").err
    (cell,) = cli(*words, "--json").json["cells"]
    assert cell["against"] == "ours"
    assert cell["ours"]["run"].startswith("runs/bench_math_500_DeepSeek-R1-Distill-Qwen-1.5B_r1-paper_")
    assert cell["ours"]["problems"] == 12
    assert cell["standing"]["causes"][0] == "12 of 500 problems"
    assert "max_new_tokens 4 instead of 32768" in cell["standing"]["verdict"]
    assert cell["cost"] is None
    assert cli(*words, "--list").out.strip() == "nothing is missing"
    (job,) = cli(*words[:5], "--list", "--json").json  # the real thing is still to be run
    assert (job["name"], job["samples"]) == ("bench_math_500_DeepSeek-R1-Distill-Qwen-1.5B_r1-paper", 8000)
    assert "differs by more than sampling noise" in cli(*words[:5]).out
    # a published model's own folder counts without any mapping
    run = cli.folder / "runs" / "eval-other"
    run.mkdir()
    (run / "manifest.json").write_text(json.dumps({"format": 1, "state": "finished"}))
    found = {
        **score(0.93),
        "task": "math_500",
        "path": "/m/DeepSeek-R1-Distill-Qwen-7B",
        "protocol": "r1-paper-v1",
    }
    (run / "results.json").write_text(json.dumps({"scores": [found]}))
    cells = cli("bench", "--from", "eval-other", "--benchmarks", "math_500", "--json").json["cells"]
    assert [c["model"] for c in cells if c["ours"]] == ["DeepSeek-R1-Distill-Qwen-7B"]
    both = ("--from", "eval-other", cell["ours"]["run"])
    cells = cli("bench", *both, "--benchmarks", "math_500", "--json").json["cells"]
    assert {c["model"] for c in cells if c["ours"]} == {
        "DeepSeek-R1-Distill-Qwen-1.5B",
        "DeepSeek-R1-Distill-Qwen-7B",
    }


def tools(folder: Path) -> dict[str, str]:
    """A Slurm that keeps the scripts it is given as `sent/NUMBER.sh`; the queue holds what `queue` says."""
    (folder / "bin").mkdir()
    (folder / "sent").mkdir()
    written = {
        "sbatch": f'cd {folder}/sent; n=$(($(ls | wc -l) + 100)); cp "${{@: -1}}" $n.sh; echo "$n;cluster"',
        "squeue": f"cat {folder}/queue 2> /dev/null",
        "srun": 'while [[ "$1" == --* ]]; do shift; done; exec "$@"',
    }
    for name, text in written.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    return {"PATH": f"{folder}/bin:{os.environ['PATH']}"}


@pytest.mark.slow
def test_one_slurm_job_for_each_missing_score(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Scripts are kept by an sbatch of the test's own; one is then run, as a node would."""
    from openr1.data.tiny_model import ModelSpec, build_tiny_model

    build_tiny_model(ModelSpec(1, 64), 7, cli.folder / "tiny")
    for name in ("math_500", "gsm8k", "aime24"):
        write_rows(cli.folder / "data" / f"{name}.jsonl", [{"problem": "1+1?", "answer": "2"}])
    slurm = tmp_path_factory.mktemp("slurm")
    env = tools(slurm)
    jobs = (*TWO_CELLS, "--run", "--slurm", "--simulate", "cpu", "--time", "1:00:00")

    dry = cli(*jobs, "--dry-run", **env)
    assert dry.out.count("#!/bin/bash\n") == 2
    assert "2 of 2 can be run: 1,060 answers" in " ".join(dry.err.split())
    assert not list((slurm / "sent").iterdir()) and not (cli.folder / "runs").exists()

    sent = cli(*jobs, "--json", **env).json
    names = [job["name"] for job in sent["jobs"]]
    assert [name.split("_DeepSeek")[0] for name in names] == ["bench_aime24", "bench_math_500"]
    assert [job["job"] for job in sent["jobs"]] == [100, 101]
    assert sent["total"]["samples"] == 1060
    for job in sent["jobs"]:
        script = (slurm / "sent" / f"{job['job']}.sh").read_text()
        assert script == job["script"]
        assert "#SBATCH --time=1:00:00" in script
        assert f"--job-name=openr1-{job['name']}" in script
        assert (cli.folder / "runs" / job["name"] / "slurm" / "job.sh").read_text() == script

    (slurm / "queue").write_text(f"openr1-{names[0]}\nother\n")
    again = cli(*jobs, **env).out
    assert "waits or runs already" in again and "job 102" in again
    script = str(slurm / "sent" / "101.sh")
    subprocess.run(["bash", script], env=cli.env | env, check=True, capture_output=True)
    cells = {cell["benchmark"]: cell for cell in cli(*TWO_CELLS, "--json").json["cells"]}
    assert cells["math_500"]["ours"]["run"] == f"runs/{names[1]}"
    assert cells["math_500"]["cost"] is None and cells["aime24"]["cost"] is not None
    (left,) = cli(*jobs, "--dry-run", "--json", **env).json["jobs"]
    assert left["name"] == names[0]


def test_what_no_job_can_be_made_of(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    env = tools(tmp_path_factory.mktemp("slurm"))
    large = ("bench", "--run", "--slurm", "--models", "R1", "--benchmarks", "math_500", "--json")
    found = cli(*large, "--simulate", "RTX 3060", code=4, **env).json["jobs"]
    by_name = {job["name"].split("_")[3]: job for job in found}
    assert "do not fit here" in by_name["DeepSeek-R1"]["refused"]["what"]
    assert by_name["DeepSeek-R1"]["job"] is None
    assert by_name["DeepSeek-R1-Distill-Qwen-1.5B"]["job"] is not None  # the others go on
    for words, said in (
        (("bench", "--slurm", "--simulate", "cpu"), "without --run nothing is run"),
        (("bench", "--run", "--slurm", "--simulate", "cpu", "--from", "x"), "--from shows runs"),
        (("bench", "--run", "--slurm", "--simulate", "cpu", "--nodes", "2"), "works on one node"),
        (("bench", "--run", "--slurm", "--simulate", "cpu", "--models", "Qwen-9B"), "no model `Qwen-9B`"),
    ):
        assert said in cli(*words, code=2, **env).err


@pytest.mark.slow
def test_speed_is_measured_and_used_by_the_next_estimate(cli: Cli) -> None:
    model = "builtin:tiny-qwen2?layers=1&hidden=64"
    found = cli("bench", "--speed", "--model", model, "--json").json
    assert found["sampling"] > 0 and found["training"] > 0
    cli.write("m.jsonl", '{"problem": "1+1?", "answer": "2"}\n')
    (estimate,) = cli(
        "eval", "math_500", "--model", model, "--dataset", "m.jsonl", "--dry-run", "--json"
    ).json["plan"]["estimate"]
    assert "speed as measured here" in estimate["basis"]
    assert estimate["hours"] == pytest.approx(4000 / found["sampling"] / 3600, rel=0.2)


def test_r1_itself_fits_where_it_is_served(cli: Cli) -> None:
    """Eight H200 hold its FP8 weights, as `eval` and `generate` say; its whole name means it alone."""
    words = ("bench", "--list", "--json", "--models", "deepseek-r1", "--simulate")
    found = cli(*words, "8xH200").json
    assert {job["model"] for job in found} == {"DeepSeek-R1"} and len(found) == 3
    assert all(job["too_large"] is None and job["hours"] > 0 for job in found)
    assert "do not fit here" in cli(*words, "8xH100").json[0]["too_large"]
    cli("eval", "math_500", "--model", "deepseek-ai/DeepSeek-R1", "--simulate", "8xH200", "--dry-run")


def test_what_bench_cannot_run_is_said(cli: Cli) -> None:
    words = ("bench", "--models", "Qwen-7B", "--benchmarks")
    assert "livecodebench: published numbers only" in cli(*words, "livecodebench", "--list").out
    assert "livecodebench" not in cli(*words, "math_500").out
    assert cli(*words, "math_500", "--run", "--dry-run").out == cli(*words, "math_500", "--list").out
    refused = cli(*words, "math_500", "--run", "--simulate", "8xH100", code=2)
    assert "is simulated" in refused.err and "openr1 bench --list" in refused.err
