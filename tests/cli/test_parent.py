"""The command itself is light: what it imports, what its help costs, and that a dry run is the launch."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest
import yaml

from openr1.runs import resolved_file
from tests.conftest import Cli, only_run

HEAVY = {
    "torch",
    "transformers",
    "trl",
    "datasets",
    "accelerate",
    "deepspeed",
    "vllm",
    "numpy",
    "sympy",
    "math_verify",
    "lighteval",
    "distilabel",
}
COMMANDS = ["pipeline", "sft", "grpo", "eval", "generate", "samples", "bench", "hw-profile", "report"]
COMMANDS += ["configs", "runs"]

# Runs the command in this process and prints the packages it has imported, after its own output.
PROBE = """
import sys
sys.argv = ["openr1", *sys.argv[1:]]
from openr1.__main__ import main
try:
    main()
except SystemExit as end:
    code = end.code
print("\\nMODULES", " ".join(sorted({name.partition(".")[0] for name in sys.modules})))
sys.exit(code or 0)
"""


def modules(cli: Cli, *words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words], cwd=cli.folder, env=cli.env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(done.stdout.rsplit("MODULES", 1)[1].split())


def by_typer() -> set[str]:
    code = "import typer, sys; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("command", [[], *[[name] for name in COMMANDS]])
def test_help_loads_what_typer_loads_and_ourselves(cli: Cli, command: list[str]) -> None:
    ours = modules(cli, *command, "--help") - by_typer()
    assert not ours & (HEAVY | {"yaml", "rich", "psutil", "pynvml", "jinja2"})
    if not command:
        assert "pydantic" not in ours


@pytest.mark.parametrize(
    "words",
    [
        ["sft", "tiny.yaml", "--dry-run"],
        ["sft", "tiny.yaml", "--dry-run", "--json"],
        ["grpo", "tiny.yaml", "--model_name_or_path", "builtin:tiny-qwen2", "--dry-run", "--json"],
        ["pipeline", "tiny.yaml", "--dry-run"],
        ["eval", "math_500", "--model", "builtin:tiny-qwen2", "--dry-run"],
        ["generate", "--model", "builtin:tiny-qwen2", "--dry-run"],
        ["hw-profile", "--json"],
        ["bench", "--json"],
        ["runs", "ls", "--json"],
        ["configs", "ls", "--json"],
        ["configs", "explain", "beta", "tiny.yaml"],
    ],
    ids=" ".join,
)
def test_what_runs_on_a_login_node_imports_nothing_heavy(cli: Cli, tiny: str, words: list[str]) -> None:
    assert not modules(cli, *words) & HEAVY
    assert [p.name for p in cli.folder.iterdir()] == ["tiny.yaml"]  # a dry run writes nothing


def test_root_help_costs_little_more_than_typer(cli: Cli) -> None:
    """CPU time, not wall time, and the fastest of several runs of each, side by side."""

    def cpu_seconds(words: list[str]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], capture_output=True, env=cli.env, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    pairs = [(cpu_seconds(["-c", "import typer"]), cpu_seconds(["-m", "openr1", "--help"])) for _ in range(9)]
    typer_alone, ours = (min(side) for side in zip(*pairs, strict=True))
    assert ours - typer_alone <= 0.050


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(cli: Cli, name: str) -> None:
    done = cli(name, "--help")
    assert "Examples:" in done.out
    assert f"openr1 {name} " in done.out


def test_version_unknown_commands_and_completion(cli: Cli) -> None:
    assert cli("--version").out.startswith("openr1 ")
    assert "nonsense" in cli("nonsense", code=2).err
    done = cli(code=None, _OPENR1_COMPLETE="complete_bash", COMP_WORDS="openr1 p", COMP_CWORD="1")
    assert "pipeline" in done.out


def test_the_dry_run_is_what_the_run_then_does(cli: Cli, tiny: str) -> None:
    words = ("sft", tiny, "--max_steps", 1, "--learning_rate", "5e-4")
    env = {"OPENR1_WEIGHT_DECAY": "0.25", "OPENR1_LEARNING_RATE": "1"}
    plan = cli(*words, "--dry-run", "--json", **env).json
    cli(*words, **env)
    run = only_run(cli, "tiny-sft-*")
    assert plan["run"] == os.path.relpath(run, cli.folder)
    found = resolved_file.read(run / "resolved.yaml")
    assert found["values"] == {key: entry["value"] for key, entry in plan["values"].items()}
    origins = {
        key: plan["values"][key]["origin"] for key in ("learning_rate", "weight_decay", "seed", "use_cpu")
    }
    assert origins["learning_rate"] == "command line: --learning_rate"
    assert origins["weight_decay"] == "environment: OPENR1_WEIGHT_DECAY"
    assert origins["seed"] == "recipe: tiny.yaml:2"
    assert origins["use_cpu"].startswith("plan: ")
    assert plan["command"]["argv"][1:] == ["-m", "openr1.training", plan["run"]]
    assert yaml.safe_load((run / "resolved.yaml").read_text())["values"]["seed"] == 7


def test_the_page_shows_every_value_with_its_origin(cli: Cli, tiny: str) -> None:
    out = cli("sft", tiny, "--all-values").out
    plan = cli("sft", tiny, "--dry-run", "--json").json
    for key in plan["values"]:
        assert key in out, key
    for words in ("tiny.yaml:2", "plan:", "would run", "would write", "checkpoints/"):
        assert words in out


def test_without_a_recipe_the_profiles_is_taken_and_said(cli: Cli) -> None:
    done = cli("sft", "--profile", "cpu", "--dry-run")
    assert "taking tiny-cpu" in done.err
    light = cli("sft", "--simulate", "RTX 3060", "--dry-run", "--json").json
    assert light["recipe"] == "qwen0.5b-light"
    assert any("taking qwen0.5b-light" in notice for notice in light["notices"])


def test_seven_and_one_on_eight_gpus(cli: Cli) -> None:
    """`openr1 grpo --gpus 7` trains on seven and serves vLLM on the eighth, at the recipe's global batch."""
    plan = cli("grpo", "--gpus", 7, "--simulate", "8xH100", "--dry-run", "--json").json["plan"]
    assert plan["processes"] == 7
    assert plan["vllm_gpus"] == [7]
    values = {key: chosen["value"] for key, chosen in plan["values"].items()}
    batch = values["per_device_train_batch_size"] * values["gradient_accumulation_steps"] * 7
    assert batch == 112


@pytest.mark.parametrize("machine", ["RTX 3060", "8xH100", "2x RTX 4090"])
def test_the_global_batch_is_the_recipes_on_any_machine(cli: Cli, machine: str) -> None:
    plan = cli("sft", "qwen0.5b-light", "--simulate", machine, "--dry-run", "--json").json["plan"]
    values = {key: chosen["value"] for key, chosen in plan["values"].items()}
    ranks = plan["processes"]
    assert values["per_device_train_batch_size"] * values["gradient_accumulation_steps"] * ranks == 16


def test_hw_profile_for_a_recipe_and_what_does_not_fit(cli: Cli) -> None:
    out = cli("hw-profile", "--for", "qwen0.5b-light", "--simulate", "RTX 3060").out
    assert "section grpo" in out
    assert "█" in out
    assert "optimizer" in out
    refused = cli("grpo", "qwen-math-7b-simple-rl", "--simulate", "RTX 3060", "--dry-run", code=4)
    assert "--" in refused.err.split("do", 1)[1]
    as_json = cli("grpo", "qwen-math-7b-simple-rl", "--simulate", "RTX 3060", "--dry-run", "--json", code=4)
    error = json.loads(as_json.out)["error"]
    assert error["memory"]["update"]
    assert any(edit["suffices"] for edit in error["edits"])
    forced = cli("grpo", "qwen-math-7b-simple-rl", "--simulate", "RTX 3060", "--dry-run", "--json", "--force")
    assert forced.json["plan"]["fits"] is False
    fitted = cli(
        "grpo", "qwen-math-7b-simple-rl", "--simulate", "RTX 3060", "--dry-run", "--json", "--fit"
    ).json
    assert fitted["plan"]["applied"]
    assert fitted["plan"]["fits"] is True


def test_a_dry_run_plans_a_section_whose_start_is_not_trained_yet(cli: Cli) -> None:
    found = cli("grpo", "qwen0.5b-light", "--simulate", "RTX 3060", "--dry-run", "--json").json
    assert any("not trained yet" in notice for notice in found["notices"])
    plan = found["plan"]
    assert plan["fits"] is True
    values = {key: chosen["value"] for key, chosen in plan["values"].items()}
    assert values["use_vllm"] is True
    assert values["vllm_mode"] == "colocate"
    assert values["dtype"] == "float32"  # fp32 masters at RL learning rates
    assert values["per_device_train_batch_size"] * values["steps_per_generation"] >= 64  # in flight
    assert found["values"]["save_steps"]["value"] == 50
