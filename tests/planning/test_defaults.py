"""The defaults to get right: the recipes this tool ships, on the machines people have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from openr1.errors import DoesNotFit, EnvironmentProblem
from openr1.hardware import Finding, simulate
from openr1.hardware.facts import unknown
from openr1.planning import Plan

from .recipes import INSTRUCT_GRPO, LIGHT_GRPO, LIGHT_SFT, SIMPLE_RL, batch_of, gib, made

RTX_3060, CPU, H100X8 = simulate("RTX 3060"), simulate("cpu"), simulate("8xH100")


def value(found: Plan, key: str) -> Any:
    return found.values[key].value


class TestLightOnA3060:
    def test_sft_keeps_fp32_masters_and_fits(self) -> None:
        found = made("sft", LIGHT_SFT, RTX_3060)
        assert found.fits and found.processes == 1 and found.sharding == "none"
        assert value(found, "dtype") == "float32" and value(found, "bf16") is True
        assert batch_of(found) == 16

    def test_grpo_fits_beside_vllm(self) -> None:
        found = made("grpo", LIGHT_GRPO, RTX_3060)
        assert found.fits
        assert value(found, "vllm_mode") == "colocate" and value(found, "use_vllm") is True
        assert value(found, "dtype") == "float32", "small RL updates must not round away"
        assert value(found, "optim") == "adamw_bnb_8bit"
        assert value(found, "vllm_max_model_length") == 1024
        assert 0.1 < value(found, "vllm_gpu_memory_utilization") < 0.4
        assert found.requires == ("bitsandbytes", "vllm")

    def test_grpo_keeps_64_completions_in_flight(self) -> None:
        found = made("grpo", LIGHT_GRPO, RTX_3060)
        assert found.memory is not None
        kv = found.memory["rollout"]["vLLM KV cache"]
        assert kv // (12 * 1024 * 1024) >= 64  # 12 KiB per token, 1024 tokens each
        assert batch_of(found) == 64
        assert value(found, "steps_per_generation") == value(found, "gradient_accumulation_steps")

    def test_a_person_s_checkpoint_cadence_is_not_touched(self) -> None:
        assert "save_steps" not in made("grpo", LIGHT_GRPO, RTX_3060).values


class TestLightOnTwoCores:
    @pytest.mark.parametrize(("stage", "recipe"), [("sft", LIGHT_SFT), ("grpo", LIGHT_GRPO)])
    def test_it_plans_and_says_how_slow(self, stage: str, recipe: dict[str, Any]) -> None:
        found = made(stage, recipe, CPU)
        assert found.fits
        assert value(found, "use_cpu") is True and value(found, "bf16") is False
        assert value(found, "dtype") == "float32" and value(found, "gradient_checkpointing") is False
        assert found.threads.value == 2
        assert found.step_seconds.value > 60, "half a billion parameters on two cores is minutes per step"
        assert batch_of(found) == recipe["global_batch_size"]

    def test_rollouts_are_transformers_own(self) -> None:
        assert value(made("grpo", LIGHT_GRPO, CPU), "use_vllm") is False


@pytest.mark.parametrize(("stage", "recipe"), [("sft", LIGHT_SFT), ("grpo", LIGHT_GRPO)])
def test_light_on_eight_h100_learns_the_same(stage: str, recipe: dict[str, Any]) -> None:
    found = made(stage, recipe, H100X8)
    assert found.fits and found.processes == 8 and found.sharding == "ddp"
    assert batch_of(found) == recipe["global_batch_size"]


class TestSimpleRl:
    def test_on_eight_h100(self) -> None:
        found = made("grpo", SIMPLE_RL, H100X8)
        assert found.fits and found.sharding == "zero2" and found.processes == 8
        assert value(found, "vllm_mode") == "colocate" and found.vllm_gpus == ()
        assert value(found, "dtype") == "bfloat16", "DeepSpeed keeps the fp32 masters"
        assert batch_of(found) == 896
        assert {"deepspeed", "vllm", "accelerate"} <= set(found.requires)

    def test_with_seven_gpus_the_eighth_serves(self) -> None:
        found = made("grpo", SIMPLE_RL, H100X8, gpus=7)
        assert found.fits and found.processes == 7
        assert value(found, "vllm_mode") == "server" and found.vllm_gpus == (7,)
        assert found.train_gpus == (0, 1, 2, 3, 4, 5, 6)
        assert batch_of(found) == 896

    def test_on_one_3060_it_is_refused_with_what_would_fit(self) -> None:
        with pytest.raises(DoesNotFit) as caught:
            made("grpo", SIMPLE_RL, RTX_3060)
        error = caught.value
        assert error.code == 4
        assert "weights" in error.what and "gradients" in error.what and "GiB" in error.what
        flags = [e.flags for e in error.edits if e.suffices]  # type: ignore[attr-defined]
        assert any("--load_in_4bit true" in f for f in flags)
        assert any("--model_name_or_path Qwen/Qwen2.5-" in f for f in flags)

    def test_old_recipes_for_fourteen_generations_are_explained_on_eight_ranks(self) -> None:
        recipe = SIMPLE_RL | {"num_generations": 14, "global_batch_size": 128}
        with pytest.raises(Exception, match="whole groups of 14") as caught:
            made("grpo", recipe, H100X8)
        assert "112" in str(caught.value.fix)  # type: ignore[attr-defined]


@pytest.mark.parametrize("gpus", [None, 7])
def test_grpo_without_a_recipe_on_eight_h100(gpus: int | None) -> None:
    """The recipe it falls back to keeps 112 completions a step: whole over 7 and over 8 ranks."""
    found = made("grpo", INSTRUCT_GRPO, H100X8, gpus=gpus)
    assert found.fits and batch_of(found) == 112
    assert found.processes == (gpus or 8)
    assert found.vllm_gpus == (() if gpus is None else (7,))


class TestThreeGpus:
    machine = simulate("3xRTX 4090")

    def test_grpo_trains_on_two_and_serves_with_the_third(self) -> None:
        found = made("grpo", LIGHT_GRPO, self.machine)
        assert found.processes == 2 and found.vllm_gpus == (2,) and found.fits
        assert not found.warnings

    def test_sft_says_which_batch_would_use_all(self) -> None:
        found = made("sft", LIGHT_SFT, self.machine)
        assert found.processes == 2 and "--global_batch_size 15" in found.warnings[0]

    def test_a_batch_of_48_uses_all_three(self) -> None:
        found = made("sft", LIGHT_SFT | {"global_batch_size": 48}, self.machine)
        assert found.processes == 3 and batch_of(found) == 48


def test_a_gpu_half_used_by_somebody_else() -> None:
    machine = simulate("RTX 4090")
    gpu = machine.gpus[0]
    total = gpu.total_bytes.value or 0
    busy = replace(gpu, free_bytes=Finding(total // 2, "NVML"), used_by=Finding(("pid 4711",), "NVML"))
    found = made("grpo", LIGHT_GRPO, replace(machine, gpus=(busy,)))
    assert found.fits and found.capacity_bytes is not None and found.capacity_bytes < total // 2
    assert any("4711" in w for w in found.warnings)
    share = value(found, "vllm_gpu_memory_utilization")
    assert share * total < found.capacity_bytes, (
        "the share is of the whole card, the room only of its free half"
    )


def test_a_card_the_catalogue_does_not_know() -> None:
    machine = simulate("RTX 4090")
    nothing = unknown("the catalogue does not know 'RTX 9990'")
    new = replace(
        machine.gpus[0], name=Finding("RTX 9990", "NVML"), bf16_tflops=nothing, bandwidth_gb_s=nothing
    )
    found = made("grpo", LIGHT_GRPO, replace(machine, gpus=(new,)))
    assert found.fits, "memory comes from the driver, so it plans"
    assert found.step_seconds.value is None and "RTX 9990" in found.step_seconds.reason


def test_a_card_without_bf16() -> None:
    found = made("sft", LIGHT_SFT, simulate("T4"))
    assert value(found, "fp16") is True and value(found, "bf16") is False and found.fits


def test_memory_the_driver_does_not_tell_is_no_verdict() -> None:
    machine = simulate("RTX 4090")
    mute = replace(machine.gpus[0], total_bytes=unknown("no"), free_bytes=unknown("no"))
    found = made("sft", LIGHT_SFT, replace(machine, gpus=(mute,)))
    assert found.fits is None and found.memory is None and "driver" in found.memory_reason


class TestTinyModel:
    """No shape at hand: rules apply, memory stays unknown."""

    def test_sft_on_a_cpu(self) -> None:
        recipe = {"model_name_or_path": "builtin:tiny-qwen2", "global_batch_size": 64}
        found = made("sft", recipe, CPU)
        assert found.memory is None and "builtin:tiny-qwen2" in found.memory_reason
        assert value(found, "per_device_train_batch_size") == 64
        assert value(found, "gradient_accumulation_steps") == 1
        assert found.threads.value == "probe"

    def test_grpo_on_a_cpu_with_the_number_of_threads_set(self) -> None:
        recipe = {
            "model_name_or_path": "builtin:tiny-qwen2",
            "global_batch_size": 128,
            "num_generations": 8,
            "threads": 1,
        }
        found = made("grpo", recipe, CPU)
        assert value(found, "per_device_train_batch_size") == 128 and found.threads.value == 1

    def test_two_processes_on_a_cpu(self) -> None:
        recipe = {"model_name_or_path": "builtin:tiny-qwen2", "global_batch_size": 64}
        found = made("sft", recipe, CPU, processes=2)
        assert found.processes == 2 and batch_of(found) == 64

    def test_on_a_gpu(self) -> None:
        recipe = {"model_name_or_path": "builtin:tiny-qwen2", "global_batch_size": 64}
        found = made("sft", recipe, RTX_3060)
        assert batch_of(found) == 64 and value(found, "per_device_train_batch_size") == 8


class TestSeveralNodes:
    def test_ranks_are_counted_over_nodes(self) -> None:
        found = made("sft", LIGHT_SFT, simulate("4xA100-40GB, 2 nodes"))
        assert found.processes == 8 and found.nodes == 2 and batch_of(found) == 16

    def test_a_server_takes_the_last_node(self) -> None:
        recipe = SIMPLE_RL | {"vllm_mode": "server"}
        found = made("grpo", recipe, simulate("8xH100, 2 nodes"))
        assert found.processes == 8 and found.vllm_nodes == 1 and found.nodes == 2


class TestExplicitValuesWin:
    def test_micro_batch_and_checkpointing(self) -> None:
        recipe = LIGHT_GRPO | {"per_device_train_batch_size": 2, "gradient_checkpointing": True}
        found = made("grpo", recipe, H100X8)
        assert value(found, "per_device_train_batch_size") == 2
        assert value(found, "gradient_checkpointing") is True and batch_of(found) == 64

    def test_values_that_nobody_set_may_change(self) -> None:
        """TRL's defaults are in the settings, but only `explicit` binds."""
        settings = LIGHT_GRPO | {"gradient_checkpointing": True, "dtype": "bfloat16", "optim": "adamw_torch"}
        found = made("grpo", settings, H100X8, explicit=set(LIGHT_GRPO))
        assert value(found, "gradient_checkpointing") is False and value(found, "dtype") == "float32"

    def test_pure_bf16_is_done_with_the_measured_warning(self) -> None:
        found = made("grpo", LIGHT_GRPO | {"dtype": "bfloat16"}, RTX_3060)
        assert value(found, "dtype") == "bfloat16"
        assert any("1.9 %" in w for w in found.warnings)

    def test_bf16_at_a_high_learning_rate_is_no_trouble(self) -> None:
        found = made("sft", LIGHT_SFT | {"dtype": "bfloat16", "learning_rate": 2e-4}, RTX_3060)
        assert not any("1.9 %" in w for w in found.warnings)

    def test_zero3_when_asked(self) -> None:
        found = made("sft", LIGHT_SFT | {"sharding": "zero3"}, H100X8)
        assert found.sharding == "zero3" and "set by you" in found.sharding_reason

    def test_every_reason_is_said(self) -> None:
        for machine in (RTX_3060, CPU, H100X8):
            for planned in made("grpo", LIGHT_GRPO, machine).values.values():
                assert planned.reason and len(planned.reason) > 10


class TestAskedTooMuch:
    def test_more_gpus_than_there_are(self) -> None:
        with pytest.raises(EnvironmentProblem, match="8 asks for more than the 1 GPU"):
            made("sft", LIGHT_SFT, RTX_3060, gpus=8)

    def test_gpus_on_a_cpu(self) -> None:
        with pytest.raises(EnvironmentProblem, match="no GPU to use"):
            made("sft", LIGHT_SFT, CPU, gpus=1)

    def test_a_server_without_a_gpu_to_spare(self) -> None:
        recipe = LIGHT_GRPO | {"vllm_mode": "server"}
        with pytest.raises(EnvironmentProblem, match="4 training GPUs"):
            made("grpo", recipe, simulate("4xA100-80GB"), gpus=4)
        with pytest.raises(Exception, match="beside the training ones"):
            made("grpo", recipe, RTX_3060)

    def test_zero_gpus(self) -> None:
        with pytest.raises(EnvironmentProblem, match="at least one"):
            made("sft", LIGHT_SFT, RTX_3060, gpus=0)


def test_lora_only_if_the_recipe_allows_it() -> None:
    recipe = LIGHT_GRPO | {"model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct"}
    with pytest.raises(DoesNotFit):
        made("grpo", recipe, RTX_3060)
    found = made("grpo", recipe | {"allow_lora": True}, RTX_3060)
    assert found.fits and value(found, "use_peft") is True
    assert value(found, "lora_target_modules") == ["all-linear"] and "peft" in found.requires


def test_transformers_generate_in_parts_when_the_cache_is_too_large() -> None:
    recipe = LIGHT_GRPO | {
        "use_vllm": False,
        "use_peft": True,
        "model_name_or_path": "Qwen/Qwen2.5-3B-Instruct",
        "global_batch_size": 512,
    }
    found = made("grpo", recipe, RTX_3060)
    steps, accumulation = value(found, "steps_per_generation"), value(found, "gradient_accumulation_steps")
    assert found.fits and steps < accumulation and accumulation % steps == 0
    assert value(found, "per_device_train_batch_size") * steps % 8 == 0


def test_plans_are_json() -> None:
    import json

    for machine in (RTX_3060, CPU, H100X8):
        text = json.dumps(made("grpo", LIGHT_GRPO, machine).as_dict())
        assert '"reason"' in text and gib(made("grpo", LIGHT_GRPO, machine), "update") > 0
