"""Files of 2025 as they are: what each comes to, what is said, and that the tables are about today's TRL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openr1.config.catalogue import fields_of
from openr1.config.legacy.pins import OPEN_R1, TRL
from openr1.config.legacy.rules import CHANGED, GONE
from openr1.config.names import all_keys, keys_of
from openr1.config.recipe import Section, flat_stage, parse
from openr1.config.resolve import Resolved, resolve
from openr1.config.schema import own_defaults
from openr1.errors import RecipeError
from openr1.hardware import simulate
from openr1.planning import Plan, plan
from openr1.services.recipes import as_many_gpus
from openr1.services.request import Asked

from .old_files import FOLDER, OLD_FILES, Expected

NAMES = sorted(OLD_FILES)
H100X8, RTX_3060, CPU = simulate("8xH100"), simulate("RTX 3060"), simulate("cpu")


def resolved(path: Path, stage: str) -> tuple[Section, Resolved]:
    recipe = parse(path, stage)
    (section,) = recipe.sections
    return section, resolve(recipe, section, environ={"HOME": "/"})


def read(name: str) -> tuple[Expected, Section, Resolved]:
    expected = OLD_FILES[name]
    return expected, *resolved(FOLDER / f"{name}.yaml", expected.stage)


def flat(folder: Path, text: str, stage: str = "sft") -> tuple[Section, Resolved]:
    path = folder / "old.yaml"
    path.write_text(text)
    return resolved(path, stage)


def test_the_table_knows_every_file() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_a_file_comes_to(name: str) -> None:
    expected, section, one = read(name)
    assert flat_stage(FOLDER / f"{name}.yaml") == expected.stage
    assert (section.old.vintage.name if section.old else None) == expected.vintage
    wanted = {**expected.asked, **expected.pinned, "global_batch_size": expected.batch, "seed": 42}
    assert {key: one[key] for key in wanted} == wanted
    if expected.begins:
        assert one["system_prompt"].startswith(expected.begins)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_pinned_says_where_it_comes_from(name: str) -> None:
    expected, _, one = read(name)
    pinned = {key for key, setting in one.settings.items() if setting.origin.pinned}
    prompt = {"system_prompt"} if expected.begins and expected.vintage == "open-r1 2025-02" else set()
    assert pinned == set(expected.pinned) | prompt
    assert all(str(one.settings[key].origin).startswith(f"{expected.vintage}: ") for key in pinned)
    assert pinned <= one.explicit, "a plan must not change them"


@pytest.mark.parametrize("name", [n for n in NAMES if OLD_FILES[n].vintage])
def test_every_key_is_kept_or_its_fate_is_said(name: str) -> None:
    _, section, one = read(name)
    assert section.old is not None
    said = {fact.key for fact in section.old.facts}
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    written = {
        line.partition(":")[0] for line in lines if ":" in line and not line.startswith((" ", "-", "#"))
    }
    for key in written - said:
        assert one.settings[key].origin.kind == "recipe", key
    # One line each, with the place, before the line on what is pinned.
    # What is pinned; whose values rewards have; what a pass-rate file was for.
    more = bool(section.old.pins) + section.old.rewarded + bool(section.old.generate)
    assert len(one.notices) == 1 + len(section.old.facts) + more
    assert all(
        lines[fact.line - 1].lstrip("- ").startswith(fact.key) for fact in section.old.facts if fact.line
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_eight_h100_make_of_it(name: str) -> None:
    expected, section, one = read(name)
    asked, _ = as_many_gpus(section, Asked(), H100X8)
    assert asked.gpus == expected.gpus
    found = plan(expected.stage, one.values, H100X8, explicit=one.explicit, gpus=asked.gpus)
    values = {key: chosen.value for key, chosen in found.values.items()}
    assert found.fits is not False
    assert found.processes == expected.ranks
    assert values["bf16"] is True
    if expected.batch:
        split = values["per_device_train_batch_size"] * values["gradient_accumulation_steps"]
        assert split * found.processes == expected.batch
    if expected.stage == "grpo":
        assert values["use_vllm"] is (expected.vllm is not None)
        assert values.get("vllm_mode") == expected.vllm
        assert found.vllm_gpus == ((7,) if expected.vllm == "server" else ())
    keeps_masters(found)


def keeps_masters(found: Plan) -> None:
    """fp32 weights, or DeepSpeed or LoRA, which keep their own."""
    in_16_bit = found.values["dtype"].value != "float32"
    assert (
        not in_16_bit or found.sharding in ("zero2", "zero3") or "use_peft" in found.requires or _given(found)
    )


def _given(found: Plan) -> bool:
    """The person's own dtype (a file of today), or the recipe's own LoRA."""
    return "set by you" in found.values["dtype"].reason or "frozen base" in found.values["dtype"].reason


@pytest.mark.parametrize("name", ["light-sft", "light-grpo"])
@pytest.mark.parametrize("machine", [RTX_3060, CPU], ids=["3060", "cpu"])
def test_the_light_files_fit_the_card_they_were_written_for_and_a_cpu(name: str, machine: Any) -> None:
    expected, _, one = read(name)
    found = plan(expected.stage, one.values, machine, explicit=one.explicit)
    assert found.fits
    assert found.values["dtype"].value == "float32"
    assert found.values["bf16"].value is bool(machine.gpus), "no bf16 on a CPU, whatever the file says"


def test_seven_processes_are_said_where_there_are_fewer_gpus() -> None:
    _, section, _ = read("grpo-2025-02-qwen1.5b")
    asked, said = as_many_gpus(section, Asked(), RTX_3060)
    assert asked.gpus is None and "this machine has 1 GPU: the plan decides" in said[0]
    own = replace(Asked(), gpus=3)
    assert as_many_gpus(section, own, H100X8) == (own, []), "a person's own --gpus holds"


def test_the_newest_key_dates_a_file(tmp_path: Path) -> None:
    base = "model_name_or_path: m\ndataset_name: d\nnum_generations: 8\n"
    for text, vintage in (
        ("max_completion_length: 99\n", None),
        ("torch_dtype: bfloat16\n", "TRL 2025-07"),
        ("vllm_device: auto\n", "TRL 2025-02"),
        ("vllm_device: auto\nloss_type: grpo\n", "TRL 2025-07"),
        ("num_processes: 3\n", "open-r1 2025-02"),
        ("max_prompt_length: 128\n", "TRL 2025-07"),
        ("max_prompt_length: 128\nglobal_batch_size: 8\n", None),  # openr1's own key
        ("max_prompt_length: 128\nvllm_device: auto\n", "TRL 2025-02"),
        ("torch_dtype: auto\nhub_model_id: me/My-Open-R1-Model\n", "open-r1 2025-07"),
    ):
        section, one = flat(tmp_path, base + text, "grpo")
        assert (section.old.vintage.name if section.old else None) == vintage, text
        if section.old:
            assert vintage in one.notices[0] and "it holds" in one.notices[0]


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("torch_dtype: float32", "dtype", "float32"),
        ("torch_dtype: float16", "dtype", "float16"),
        ("torch_dtype: bfloat16", "dtype", "float32"),  # TRL's default; the plan decides
        ("max_seq_length: 77", "max_length", 77),
        ("warmup_ratio: 0.25", "warmup_steps", 0.25),
        ("evaluation_strategy: epoch", "eval_strategy", "epoch"),
        ("group_by_length: true", "train_sampling_strategy", "group_by_length"),
        ("group_by_length: false", "train_sampling_strategy", "random"),
        ("mixed_precision: fp16", "fp16", True),
        ("mixed_precision: bf16", "fp16", False),
        ("hub_model_revision: v1", "hub_revision", "v1"),
        ("max_seq_length: 5\nmax_length: 9", "max_length", 9),
        ("overwrite_output_dir: true\npacking_strategy: ffd", "packing_strategy", "bfd"),
        ("overwrite_output_dir: true\npacking_strategy: bfd-requeue", "packing_strategy", "bfd_split"),
        ("overwrite_output_dir: true\nsystem_prompt: Be brief.", "system_prompt", None),
        ("overwrite_output_dir: true\npacking: true", "packing_strategy", "wrapped"),
        ("max_length: 9\noverwrite_output_dir: true\npacking: true", "packing_strategy", "wrapped"),
    ],
)
def test_one_key(tmp_path: Path, line: str, key: str, value: object) -> None:
    _, one = flat(tmp_path, f"model_name_or_path: m\ndataset_name: d\n{line}\n")
    assert one[key] == value


def test_accelerate_s_keys_inside_a_recipe(tmp_path: Path) -> None:
    """Every key of `accelerate config`'s file, as open-r1's zero3 file has them."""
    text = """\
model_name_or_path: m
dataset_name: d
compute_environment: LOCAL_MACHINE
debug: false
deepspeed_config:
  zero_stage: 3
distributed_type: DEEPSPEED
downcast_bf16: 'no'
machine_rank: 0
main_training_function: main
mixed_precision: bf16
num_machines: 1
num_processes: 8
per_device_train_batch_size: 2
gradient_accumulation_steps: 3
rdzv_backend: static
same_network: true
tpu_env: []
tpu_use_cluster: false
tpu_use_sudo: false
use_cpu: false
"""
    section, one = flat(tmp_path, text)
    assert one["global_batch_size"] == 48 and one["sharding"] == "auto"
    assert section.old and section.old.gpus is None, "without vLLM the number of GPUs is the machine's matter"


def test_a_key_that_is_in_neither_is_still_an_error(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("max_seq_length: 9\nlerning_rate: 1\n")
    with pytest.raises(RecipeError) as caught:
        parse(path, "sft")
    assert caught.value.fix == "did you mean `learning_rate`?" and str(caught.value.where).endswith(":2")


def test_a_key_of_the_other_stage_is_named_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("num_generations: 4\nvllm_device: auto\nmax_seq_length: 9\n")
    with pytest.raises(RecipeError, match="unknown key `max_seq_length`") as caught:
        parse(path, "grpo")
    assert caught.value.fix == "it is called `max_length` now, and belongs to sft sections"


def test_an_old_key_in_a_section_is_named_and_not_translated(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    for line, fix in (
        ("max_seq_length: 9", "it is called `max_length` now"),
        ("vllm_device: auto", "remove it: the plan places vLLM"),
        ("dataset_configs: [all]", "remove it: was never read"),
    ):
        path.write_text(f"grpo:\n  {line}\n")
        with pytest.raises(RecipeError) as caught:
            parse(path, "grpo")
        assert str(caught.value.fix).startswith(fix)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("light-grpo", "sft"),
        ("grpo-2025-07-code", "sft"),
        ("pass-rate-dapo", "sft"),
        ("light-sft", "grpo"),
        ("sft-2025-07-openr1-distill-7b", "grpo"),
    ],
)
def test_a_file_of_the_other_kind_names_the_right_command(name: str, other: str) -> None:
    path = FOLDER / f"{name}.yaml"
    with pytest.raises(RecipeError) as caught:
        parse(path, other)
    stage = OLD_FILES[name].stage
    assert f"this is a {stage} recipe" in caught.value.what
    assert caught.value.fix == f"openr1 {stage} {path}"
    with pytest.raises(RecipeError) as caught:
        parse(path, "pipeline")
    assert str(caught.value.fix).startswith(f"openr1 {stage} {path}")


def test_tokens_are_neither_shown_nor_kept(tmp_path: Path) -> None:
    text = "max_seq_length: 9\nhub_token: hf_abc123\nenv:\n  HF_TOKEN: hf_abc123\n  B: two\n"
    section, one = flat(tmp_path, text)
    assert one["hub_token"] is None
    assert "hf_abc123" not in repr(section) + repr(one)
    assert any("HF_TOKEN, B" in notice for notice in one.notices)


def test_an_override_beats_what_is_pinned() -> None:
    recipe = parse(FOLDER / "light-grpo.yaml", "grpo")
    given = {"beta": (0.1, "0.1")}
    environ = {"OPENR1_TEMPERATURE": "0.5"}
    one = resolve(recipe, recipe.sections[0], overrides=given, environ=environ)
    assert (one["beta"], one["temperature"]) == (0.1, 0.5)
    assert str(one.settings["beta"].origin) == "command line: --beta"


class TestTables:
    """A row that says nothing any more must go."""

    @pytest.mark.parametrize("key", sorted(GONE))
    def test_what_is_gone_is_gone_and_what_takes_its_place_is_there(self, key: str) -> None:
        assert key not in keys_of("sft") | keys_of("grpo")
        for rule in GONE[key]:
            assert rule.to is None or rule.to in all_keys()
            assert rule.says[0].islower() or not rule.says[0].isalpha() or rule.says.startswith(("TRL", "16"))

    @pytest.mark.parametrize("key", sorted(set(CHANGED) - {"push_to_hub_token"}))
    def test_what_has_changed_is_there(self, key: str) -> None:
        for rule in CHANGED[key]:
            assert all(key in keys_of(stage) for stage in rule.stages) or len(rule.stages) > 1
            assert rule.to is None or rule.to == key

    @pytest.mark.parametrize("table", [TRL, OPEN_R1], ids=["TRL", "open-r1"])
    def test_a_pin_is_not_today_s_default(self, table: dict[tuple[str, str], Any]) -> None:
        for (_, stage), pins in table.items():
            for pin in pins:
                today = own_defaults(stage) if pin.key in own_defaults(stage) else None
                default = today[pin.key] if today else fields_of(stage)[pin.key].default
                assert pin.value != default, f"{pin.key} is {pin.value!r} by default: the pin can go"
