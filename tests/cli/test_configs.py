"""`openr1 configs`: the recipes that come with openr1, and what a key means."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from openr1.config.header import header_of
from openr1.config.names import all_keys
from openr1.config.own_types import own_types
from openr1.config.recipe import shipped
from openr1.config.schema import STAGES
from openr1.config.units import UNITS
from tests.conftest import Cli

ROOT = Path(__file__).parents[2]


def test_every_shipped_recipe_says_what_it_does_needs_and_how_it_is_started() -> None:
    for name, path in shipped().items():
        header = header_of(path)
        for part in (header.what, header.needs, header.start, header.gives):
            assert part, (name, header)
        assert name in header.start


def test_a_header_ends_where_the_comment_does(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "# One.\n# Two.\n#\n# needs    a card\n#          of 12 GB\n#\n# more\nseed: 1\n# needs  no\n"
    )
    header = header_of(path)
    assert (header.what, header.needs, header.start) == ("One. Two.", "a card of 12 GB", "")
    path.write_text("seed: 1\n")
    assert header_of(path).what == ""


def test_the_list_says_what_fits_where(cli: Cli) -> None:
    def fits(machine: str) -> dict[str, dict[str, bool | None]]:
        entries = cli("configs", "ls", "--simulate", machine, "--json").json
        return {e["name"]: {s["section"]: s["fits"] for s in e["sections"]} for e in entries}

    small, large = fits("RTX 3060"), fits("8xH100")
    assert set(small) == set(shipped())
    assert small["qwen0.5b-light"] == {"sft": True, "grpo": True, "eval": True}
    assert small["qwen-math-7b-simple-rl"]["grpo"] is False
    assert large["qwen-math-7b-simple-rl"]["grpo"] is True
    assert all(small["tiny-cpu"].values())
    lines = cli("configs", "ls", "--simulate", "RTX 3060").out.splitlines()
    assert "1 × RTX 3060" in lines[0]
    named = [line for line in lines if line.split()[:1] and line.split()[0] in shipped()]
    assert len(named) == len(shipped()), "a line each"
    order = [line.split()[0] for line in named]
    assert order[:3] == ["tiny-cpu", "tiny-cpu-full", "qwen0.5b-light"]
    assert order[-1] == "deepseek-r1-generate"
    assert "an RTX 3060 12 GB or better  fits" in named[2]
    assert "sft, grpo do not fit" in next(line for line in named if "qwen1.5b-instruct" in line)


def test_the_list_for_several_nodes(cli: Cli) -> None:
    def fits(*words: object) -> bool | None:
        entries = cli("configs", "ls", "--simulate", "8xH100", *words, "--json").json
        (entry,) = (e for e in entries if e["name"] == "deepseek-r1-generate")
        return bool(entry["sections"][0]["fits"])

    assert not fits() and not fits("--nodes", 1) and fits("--nodes", 2)
    assert "2 nodes of 8 × H100" in cli("configs", "ls", "--simulate", "8xH100", "--nodes", 2).out
    assert "--nodes" in cli("configs", "ls", "--nodes", "0", code=2).err


def test_what_a_recipe_needs_is_read_from_its_head() -> None:
    needed = {name: header_of(path).gpu_gb for name, path in shipped().items()}
    assert needed["tiny-cpu"] == 0 and needed["qwen0.5b-light"] == 12
    assert needed["qwen-math-7b-simple-rl"] == 640 and needed["deepseek-r1-generate"] == 1280


def test_show_prints_the_file_and_cp_copies_it(cli: Cli) -> None:
    text = shipped()["tiny-cpu"].read_text()
    assert cli("configs", "show", "tiny-cpu").out == text
    assert "written: tiny-cpu.yaml" in cli("configs", "cp", "tiny-cpu").out
    assert (cli.folder / "tiny-cpu.yaml").read_text() == text
    cli("configs", "cp", "tiny-cpu", "mine/new.yaml")
    assert (cli.folder / "mine/new.yaml").read_text() == text
    assert not list(cli.folder.rglob("*.part"))


def test_a_copy_writes_over_nothing_unless_asked(cli: Cli) -> None:
    cli.write("my.yaml", "seed: 1\n")
    done = cli("configs", "cp", "tiny-cpu", "my.yaml", code=2)
    assert "exists already" in done.err and "--force" in done.err
    assert (cli.folder / "my.yaml").read_text() == "seed: 1\n"
    cli("configs", "cp", "tiny-cpu", "my.yaml", "--force")
    assert "builtin:tiny-qwen2" in (cli.folder / "my.yaml").read_text()
    done = cli("configs", "cp", "tiny-cpu", "my.yaml/new.yaml", code=2)
    assert "cannot be written" in done.err and "name another file" in done.err
    assert "my.txt.yaml" in cli("configs", "cp", "tiny-cpu", "my.txt", code=2).err


def test_explain_gives_meaning_type_unit_default_and_places(cli: Cli) -> None:
    found = cli("configs", "explain", "max-completion-length", "--json").json
    meaning = found["meanings"][0]
    assert meaning["stages"] == ["grpo"] and meaning["unit"] == "tokens" and meaning["default"] == 512
    assert meaning["type"] == "a whole number (1 or more) or null"
    tiny = next(p for p in found["set_in"] if "tiny-cpu.yaml" in p["where"])
    path, _, line = tiny["where"].rpartition(":")
    assert path == "tiny-cpu.yaml"
    assert "max_completion_length: 64" in shipped()["tiny-cpu"].read_text().splitlines()[int(line) - 1]
    assert (tiny["section"], tiny["value"]) == ("grpo", 64)
    assert "unit     seconds" in cli("configs", "explain", "server_patience").out
    assert "one of   group, batch, none" in cli("configs", "explain", "scale_rewards").out
    both = cli("configs", "explain", "seed", "--json").json
    assert [m["stages"] for m in both["meanings"]] == [["sft", "grpo"], ["eval", "generate"]]


def test_explain_in_a_recipe_tells_the_value_and_its_line(cli: Cli) -> None:
    cli.write("r.yaml", "seed: 3\nsft:\n  dataset_name: x\n  packing: true\ngrpo:\n  dataset_name: x\n")
    packing = cli("configs", "explain", "packing", "r.yaml", "--json").json
    assert packing["in_effect"] == [{"where": "recipe: r.yaml:4", "section": "sft", "value": True}]
    beta = cli("configs", "explain", "beta", "r.yaml").out
    assert "in grpo   0.0   (default: TRL)" in beta
    assert "in sft   3   (recipe: r.yaml:1)" in cli("configs", "explain", "seed", "r.yaml").out
    deep = f"{'a-long-folder-name/' * 5}r.yaml"  # longer than a line of the terminal
    (cli.folder / deep).parent.mkdir(parents=True)
    cli.write(deep, "seed: 3\nsft:\n  dataset_name: x\n")
    assert f"in sft   3   (recipe: {deep}:1)" in cli("configs", "explain", "seed", deep).out


def test_migrate_prints_or_writes_a_recipe_that_runs(cli: Cli) -> None:
    old = ROOT / "tests/config/legacy/grpo-2025-02-simple-rl.yaml"
    text = cli("configs", "migrate", old).out
    assert text.startswith("# ") and "\ngrpo:\n" in text
    written = cli("configs", "migrate", old, "new.yaml").out
    assert "written: new.yaml" in written and "next:  openr1 pipeline new.yaml --dry-run" in written
    assert (cli.folder / "new.yaml").read_text() == text
    plan = cli("grpo", "new.yaml", "--gpus", 7, "--simulate", "8xH100", "--dry-run", "--json").json
    same = cli("grpo", old, "--simulate", "8xH100", "--dry-run", "--json").json
    for key in ("learning_rate", "beta", "num_generations", "global_batch_size", "temperature"):
        assert plan["values"][key]["value"] == same["values"][key]["value"], key
    assert cli("configs", "migrate", old, "new.yaml", code=2).err.count("exists already") == 1
    assert "nothing to migrate" in cli("configs", "migrate", "tiny-cpu", code=2).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explain", "lerning_rate"], "did you mean `learning_rate`"),
        (["explain", "max_seq_length"], "called `max_length` now"),
        (["explain", "qqqq"], "--all-values lists the keys"),
        (["nope"], "Commands: ls, show, cp, explain, migrate"),
        (["sho", "tiny-cpu"], "Did you mean `show`?"),
    ],
)
def test_what_does_not_exist_is_answered_with_what_does(cli: Cli, words: list[str], said: str) -> None:
    assert said in " ".join(cli("configs", *words, code=2).err.split())


def test_a_recipe_that_is_not_there_names_the_nearest(cli: Cli) -> None:
    assert "did you mean tiny-cpu?" in cli("configs", "show", "tinycpu", code=3).err
    assert "there is no command" in cli("sfft", "x", code=2).err
    cli.write("binary.yaml", b"\x89PNG\xff")
    for name, said in (("gone.yaml", "no such file"), (".", "directory"), ("binary.yaml", "not a text file")):
        for verb in ("show", "cp", "migrate"):
            assert said in cli("configs", verb, name, code=3).err


WITHOUT_A_UNIT = {"seed", "temperature"}


def test_units_belong_to_keys_that_exist_and_no_number_of_ours_is_without() -> None:
    assert set(UNITS) <= all_keys()
    for stage in STAGES:
        numbers = {key for key, kind in own_types(stage).items() if "number" in kind}
        assert numbers - WITHOUT_A_UNIT <= set(UNITS), stage


def test_the_recipes_come_with_the_wheel(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    wheel = next(tmp_path.glob("*.whl"))
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    old = ROOT / "tests" / "config" / "legacy" / "light-sft.yaml"

    def configs(*words: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "openr1", "configs", *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = configs("ls", "--json")
    assert str(tmp_path / "site") in listed
    assert all(f'"{name}"' in listed for name in shipped())
    assert configs("show", "qwen0.5b-light") == shipped()["qwen0.5b-light"].read_text()
    configs("cp", "tiny-cpu", "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == shipped()["tiny-cpu"].read_text()
    assert "qwen0.5b-light.yaml:" in configs("explain", "max_completion_length")
    assert "in sft   512   (recipe: " in configs("explain", "max_length", old)
    assert configs("migrate", old).startswith("# light-sft: migrated from a file of open-r1 2025-02.")
