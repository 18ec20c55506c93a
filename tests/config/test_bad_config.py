"""What a recipe cannot mean, and which of several places holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from openr1.config.overrides import parse_overrides
from openr1.config.recipe import Recipe, parse
from openr1.config.resolve import resolve
from openr1.errors import RecipeError
from openr1.hardware import simulate
from openr1.planning import plan
from openr1.services.lineage import parent_of


def recipe(folder: Path, text: str, command: str = "pipeline") -> Recipe:
    path = folder / "r.yaml"
    path.write_text(text)
    return parse(path, command)


def refusal(folder: Path, text: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        recipe(folder, text)
    return caught.value


def test_two_sections_of_one_name(tmp_path: Path) -> None:
    error = refusal(tmp_path, "sft:\n  limit: 1\ngrpo:\n  limit: 1\nsft:\n  limit: 2\n")
    assert error.what == "the key `sft` stands twice (first on line 1)"
    assert error.where == f"{tmp_path / 'r.yaml'}:5"
    error = refusal(tmp_path, "distill:\n  stage: sft\ndistill:\n  stage: grpo\n")
    assert "`distill` stands twice" in error.what and str(error.where).endswith(":3")


CHAIN = """\
first:
  stage: sft
second:
  stage: sft
  from: {name}
third:
  stage: grpo
check:
  stage: eval
"""


@pytest.mark.parametrize(
    "name", ["nowhere", "third", "second", "check"], ids=["none", "later", "self", "eval"]
)
def test_from_a_section_that_is_not_before_it(tmp_path: Path, name: str) -> None:
    found = recipe(tmp_path, CHAIN.format(name=name))
    with pytest.raises(RecipeError) as caught:
        parent_of(found, found.section("second"))
    assert caught.value.what == f"`from: {name}` names no training section before this one"
    assert str(caught.value.where).endswith("r.yaml:5")
    assert caught.value.fix == "earlier training sections: first"


def test_from_an_earlier_section_skips_those_between(tmp_path: Path) -> None:
    found = recipe(tmp_path, "a:\n  stage: sft\nb:\n  stage: sft\nc:\n  stage: grpo\n  from: a\n")
    parent = parent_of(found, found.section("c"))
    assert parent is not None and parent.name == "a"
    default = parent_of(found, found.section("b"))
    assert default is not None and default.name == "a"


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ("learning_rate: 1e-5", "learning_rate", 1e-5),
        ("learning_rate: 2.0e5", "learning_rate", 2.0e5),
        ("learning_rate: 2.0e-05", "learning_rate", 2e-5),
        ("learning_rate: 0.1E+1", "learning_rate", 1.0),
        ("max_steps: 1e3", "max_steps", 1000),
        ("max_steps: 010", "max_steps", 10),
        ("save_strategy: no", "save_strategy", "no"),
        ("eval_strategy: no", "eval_strategy", "no"),
        ("run_name: yes", "run_name", "yes"),
        ("limit: 1e3", "limit", 1000),
        ("limit: 32.0", "limit", 32),
        ("eval_split_size: 1e-1", "eval_split_size", 0.1),
        ("dataset_revision: 1.10", "dataset_revision", "1.10"),
        ("dataset_prompt_column: no", "dataset_prompt_column", "no"),
        ("run_name: off", "run_name", "off"),
        ("run_name: 1.10", "run_name", "1.10"),
        ("model_revision: 007", "model_revision", "007"),
        ("model_revision: 1e5", "model_revision", "1e5"),
        ("packing: True", "packing", True),
        ("dataset_config: null", "dataset_config", None),
        ("dataset_config: 'null'", "dataset_config", "null"),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says_and_the_key_wants(
    tmp_path: Path, written: str, key: str, value: object
) -> None:
    found = recipe(tmp_path, f"sft:\n  {written}\n")
    one = resolve(found, found.section("sft"), environ={"HOME": "/"})
    assert one[key] == value and type(one[key]) is type(value)


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "'true'", "0"])
def test_a_switch_takes_true_and_false_only(tmp_path: Path, word: str) -> None:
    found = recipe(tmp_path, f"sft:\n  packing: {word}\n")
    with pytest.raises(RecipeError, match="must be true or false") as caught:
        resolve(found, found.section("sft"), environ={"HOME": "/"})
    meant = {"no": "false", "off": "false", "0": "false"}.get(word, "true")  # 0: the default, as an example
    assert f"`packing: {meant}`" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("loss_type: dapoo", "must be one of grpo, dr_grpo, dapo"),
        ("scale_rewards: groups", "must be one of group, batch, none"),
        ("importance_sampling_level: word", "must be one of token, sequence"),
        ("vllm_mode: colocated", "must be one of server, colocate"),
    ],
)
def test_a_word_that_trl_would_refuse_in_its_first_step_is_refused_at_once(
    tmp_path: Path, line: str, words: str
) -> None:
    found = recipe(tmp_path, f"grpo:\n  {line}\n")
    with pytest.raises(RecipeError, match=words):
        resolve(found, found.section("grpo"), environ={"HOME": "/"})


def test_an_anchor_is_a_value_like_any_other(tmp_path: Path) -> None:
    found = recipe(tmp_path, "seed: &s 7\nsft:\n  data_seed: *s\n")
    one = resolve(found, found.section("sft"), environ={"HOME": "/"})
    assert one["data_seed"] == 7
    text = (
        "lr_scheduler_type: cosine_with_min_lr\nsft:\n  lr_scheduler_kwargs: &k {min_lr_rate: 1e-1}\n"
        "b:\n  stage: sft\n  lr_scheduler_kwargs: *k\n"
    )
    maps = recipe(tmp_path, text)
    one = resolve(maps, maps.section("b"), environ={"HOME": "/"})
    assert one["lr_scheduler_kwargs"] == {"min_lr_rate": 0.1}


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {mark}']",
        "!!python/object/new:subprocess.Popen [['touch', '{mark}']]",
        "!!python/name:os.system",
        "!include /etc/passwd",
        "!!binary aGk=",
        "!env HOME",
        "[1, !!python/object/apply:os.system ['touch {mark}']]",
        "{{a: !!python/object/apply:os.system ['touch {mark}']}}",
    ],
)
def test_no_tag_does_anything(tmp_path: Path, value: str) -> None:
    mark = tmp_path / "executed"
    error = refusal(tmp_path, f"sft:\n  run_name: {value.format(mark=mark)}\n")
    assert "not allowed in a recipe" in error.what and str(error.where).endswith(":2")
    assert not mark.exists()


def test_a_token_is_not_taken_from_a_recipe(tmp_path: Path) -> None:
    found = recipe(tmp_path, "sft:\n  hub_token: hf_secret\n")
    with pytest.raises(RecipeError) as caught:
        resolve(found, found.section("sft"), environ={"HOME": "/"})
    assert "is a secret" in caught.value.what and "hf_secret" not in str(caught.value.as_dict())
    given = parse_overrides(["--hub_token", "hf_secret"])[1]
    empty = recipe(tmp_path, "sft:\n  limit: 1\n")
    with pytest.raises(RecipeError, match="is a secret"):
        resolve(empty, empty.section("sft"), overrides=given, environ={"HOME": "/"})


OLD = """\
max_seq_length: 64
dataset_name: d
packing: true
"""


def test_the_whole_order_of_precedence(tmp_path: Path) -> None:
    """default < plan < the default of an old file's time < recipe < environment < command line."""
    key = "packing_strategy"
    steps: list[tuple[str, str, dict[str, str], list[str], str, str]] = [
        ("dataset_name: d\npacking: true\n", "default", {}, [], "bfd", "default: TRL"),
        (OLD, "pin", {}, [], "wrapped", "TRL 2025-02: packing cut the stream of tokens anywhere"),
        (OLD + f"{key}: bfd_split\n", "recipe", {}, [], "bfd_split", "recipe: "),
        (OLD, "environment", {"OPENR1_PACKING_STRATEGY": "bfd"}, [], "bfd", "environment: "),
        (
            OLD,
            "command line",
            {"OPENR1_PACKING_STRATEGY": "bfd"},
            ["--packing_strategy", "bfd_split"],
            "bfd_split",
            "command line: ",
        ),
    ]
    for text, what, environ, words, value, origin in steps:
        found = recipe(tmp_path, text, "sft")
        one = resolve(
            found, found.sections[0], overrides=parse_overrides(words)[1], environ={"HOME": "/", **environ}
        )
        assert one[key] == value, what
        assert str(one.settings[key].origin).startswith(origin), what


def test_a_plan_is_above_defaults_and_below_everything_else(tmp_path: Path) -> None:
    text = "sft:\n  model_name_or_path: Qwen/Qwen2.5-0.5B\n  dataset_name: d\n  global_batch_size: 16\n"
    for more, environ, words, origin in (
        ("", {}, [], "plan: "),
        ("  gradient_checkpointing: true\n", {}, [], "recipe: "),
        ("", {"OPENR1_GRADIENT_CHECKPOINTING": "true"}, [], "environment: "),
        ("", {}, ["--gradient_checkpointing"], "command line: "),
    ):
        found = recipe(tmp_path, text + more)
        one = resolve(
            found, found.section("sft"), overrides=parse_overrides(words)[1], environ={"HOME": "/", **environ}
        )
        made = plan("sft", one.values, simulate("cpu"), explicit=one.explicit)
        planned = one.with_values("plan", {k: (p.value, p.reason) for k, p in made.values.items()})
        setting = planned.settings["gradient_checkpointing"]
        assert str(setting.origin).startswith(origin)
        assert setting.value is (origin != "plan: "), "a CPU's plan leaves it off; TRL's default is on"
