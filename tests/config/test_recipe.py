"""Sections, flat files, unknown keys, overrides, precedence, and the hash that names a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openr1.config.overrides import parse_overrides
from openr1.config.recipe import find, parse, shipped
from openr1.config.resolve import Resolved, resolve
from openr1.errors import RecipeError, RecipeErrors, UsageError

RECIPE = """\
model_name_or_path: m
seed: 1
sft:
  dataset_name: d
  learning_rate: 2e-5
warmup:
  stage: sft
  seed: 2
grpo:
  dataset_name: d
"""


def write(folder: Path, text: str, name: str = "r.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def resolved(path: Path, name: str = "sft", env: dict[str, str] | None = None, **overrides: str) -> Resolved:
    recipe = parse(path, name)
    _, given = parse_overrides([f"--{k}={v}" for k, v in overrides.items()])
    return resolve(recipe, recipe.section(name), overrides=given, environ=env or {"HOME": "/"})


def test_sections_by_name_and_by_stage(tmp_path: Path) -> None:
    recipe = parse(write(tmp_path, RECIPE), "pipeline")
    assert [(s.name, s.stage) for s in recipe.sections] == [
        ("sft", "sft"),
        ("warmup", "sft"),
        ("grpo", "grpo"),
    ]
    with pytest.raises(UsageError, match="no section `x`"):
        recipe.section("x")


def test_precedence(tmp_path: Path) -> None:
    path = write(tmp_path, RECIPE)
    key = "seed"
    assert resolved(path)[key] == 1  # shared
    assert resolved(path, "warmup")[key] == 2  # the section's own
    assert resolved(path, "warmup", {"OPENR1_SEED": "3"})[key] == 3
    assert resolved(path, "warmup", {"OPENR1_SEED": "3"}, seed="4")[key] == 4
    assert resolved(path)["max_grad_norm"] == 1.0  # TRL's default
    origins = resolved(path, "warmup", {"OPENR1_SEED": "3"}, learning_rate="1e-4").settings
    assert str(origins["seed"].origin) == "environment: OPENR1_SEED"
    assert str(origins["learning_rate"].origin) == "command line: --learning_rate"
    assert str(origins["model_name_or_path"].origin).endswith("r.yaml:1")
    assert str(origins["max_grad_norm"].origin) == "default: TRL"


def test_a_plan_fills_only_what_nobody_set(tmp_path: Path) -> None:
    one = resolved(write(tmp_path, RECIPE))
    planned = one.with_values("plan", {"learning_rate": (1.0, "no"), "bf16": (False, "no GPU")})
    assert planned["learning_rate"] == 2e-5
    assert planned["bf16"] is False
    assert str(planned.settings["bf16"].origin) == "plan: no GPU"


def test_all_unknown_keys_at_once_with_line_and_nearest(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "lerning_rate: 1\nsft:\n  num_generations: 4\n  max_seq_length: 5\n  qqqq: 1\n  max_stepz: 3\n",
    )
    with pytest.raises(RecipeErrors) as caught:
        parse(path, "sft")
    found = {str(p.where).rsplit(":", 1)[1]: p for p in caught.value.problems}
    assert "`learning_rate`" in str(found["1"].fix)
    assert "belongs to" in str(found["3"].fix) and "grpo" in str(found["3"].fix)
    assert "`max_length`" in str(found["4"].fix)
    assert "remove it" in str(found["5"].fix)
    assert "`max_steps`" in str(found["6"].fix)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("learning_rate: fast", "must be a number, not 'fast'"),
        ("learning_rate: true", "must be a number, not true"),
        ("max_steps: 1.5", "must be a whole number, not 1.5"),
        ("bf16: yes please", "must be true or false or null"),
        ("bf16: 1", "must be true or false or null"),
        ("gradient_checkpointing_kwargs: 3", "must be a map"),
        ("save_strategy: sometimes", "must be one of no, steps, epoch, best"),
        ("global_batch_size: 0", "must be 1 or more, not 0"),
        ("global_batch_size: many", "must be a whole number, not 'many'"),
        ("global_batch_size: 2.5", "must be a whole number, not 2.5"),
        ("limit: true", "must be a whole number, not true"),
        ("allow_lora: yes", "must be true or false, not 'yes'"),
        ("allow_lora: 1", "must be true or false, not 1"),
        ("eval_split_size: '5'", "must be a number, not '5'"),
        ("eval_split_size: .nan", "must be a number, not nan"),
        ("dataset_prompt_column: [a]", "must be text, not a list"),
        ("lora_alpha: 0", "1 or more, not 0"),
        ("ddp_timeout: -3", "1 or more, not -3"),
        ("report_to: {a: b}", "not a map"),
    ],
)
def test_wrong_types_and_bounds_name_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, f"sft:\n  dataset_name: d\n  {line}\n")
    with pytest.raises(RecipeError) as caught:
        resolved(path)
    assert message in caught.value.what
    assert str(caught.value.where).endswith("r.yaml:3")


def test_keys_that_do_not_exist_and_values_that_cannot_be_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "seed: -1\nsft:\n  lerning_rate: 1\n  max_length: 1\n  limit: 0\n  bf16: true\n")
    with pytest.raises(RecipeErrors) as caught:
        parse(path, "sft")
    assert [str(p.where).rsplit(":", 1)[1] for p in caught.value.problems] == ["1", "3", "4", "5"]


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("SFT:\n  limit: 1\n", "`SFT:` looks like a section", "did you mean `sft:`?"),
        ("warm:\n  num_generations: 4\n", "`warm:` looks like a section", "add `stage: grpo` to its keys"),
        ("a:\n  stage: stf\n", "`stage: stf` is none of", "did you mean `stage: sft`?"),
        ("a:\n  stage: 7\n  beta: 0.1\n", "`stage: 7` is none of", "did you mean `stage: grpo`?"),
        ("stage: gropo\nlimit: 1\n", "`stage: gropo` is none of", "did you mean `stage: grpo`?"),
        ("stage: grpo\nlimit: 1\n", "this is a grpo recipe", "openr1 grpo {}"),
        ("sft:\n", "`sft:` opens a section", "a section without any is `sft: {{}}`"),
        (
            "sft:\n  show_samples: 3\n",
            "unknown key `show_samples`",
            "`--show-samples` is given with the command",
        ),
        ("sft:\n  seed: 4294967296\n", "0 or more and at most 4294967295, not 4294967296", "seed: 42"),
    ],
)
def test_sections_that_are_none_and_files_of_another_stage(
    tmp_path: Path, text: str, what: str, fix: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        resolved(path)
    assert what in caught.value.what
    assert fix.format(path) in str(caught.value.fix)
    assert str(path) in str(caught.value.where)


def test_a_flat_file_says_its_stage_itself(tmp_path: Path) -> None:
    path = write(tmp_path, "stage: sft\ndataset_name: d\n")
    assert parse(path, "sft").sections[0].stage == "sft"
    with pytest.raises(RecipeError) as caught:
        parse(path, "grpo")
    assert caught.value.fix == f"openr1 sft {path}"


def test_types_are_repaired_only_where_nothing_is_lost(tmp_path: Path) -> None:
    path = write(
        tmp_path, "sft:\n  max_steps: 1e3\n  learning_rate: 1\n  model_revision: 1.0\n  report_to: none\n"
    )
    one = resolved(path)
    assert (one["max_steps"], one["learning_rate"]) == (1000, 1.0)
    assert one["model_revision"] == "1.0"
    assert one["report_to"] == "none"


def test_flat_files_and_files_of_the_wrong_kind(tmp_path: Path) -> None:
    flat = write(tmp_path, "dataset_name: d\nlearning_rate: 1e-6\n")
    assert parse(flat, "grpo").sections[0].stage == "grpo"
    with pytest.raises(RecipeError, match="a pipeline needs sections"):
        parse(flat, "pipeline")
    grpo = write(tmp_path, "dataset_name: d\nnum_generations: 4\nreward_funcs: [accuracy]\n", "g.yaml")
    with pytest.raises(RecipeError) as caught:
        parse(grpo, "sft")
    assert "this is a grpo recipe" in caught.value.what
    assert caught.value.fix == f"openr1 grpo {grpo}"


def test_a_stage_that_is_none_and_a_section_without_keys(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="`stage: rl` is none of"):
        parse(write(tmp_path, "x:\n  stage: rl\n"), "sft")
    with pytest.raises(RecipeError, match="opens a section"):
        parse(write(tmp_path, "sft: 3\n"), "sft")


def test_overrides() -> None:
    plain, found = parse_overrides(
        [
            "r.yaml",
            "--learning_rate",
            "1e-5",
            "--max-steps=3",
            "--packing",
            "--bf16",
            "false",
            "--grpo.seed",
            "2",
        ]
    )
    assert plain == ["r.yaml"]
    assert {k: v for k, (v, _) in found.items()} == {
        "learning_rate": 1e-5,
        "max_steps": 3,
        "packing": True,
        "bf16": False,
        "grpo.seed": 2,
    }
    plain, found = parse_overrides(["--packing", "r.yaml"])
    assert plain == ["r.yaml"] and found["packing"][0] is True
    assert parse_overrides(["--weight_decay", "-1"])[1]["weight_decay"][0] == -1
    with pytest.raises(UsageError, match="given twice"):
        parse_overrides(["--seed", "1", "--seed", "2"])
    with pytest.raises(UsageError, match="says nothing"):
        parse_overrides(["--"])


def test_an_unknown_override_names_the_nearest_key(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        resolved(write(tmp_path, RECIPE), learning_rat="1")
    assert caught.value.where == "the command line"
    assert "`learning_rate`" in str(caught.value.fix)


def test_an_environment_variable_that_names_no_key_is_said(tmp_path: Path) -> None:
    one = resolved(write(tmp_path, RECIPE), env={"OPENR1_LERNING_RATE": "1", "OPENR1_DEBUG": "1"})
    assert len(one.notices) == 1
    assert one.notices[0].endswith("not used; did you mean OPENR1_LEARNING_RATE?")


def test_the_hash_is_what_was_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, RECIPE)
    base = resolved(path).hash
    assert resolved(path).hash == base
    assert resolved(path, save_steps="7").hash == base  # how often to save teaches nothing
    assert resolved(path).with_values("plan", {"bf16": (True, "a GPU")}).hash == base
    assert resolved(path, learning_rate="1e-6").hash != base
    assert resolved(path, "warmup").hash != base


def test_shipped_recipes_are_found_by_name() -> None:
    assert find("tiny-cpu") == shipped()["tiny-cpu"]
    with pytest.raises(RecipeError) as caught:
        find("tinycpu")
    assert caught.value.fix == "did you mean tiny-cpu?"


@pytest.mark.parametrize("path", sorted(shipped().values()), ids=lambda p: p.stem)
def test_every_shipped_recipe_resolves(path: Path) -> None:
    recipe = parse(path, "pipeline")
    for section in recipe.sections:
        one: Any = resolve(recipe, section, environ={})
        assert one["seed"] is not None
