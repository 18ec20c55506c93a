"""An old file in today's form: it parses, resolves to the same values, and plans the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from openr1.config.recipe import find, parse
from openr1.config.resolve import Resolved, resolve
from openr1.errors import UsageError
from openr1.services.migrate import migrate

from .old_files import FOLDER, OLD_FILES


def both(path: Path, stage: str, folder: Path) -> tuple[Resolved, Resolved, str]:
    """The old file and its migration, resolved, and the migration's text."""
    text = migrate(path)
    (folder / "new").mkdir()
    new = folder / "new" / path.name
    new.write_text(text)
    recipes = parse(path, stage), parse(new, "pipeline")
    old, today = (resolve(r, r.section(stage), environ={"HOME": "/"}) for r in recipes)
    return old, today, text


@pytest.mark.parametrize("name", sorted(OLD_FILES))
def test_a_migrated_file_resolves_to_the_same_values(name: str, tmp_path: Path) -> None:
    expected = OLD_FILES[name]
    old, today, text = both(FOLDER / f"{name}.yaml", expected.stage, tmp_path)
    assert today.values == old.values
    assert today.explicit == old.explicit
    assert today.hash == old.hash, "the same run continues"
    assert today.notices == ()
    assert text.startswith(f"# {name}: migrated from a ")
    assert ("--gpus 7" in text) is (expected.gpus == 7)


@pytest.mark.parametrize("name", sorted(OLD_FILES))
def test_every_translation_stands_in_a_comment(name: str) -> None:
    text = migrate(FOLDER / f"{name}.yaml")
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert all(len(line) <= 110 for line in comments if "openr1 generate --" not in line)
    assert any(line.startswith("#   openr1 generate ") for line in comments) is name.startswith("pass-rate-")
    whole = " ".join(line.lstrip(" #") for line in text.splitlines())  # a long one takes several lines
    (section,) = parse(FOLDER / f"{name}.yaml", OLD_FILES[name].stage).sections
    for fact in section.old.facts if section.old else ():
        assert fact.says in whole and fact.key in text
    for pin in section.old.pins.values() if section.old else ():
        assert f"# {pin.why}" in text


def test_awkward_values_come_through(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(
        """\
max_seq_length: 64
model_name_or_path: 'org/a: b # c'
model_revision: 1.0
eos_token: "<|im_end|>"
chat_template: |
  {% for m in messages %}"{{ m.content }}" # not a comment
    é — 日本\\n{% endfor %}
save_strategy: 'no'
run_name: 'yes'
dataset_name: "007"
model_init_kwargs: {min_lr_rate: 1e-1, "a b": ['x: y', null, true]}
hub_token: hf_secret
env: {WANDB_API_KEY: secret}
learning_rate: 2e-5
"""
    )
    old, today, text = both(path, "sft", tmp_path)
    assert today.values == old.values
    assert today["model_revision"] == "1.0" and today["run_name"] == "yes"
    assert "secret" not in text and "hub_token" in text


def test_what_has_sections_is_not_migrated() -> None:
    with pytest.raises(UsageError, match="has sections"):
        migrate(find("tiny-cpu"))
