"""Old files as the installed TRL takes them: its own configuration objects, built from what was resolved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openr1.config.recipe import parse
from openr1.config.resolve import resolve
from openr1.hardware import simulate
from openr1.planning import plan
from openr1.training.trl_adapter import config_of
from tests.config.old_files import FOLDER, OLD_FILES

# What TRL's configuration spells or holds in another way than a recipe.
ELSEWHERE = {
    "code_eval_scoring_mode",
    "model_name_or_path",
    "dataset_name",
    "dataset_config",
    "dataset_train_split",
    "dataset_num_proc",
}
ELSEWHERE |= {"reward_funcs", "dataset_prompt_column", "code_language", "max_prompt_length", "use_peft"}
ELSEWHERE |= {"lora_r", "lora_alpha", "dtype", "attn_implementation", "save_total_limit", "global_batch_size"}
ELSEWHERE |= {"wandb_project", "wandb_entity", "cosine_min_value_wrong", "report_to", "hub_private_repo"}


def arguments(name: str, folder: Path) -> Any:
    expected = OLD_FILES[name]
    recipe = parse(FOLDER / f"{name}.yaml", expected.stage)
    one = resolve(recipe, recipe.sections[0], environ={"HOME": "/"})
    made = plan(expected.stage, one.values, simulate("cpu"), explicit=one.explicit, force=True)
    one = one.with_values("plan", {key: (p.value, p.reason) for key, p in made.values.items()})
    run = SimpleNamespace(checkpoints=folder)
    config = {"recipe": one.recipe, "section": one.name, "hash": one.hash, "plan": {"sharding": "none"}}
    child: Any = SimpleNamespace(run=run, config=config, values=one.values)
    return config_of(expected.stage, one.values, child)


@pytest.mark.parametrize("name", sorted(OLD_FILES))
def test_trl_s_arguments_are_those_of_the_table(name: str, tmp_path: Path) -> None:
    expected = OLD_FILES[name]
    args = arguments(name, tmp_path)
    wanted = {k: v for k, v in {**expected.asked, **expected.pinned}.items() if k not in ELSEWHERE}
    if expected.vintage is None:
        del wanted["bf16"]  # a file of today that insists on it; on this CPU TRL has its own say
        wanted["packing_strategy"] = "bfd_split"  # left to the plan: no trace loses its end
    assert {key: getattr(args, key) for key in wanted} == wanted
    if expected.batch:
        assert args.per_device_train_batch_size * args.gradient_accumulation_steps == expected.batch
    if expected.stage == "grpo":
        assert args.generation_batch_size % args.num_generations == 0
        assert args.reward_weights == expected.asked.get("reward_weights", args.reward_weights)
    assert args.model_init_kwargs["attn_implementation"] == "sdpa"
