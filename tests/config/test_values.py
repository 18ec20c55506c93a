"""Values that a type does not tell right from wrong, what to do about each, and files of another command."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path

import pytest

from openr1.config.legacy import generate_command
from openr1.config.overrides import parse_overrides
from openr1.config.recipe import parse
from openr1.config.resolve import resolve
from openr1.config.values import ATTENTION, SCHEDULERS
from openr1.config.yaml_file import load, plain
from openr1.errors import RecipeError

from .old_files import FOLDER, OLD_FILES

MIN_LR = "lr_scheduler_type: cosine_with_min_lr"


def refusal(folder: Path, text: str) -> RecipeError:
    path = folder / "r.yaml"
    path.write_text("sft:\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    recipe = parse(path, "sft")
    with pytest.raises(RecipeError) as caught:
        resolve(recipe, recipe.sections[0], environ={"HOME": "/"})
    return caught.value


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("attn_implementation: flash_atention_2", "`attn_implementation` must be of eager", "explain attn"),
        ("deepspeed: nowhere.json", "`deepspeed` names no file: nowhere.json", "explain deepspeed"),
        ("lr_scheduler_kwargs: fast", "`lr_scheduler_kwargs` must be a map", "explain lr_scheduler_kwargs"),
        ("lr_scheduler_kwargs: {min_lr_rate: 0.1}", "lr_scheduler_type linear takes none", "explain"),
        (f"{MIN_LR}\nlr_scheduler_kwargs: {{min_rate: 0.1}}", "takes num_cycles, min_lr, min_lr_rate", ""),
        (
            f"{MIN_LR}\nlr_scheduler_kwargs: {{min_lr_rate: low}}",
            "must hold numbers, not min_lr_rate: 'low'",
            "",
        ),
        (
            f"{MIN_LR}\nlr_scheduler_kwargs: {{min_lr: 0, min_lr_rate: 0}}",
            "one of min_lr and min_lr_rate",
            "",
        ),
        (MIN_LR, "`lr_scheduler_type` needs one of min_lr and min_lr_rate", "default"),
        ("lr_scheduler_type: warmup_stable_decay", "num_decay_steps", ""),
        ("learning_rate: fast", "`learning_rate` must be", "for example `learning_rate: 2e-05`, the default"),
        ("num_train_epochs: -1", "must be above 0", "for example `num_train_epochs: 3.0`"),
        ("packing: maybe", "`packing` must be true or false", "for example `packing: false`"),
        ("limit: 0", "`limit`", "openr1 configs explain limit"),
        ("hub_token: hf_abc", "is a secret", "hf auth login"),
        ("no_packing: true", "", "switch it off with `--packing false`, or `packing: false`"),
    ],
)
def test_what_is_wrong_and_what_to_do(tmp_path: Path, text: str, what: str, fix: str) -> None:
    if text.startswith("no_"):
        (tmp_path / "r.yaml").write_text(f"sft:\n  {text}\n")
        with pytest.raises(RecipeError) as caught:
            parse(tmp_path / "r.yaml", "sft")
        found = caught.value
    else:
        found = refusal(tmp_path, text)
    assert what in found.what
    assert found.fix and fix in found.fix
    assert found.where and "r.yaml:" in found.where


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_deepspeed_file_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "ds.json").write_text(text)
    assert "names a file that" in refusal(tmp_path, f"deepspeed: {tmp_path / 'ds.json'}").what


@pytest.mark.parametrize(
    "text",
    [
        "attn_implementation: kernels-community/flash-attn3",
        "attn_implementation: null",
        f"{MIN_LR}\nlr_scheduler_kwargs: {{min_lr_rate: 0.1}}",
        "lr_scheduler_type: polynomial\nlr_scheduler_kwargs: {power: 2}",
        "lr_scheduler_type: reduce_lr_on_plateau\nlr_scheduler_kwargs: {patience: 2}",
        "deepspeed: {zero_optimization: {stage: 2}}",
        "deepspeed: null",
    ],
)
def test_what_is_right_is_taken(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text("sft:\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    recipe = parse(tmp_path / "r.yaml", "sft")
    resolve(recipe, recipe.sections[0], environ={"HOME": "/"})


def test_the_tables_are_transformers_own() -> None:
    pytest.importorskip("transformers")
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION

    own = {name for name in ALL_ATTENTION_FUNCTIONS if not name.startswith("openr1")}
    assert own <= set(ATTENTION)
    given = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
    for kind, function in TYPE_TO_SCHEDULER_FUNCTION.items():
        names = {p.name for p in inspect.signature(function).parameters.values()} - given
        if names == {"kwargs"}:
            assert kind.value not in SCHEDULERS
        else:
            assert set(SCHEDULERS[kind.value]) == names, kind.value


def test_no_something_does_not_swallow_the_recipe() -> None:
    plain_words, found = parse_overrides(["--no-packing", "my.yaml"])
    assert plain_words == ["my.yaml"] and list(found) == ["no_packing"]


@pytest.mark.parametrize("command", ["eval", "generate"])
@pytest.mark.parametrize("name", sorted(OLD_FILES))
def test_a_training_file_given_to_another_command_is_told_what_it_is(name: str, command: str) -> None:
    path = FOLDER / f"{name}.yaml"
    with pytest.raises(RecipeError) as caught:
        parse(path, command)
    fix = str(caught.value.fix)
    if name.startswith("pass-rate"):
        assert "filters a dataset by pass rate" in caught.value.what
        assert fix.startswith("openr1 generate --model_name_or_path ")
    else:
        assert f"for training, openr1 {OLD_FILES[name].stage} (it sets " in caught.value.what
        assert fix.startswith(
            f"openr1 {OLD_FILES[name].stage} {path}   trains with it; then: openr1 {command} "
        )


def test_a_pass_rate_file_names_its_command() -> None:
    values = {key: plain(loaded) for key, loaded in load(FOLDER / "pass-rate-demo.yaml").items()}
    words = shlex.split(generate_command(values) or "")
    assert words[:2] == ["openr1", "generate"]
    _, flags = parse_overrides(words[2:])
    found = {key: value for key, (value, _) in flags.items()}
    assert found.pop("system_prompt").startswith("You are a helpful AI Assistant")
    assert found == {
        "model_name_or_path": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
        "dataset_name": "open-r1/OpenR1-Math-220k",
        "prompt_column": "problem",
        "num_generations": 8,
        "temperature": 0.7,
        "top_p": 0.95,
        "max_new_tokens": 2048,
        "reward_funcs": "accuracy",
        "pass_rate_min": 0.2,
        "pass_rate_max": 0.8,
        "keep": "any",
        "truncated_as": "wrong",
        "layouts": "full",  # one row per problem, for GRPO
    }
    named = generate_command({"pass_rate_max": 1, "output_dataset_name": "me/filtered"})
    assert named and "--hub_dataset_id me/filtered" in named
    section = parse(FOLDER / "pass-rate-demo.yaml", "grpo").sections[0]
    assert section.old and section.old.notices[-1].endswith(generate_command(values) or "?")
    part = generate_command({"pass_rate_min": 0, "dataset_start_index": 0, "dataset_end_index": 200})
    assert part and "--dataset_split 'train[:200]'" in part
    assert generate_command({"learning_rate": 1}) is None
