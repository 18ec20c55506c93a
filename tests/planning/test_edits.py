"""A refusal is useful: bytes by cause, and edits that really make it fit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openr1.hardware import simulate
from openr1.planning import PlanDoesNotFit

from .recipes import LIGHT_GRPO, LIGHT_SFT, SIMPLE_RL, batch_of, made

RTX_3060 = simulate("RTX 3060")
TOO_LONG = LIGHT_GRPO | {"max_completion_length": 2048, "per_device_train_batch_size": 16}

TWO_WISHES = LIGHT_GRPO | {"optim": "adamw_torch", "vllm_enable_sleep_mode": False}


def refused(stage: str, recipe: dict[str, Any], machine: Any = RTX_3060) -> PlanDoesNotFit:
    with pytest.raises(PlanDoesNotFit) as caught:
        made(stage, recipe, machine)
    return caught.value


def test_the_cheapest_sufficient_edit_comes_first_and_is_a_flag() -> None:
    error = refused("grpo", TOO_LONG)
    first = error.edits[0]
    assert first.suffices and first.flags.startswith("--per_device_train_batch_size ")
    assert first.saves_bytes > 0
    assert str(error.fix).startswith(first.flags)


def test_sufficient_edits_are_ranked_by_what_they_change() -> None:
    costs = [e.cost for e in refused("grpo", TOO_LONG).edits if e.suffices]
    assert costs == sorted(costs)


@pytest.mark.parametrize("recipe", [TOO_LONG, SIMPLE_RL, TWO_WISHES])
def test_every_sufficient_edit_makes_it_fit(recipe: dict[str, Any]) -> None:
    for edit in refused("grpo", recipe).edits:
        if edit.suffices:
            assert all(v is not None for v in edit.changes.values())
            assert made("grpo", recipe | edit.changes, RTX_3060).fits, edit.flags


def test_an_explicit_optimizer_that_does_not_fit_is_named() -> None:
    error = refused("grpo", TWO_WISHES)
    assert any("--optim adamw_bnb_8bit" in e.flags for e in error.edits if e.suffices)


def test_fit_applies_the_first_and_says_so() -> None:
    found = made("grpo", TOO_LONG, RTX_3060, fit=True)
    assert found.fits and found.applied[0].startswith("--per_device_train_batch_size")
    assert "--fit" in found.values["per_device_train_batch_size"].reason
    assert batch_of(found) == 64, "the global batch stays the recipe's"


def test_fit_may_combine_edits() -> None:
    found = made("grpo", SIMPLE_RL, RTX_3060, fit=True)
    assert found.fits and "--load_in_4bit true" in found.applied[0]
    assert found.values["load_in_4bit"].value is True


def test_plain_lora_comes_before_a_base_in_4_bit() -> None:
    """QLoRA saves more; where LoRA on the 16-bit base fits it is nearer to what was asked."""
    recipe = LIGHT_SFT | {"model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct"}
    enough = [edit.changes for edit in refused("sft", recipe).edits if edit.suffices]
    bits = ["load_in_4bit" in changes for changes in enough if "use_peft" in changes]
    assert bits == [False, True]
    applied = made("sft", recipe, RTX_3060, fit=True).applied[0]
    assert "--use_peft true" in applied and "load_in_4bit" not in applied


def test_fit_changes_nothing_that_fits() -> None:
    assert made("sft", LIGHT_SFT, RTX_3060, fit=True).applied == ()


def test_force_goes_on_and_shows_the_truth() -> None:
    found = made("grpo", TOO_LONG, RTX_3060, force=True)
    assert found.fits is False and found.values["per_device_train_batch_size"].value == 16


def test_a_recipe_whose_micro_batch_defines_the_batch_keeps_it() -> None:
    recipe = {k: v for k, v in TOO_LONG.items() if k != "global_batch_size"}
    recipe |= {"gradient_accumulation_steps": 4}
    found = made("grpo", recipe, RTX_3060, fit=True)
    assert found.fits and batch_of(found) == 64
    assert found.values["global_batch_size"].value == 64


def test_the_error_is_json_and_of_a_known_kind() -> None:
    fields = refused("grpo", SIMPLE_RL).as_dict()
    text = json.dumps(fields)
    assert fields["kind"] == "DoesNotFit" and fields["code"] == 4 and '"flags"' in text
    memory = fields["memory"]
    assert isinstance(memory, dict) and {"load", "rollout", "update", "save"} <= set(memory)


def test_lora_that_does_not_fit_may_go_to_4_bit() -> None:
    recipe = LIGHT_SFT | {"model_name_or_path": "Qwen/Qwen2.5-7B-Instruct", "use_peft": True}
    flags = [e.flags for e in refused("sft", recipe).edits if e.suffices]
    assert "--load_in_4bit true" in flags


def test_a_giant_is_refused_without_stumbling() -> None:
    recipe = {"model_name_or_path": "deepseek-ai/DeepSeek-R1", "max_length": None}
    error = refused("sft", recipe, simulate("8xH100"))
    assert "DeepSeek-R1 does not fit" in error.what


def test_nothing_helps_is_said() -> None:
    recipe = {"model_name_or_path": "deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "max_length": 4096}
    error = refused("sft", recipe)
    assert all("smaller model" in e.words for e in error.edits if e.suffices)
