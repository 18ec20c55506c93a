"""A dataset whose owners want their terms accepted: what to accept and where, from the hub or without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.data.stand_in_hub import COMMIT, REFUSALS, stand_in_hub

MODEL = ("--model", "builtin:tiny-qwen2?layers=1&hidden=64")
ASK = """
import json, sys
from openr1.data.sources import rows_of
from openr1.errors import OpenR1Error
found = {}
for name in json.loads(sys.argv[1]):
    for gated in (False, True):
        try:
            rows_of(f"owner/{name}", None, "train", sys.argv[2] or None, gated=gated)
        except OpenR1Error as error:
            found[f"{name} {gated}"] = [error.code, error.what, str(error.fix)]
print(json.dumps(found))
"""


@pytest.mark.parametrize("revision", [COMMIT, ""])
def test_what_a_hub_says_instead_of_giving_the_data(tmp_path: Path, revision: str) -> None:
    """A process of its own: huggingface_hub reads the hub's address when it is imported."""
    with stand_in_hub() as url:
        env = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
        words = [sys.executable, "-c", ASK, json.dumps(list(REFUSALS)), revision]
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert len(found) == 2 * len(REFUSALS)
    assert {code for code, _, _ in found.values()} == {5}
    for name in ("files-401", "files-403"):  # the hub's own word for it
        for known in (False, True):
            _, what, fix = found[f"{name} {known}"]
            assert f"the dataset owner/{name} is gated" in what
            assert f"https://huggingface.co/datasets/owner/{name}" in fix and "hf auth login" in fix
    for status in (401, 403):  # a mirror that says no more than no
        _, what, fix = found[f"all-{status} False"]
        assert f"refuses access to the dataset owner/all-{status} (status {status})" in what
        assert (
            f"if it is gated or private, accept its owners' terms at https://huggingface.co/datasets/owner/all-{status}"
            in fix
        )
        assert "is gated" in found[f"all-{status} True"][1]
    for known in (False, True):
        _, what, fix = found[f"bad-token {known}"]
        assert "does not accept the token that is set" in what and "hf auth whoami" in fix


def test_eval_of_gpqa_without_a_token(cli: Cli) -> None:
    with stand_in_hub() as url:
        refused = cli(
            "eval", "gpqa", *MODEL, code=5, HF_ENDPOINT=url, HF_HUB_OFFLINE="0", HF_HOME=str(cli.folder)
        )
    offline = cli("eval", "gpqa", *MODEL, code=5, HF_HOME=str(cli.folder))
    for done, more in (
        (refused, "the dataset Idavidrein/gpqa is gated"),
        (offline, "and the dataset is gated"),
    ):
        said = " ".join(done.err.split())
        assert more in said
        assert "https://huggingface.co/datasets/Idavidrein/gpqa" in said
        assert "hf auth login" in said and "name a local file" in said
        assert "Traceback" not in done.err
    assert "90b8e5be2b1d3d2dbfe016cdab47981150600c4a" in " ".join(offline.err.split())


def test_decontamination_against_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub.constants

    from openr1.errors import EnvironmentProblem
    from openr1.generation.evaluation_sets import load_sets

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentProblem, match="is gated") as caught:
        load_sets(["gpqa_diamond"])
    fix = str(caught.value.fix)
    assert "https://huggingface.co/datasets/Idavidrein/gpqa" in fix
    assert fix.endswith(
        "Or name a local file (--against gpqa_diamond=FILE), or leave gpqa_diamond out of `against`"
    )


def test_a_copy_that_is_here_is_taken_where_the_hub_refuses(tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "datasets--owner--files-401"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    (folder / "snapshots" / COMMIT / "data.jsonl").write_text('{"Question": "Which?"}\n')
    code = (
        "import sys; from openr1.data.sources import rows_of\n"
        "print(rows_of('owner/files-401', None, 'train', sys.argv[1])[0]['Question'])"
    )
    with stand_in_hub() as url:
        env = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code, COMMIT], env=env, capture_output=True, text=True, check=True
        )
    assert done.stdout.strip() == "Which?"
