"""Old files on the command line: the real command, as somebody with a clone of open-r1 types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.config.old_files import FOLDER, OLD_FILES
from tests.conftest import Cli, rows_of

TINY = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")
DATA = ("--dataset_name", "builtin:chain-sum?steps=2")
QUICK = ("--limit", 32, "--max_steps", 2, "--do_eval", "false", "--eval_strategy", "no")
NOBODY = {"HF_TOKEN": "", "HF_HOME": "/nowhere", "WANDB_MODE": "", "WANDB_API_KEY": ""}


def at(folder: Path, name: str) -> str:
    shutil.copy(FOLDER / f"{name}.yaml", folder / "config_demo.yaml")
    return "config_demo.yaml"


@pytest.mark.parametrize("name", ["grpo-2025-02-qwen1.5b", "sft-2025-07-openr1-distill-7b"])
def test_a_dry_run_says_what_becomes_of_every_key(cli: Cli, name: str) -> None:
    stage = OLD_FILES[name].stage
    done = cli(
        stage, "--config", at(cli.folder, name), "--simulate", "8xH100", "--dry-run", "--json", **NOBODY
    )
    found = done.json
    values = {key: entry["value"] for key, entry in found["values"].items()}
    assert values["global_batch_size"] == OLD_FILES[name].batch
    notices = found["notices"]
    assert notices[0].startswith(f"read as a file of {OLD_FILES[name].vintage}")
    assert any("`torch_dtype: bfloat16`: 16-bit computing" in n for n in notices)
    assert values["push_to_hub"] is False and values["report_to"] == "none", "no account is here"
    if OLD_FILES[name].gpus:
        assert found["plan"]["processes"] == 7 and found["plan"]["vllm_gpus"] == [7]
        assert found["values"]["beta"]["origin"] == "open-r1 2025-02: TRL's KL weight then"
        assert any("as the file has it: --gpus 7" in n for n in notices)


@pytest.mark.parametrize("name", ["grpo-2025-07-code-ioi", "grpo-2025-07-codeforces"])
def test_contests_are_judged_here_and_that_is_said(cli: Cli, name: str) -> None:
    found = cli("grpo", at(cli.folder, name), "--simulate", "8xH100", "--dry-run", "--json", **NOBODY).json
    (said,) = [notice for notice in found["notices"] if "Piston" in notice]
    assert "judged on this machine" in said and "`reward_funcs:" in said


def test_the_light_fork_s_readme_starts_sft_with_the_grpo_file(cli: Cli) -> None:
    done = cli("sft", "--config", at(cli.folder, "light-grpo"), code=3)
    assert "this is a grpo recipe" in done.err and "openr1 grpo config_demo.yaml" in done.err
    assert not (cli.folder / "runs").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_the_codeforces_file_trains_on_problems_of_ones_own(cli: Cli) -> None:
    row = {"prompt": "double it", "language": "cpp", "official_tests": [{"input": "1", "output": "2"}]}
    cli.write("rows.jsonl", "".join(json.dumps(row) + "\n" for _ in range(4)))
    words = ("--dataset_name", "rows.jsonl", "--max_steps", 1, "--global_batch_size", 4)
    short = ("--max_completion_length", 8, "--num_generations", 4, "--output_dir", "out", "--json")
    name = at(cli.folder, "grpo-2025-07-codeforces")
    done = cli("grpo", name, *TINY, *words, *short, **NOBODY)
    assert done.json["result"]["steps"] == 1
    (step,) = (row for row in rows_of(cli.folder / "out" / "metrics.jsonl") if "loss" in row)
    assert step["rewards/cf_code/mean"] == -1.0 and "rewards/code_format/mean" in step
    cli.write("rows.jsonl", json.dumps({"prompt": "double it"}) + "\n")
    refused = cli("grpo", name, *TINY, *words, *short[:4], "--output_dir", "other", code=3, **NOBODY)
    assert "reward cf_code needs a column named official_tests" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["light-sft", "light-grpo", "sft-2025-02-qwen1.5b", "grpo-2025-07-qwen1.5b"])
def test_an_old_file_trains(cli: Cli, name: str) -> None:
    """Model and data are tiny; everything else is the file's."""
    stage = OLD_FILES[name].stage
    short = ("--max_completion_length", 12, "--num_generations", 2, "--global_batch_size", 4)
    small = short if stage == "grpo" else ("--global_batch_size", 4, "--max_length", 64)
    done = cli(
        stage, at(cli.folder, name), *TINY, *DATA, *QUICK, *small, "--output_dir", "out", "--json", **NOBODY
    )
    assert done.json["result"]["steps"] == 2
    assert (cli.folder / "out" / "model" / "config.json").exists()
    if stage == "grpo":
        steps = [row for row in rows_of(cli.folder / "out" / "metrics.jsonl") if "loss" in row]
        assert all("kl" in row for row in steps), "beta 0.04 measures the distance to the start"
        names = {key for row in steps for key in row if key.startswith("rewards/")}
        assert {
            f"rewards/{r}/mean" for r in OLD_FILES[name].pinned.get("reward_funcs", ["tag_count"])
        } <= names
