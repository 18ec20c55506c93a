"""The formulas against the real model code under fake tensors: three families."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from openr1.planning import verify


@pytest.mark.parametrize("checkpointing", [True, False])
def test_qwen2_under_autocast(checkpointing: bool) -> None:
    assert abs(verify.compare("qwen2", checkpointing, "autocast")["error"]) <= verify.TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("precision", verify.PRECISIONS)
@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("family", verify.FAMILIES)
def test_three_families(family: str, checkpointing: bool, precision: str) -> None:
    assert abs(verify.compare(family, checkpointing, precision)["error"]) <= verify.TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_second_micro_batch_beside_the_gradients(checkpointing: bool) -> None:
    assert abs(verify.compare("qwen3", checkpointing, "autocast", 2)["error"]) <= verify.TOLERANCE


def test_an_unknown_family_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main(["gpt2"]) == 2
    assert "qwen2" in capsys.readouterr().err
