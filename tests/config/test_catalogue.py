"""The checked-in catalogue says what the installed TRL says."""

from __future__ import annotations

import json

from openr1.config.catalogue import fields_of, made_from


def test_the_catalogue_is_that_of_the_installed_trl() -> None:
    from openr1.training.catalogue import TARGET, collect

    installed = json.loads(json.dumps(collect(), default=str))
    assert installed == json.loads(TARGET.read_text(encoding="utf-8")), "run: nox -s catalogue"


def test_every_trl_field_of_both_trainers_is_there() -> None:
    import dataclasses

    from trl import GRPOConfig, ModelConfig, SFTConfig

    for stage, classes in {"sft": (SFTConfig, ModelConfig), "grpo": (GRPOConfig, ModelConfig)}.items():
        names = {f.name for cls in classes for f in dataclasses.fields(cls) if f.init}
        assert names <= set(fields_of(stage))
    assert fields_of("eval") == {}
    assert set(made_from()) == {"trl", "transformers"}


def test_kinds_and_choices_are_read_rightly() -> None:
    sft, grpo = fields_of("sft"), fields_of("grpo")
    assert sft["learning_rate"].default == 2e-5
    assert grpo["learning_rate"].default == 1e-6
    assert sft["max_steps"].kinds == ("int",)
    assert "steps" in (sft["save_strategy"].choices or ())
    assert grpo["loss_type"].choices != sft["loss_type"].choices
    assert "reward_funcs" in grpo and "reward_funcs" not in sft


def test_the_words_that_trl_looks_at_late_are_those_of_its_docstring() -> None:
    import re

    from trl import GRPOConfig

    from openr1.training.catalogue import WORDS

    parts = re.split(r"\n {8}(\w+) \(.*\):\n", GRPOConfig.__doc__ or "")
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    for key, words in WORDS.items():
        assert set(re.findall(r'`"(\w+)"`', texts[key])) == set(words), key
        assert fields_of("grpo")[key].choices == words
