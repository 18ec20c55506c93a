"""Uploads and trackers: looked for, never asked for; old files give way, recipes of today are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from openr1.config.recipe import parse
from openr1.config.resolve import Resolved, resolve
from openr1.errors import EnvironmentProblem
from openr1.services import accounts
from openr1.training.trackers import name_wandb_run

NOBODY = {"HOME": "/nowhere", "HF_HOME": "/nowhere", "NETRC": "/nowhere/netrc"}
TOKEN = {**NOBODY, "HF_TOKEN": "hf_x"}


@pytest.fixture
def with_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "importable", lambda name: True)


@pytest.fixture
def without_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "importable", lambda name: False)


def asks(folder: Path, report_to: str = "[wandb]") -> Resolved:
    path = folder / "r.yaml"
    text = f"sft:\n  model_name_or_path: m\n  push_to_hub: true\n  report_to: {report_to}\n"
    path.write_text(text)
    recipe = parse(path, "sft")
    return resolve(recipe, recipe.sections[0], environ={"HOME": "/"})


@pytest.mark.usefixtures("without_wandb")
def test_without_accounts_an_old_file_runs_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    one, said = accounts.give_way(asks(tmp_path), NOBODY)
    assert one["push_to_hub"] is False and one["report_to"] == "none"
    assert said[0] == "push_to_hub: no hub token is here, so nothing is uploaded; to upload: hf auth login"
    assert said[1].startswith("report_to: wandb is not installed")
    assert one.hash == asks(tmp_path).hash, "where a run is sent is not part of its name"
    accounts.check_accounts(one, NOBODY)


@pytest.mark.usefixtures("with_wandb")
@pytest.mark.parametrize(
    ("environ", "pushes", "reports"),
    [
        (TOKEN, True, False),
        ({**TOKEN, "HF_HUB_OFFLINE": "1"}, False, False),
        ({**NOBODY, "WANDB_API_KEY": "k"}, False, True),
        ({**NOBODY, "WANDB_MODE": "offline"}, False, True),
    ],
)
def test_with_accounts_what_the_file_asks_for_holds(
    tmp_path: Path, environ: dict[str, str], pushes: bool, reports: bool
) -> None:
    one, said = accounts.give_way(asks(tmp_path), environ)
    assert (one["push_to_hub"], accounts.reports_to_wandb(one)) == (pushes, reports)
    assert len(said) == 2 - pushes - reports


@pytest.mark.usefixtures("without_wandb")
def test_other_trackers_stay(tmp_path: Path) -> None:
    one, _ = accounts.give_way(asks(tmp_path, "[wandb, tensorboard]"), TOKEN)
    assert one["report_to"] == ["tensorboard"]


@pytest.mark.usefixtures("without_wandb")
def test_a_recipe_of_today_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    one = asks(tmp_path)
    with pytest.raises(EnvironmentProblem) as caught:
        accounts.check_accounts(one, NOBODY)
    assert "no hub token is here" in caught.value.what and "hf auth login" in str(caught.value.fix)
    assert str(caught.value.where).endswith("r.yaml:3")
    with pytest.raises(EnvironmentProblem, match="wandb is not installed"):
        accounts.check_accounts(one, TOKEN)


def test_the_names_of_a_wandb_run(monkeypatch: pytest.MonkeyPatch) -> None:
    none: dict[str, Any] = {"wandb_project": None, "wandb_entity": None, "wandb_run_group": None}
    for variable in ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_RUN_GROUP"):
        monkeypatch.setenv(variable, "mine")
    name_wandb_run(none)
    assert os.environ["WANDB_PROJECT"] == "mine"
    name_wandb_run(none | {"wandb_project": "recipe", "wandb_entity": "us"})
    assert (os.environ["WANDB_PROJECT"], os.environ["WANDB_ENTITY"]) == ("recipe", "us")
    monkeypatch.delenv("WANDB_PROJECT")
    name_wandb_run(none)
    assert os.environ["WANDB_PROJECT"] == "openr1"
