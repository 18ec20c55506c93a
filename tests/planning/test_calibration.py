"""Measured against predicted: stored, read back, and believed within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from openr1.hardware import simulate
from openr1.planning.calibration import Calibration, Observation, fingerprint, load, observe, save

from .recipes import LIGHT_GRPO, LIGHT_SFT, gib, made

RTX_3060 = simulate("RTX 3060")
MODEL = "Qwen/Qwen2.5-0.5B-Instruct"


def seen(ratio: float, model: str = MODEL, stage: str = "sft", machine: object = RTX_3060) -> Observation:
    return Observation(fingerprint(machine), stage, model, 1000, int(1000 * ratio), 2.0, 2.0 * ratio)  # type: ignore[arg-type]


def test_the_next_plan_uses_the_difference() -> None:
    recipe = LIGHT_SFT | {"per_device_train_batch_size": 1, "gradient_checkpointing": True}
    plain = made("sft", recipe, RTX_3060)
    corrected = made("sft", recipe, RTX_3060, calibration=Calibration((seen(0.9),)))
    assert gib(corrected, "update") == pytest.approx(0.9 * gib(plain, "update"), rel=0.01)
    assert "1 earlier run here" in corrected.memory_reason
    assert corrected.step_seconds.value == pytest.approx(0.9 * plain.step_seconds.value, rel=0.01)


def test_an_observation_is_about_the_uncorrected_prediction() -> None:
    recipe = LIGHT_SFT | {"per_device_train_batch_size": 1, "gradient_checkpointing": True}
    plain = made("sft", recipe, RTX_3060)
    first = observe(plain.as_dict(), RTX_3060, MODEL, 9 * 1024**3, 4.0)
    assert first is not None and plain.peak is not None and first.predicted_bytes == plain.peak[1]
    corrected = made("sft", recipe, RTX_3060, calibration=Calibration((first,)))
    second = observe(corrected.as_dict(), RTX_3060, MODEL, 9 * 1024**3, 4.0)
    assert second is not None and second.predicted_bytes == pytest.approx(first.predicted_bytes, rel=0.001)
    assert second.predicted_seconds == pytest.approx(first.predicted_seconds, rel=0.001)
    tiny = made("sft", recipe | {"model_name_or_path": "builtin:tiny"}, RTX_3060)
    assert observe(tiny.as_dict(), RTX_3060, "builtin:tiny", 1) is None


def test_a_machine_that_needs_more_gets_a_smaller_plan() -> None:
    plain = made("grpo", LIGHT_GRPO, RTX_3060)
    observed = Calibration((seen(1.1, stage="grpo"),))
    careful = made("grpo", LIGHT_GRPO, RTX_3060, calibration=observed)
    assert careful.fits and plain.memory != careful.memory
    rows = "per_device_train_batch_size"
    assert careful.values[rows].value <= plain.values[rows].value


def test_the_median_of_alike_runs_counts_and_same_model_first() -> None:
    observed = Calibration((seen(0.8), seen(0.9), seen(1.4), seen(1.5, model="other")))
    assert observed.correction(RTX_3060, "sft", MODEL).memory == pytest.approx(0.9)
    assert observed.correction(RTX_3060, "sft", "new model").memory == pytest.approx(1.15)


def test_other_machines_and_stages_do_not_count() -> None:
    observed = Calibration((seen(0.8), seen(0.8, stage="grpo", machine=simulate("RTX 4090"))))
    assert observed.correction(RTX_3060, "grpo", MODEL).memory == 1.0
    assert observed.correction(simulate("cpu"), "sft", MODEL).words == ""


@pytest.mark.parametrize(("ratio", "believed"), [(0.1, 0.7), (9.0, 1.5)])
def test_wild_measurements_are_bounded(ratio: float, believed: float) -> None:
    assert Calibration((seen(ratio),)).correction(RTX_3060, "sft", MODEL).memory == believed


def test_the_store_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "calibration.json"
    observed = Calibration().record(seen(0.9)).record(seen(1.1))
    save(observed, path)
    assert load(path) == observed
    assert not list(path.parent.glob("*.tmp"))


@pytest.mark.parametrize("text", ["", "{", '[{"machine": 1}]', "[1]"])
def test_a_broken_store_is_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    assert load(path) == Calibration()


def test_the_store_stays_small() -> None:
    observed = Calibration()
    for _ in range(250):
        observed = observed.record(seen(1.0))
    assert len(observed.observations) == 200


def test_how_far_the_time_may_be_wrong() -> None:
    """A factor of 1.6 before anything ran here; then what earlier runs differed by, and never nothing."""
    recipe = LIGHT_SFT | {"per_device_train_batch_size": 1, "gradient_checkpointing": True}
    assert made("sft", recipe, RTX_3060).time_doubt == 1.6
    alike = Calibration((seen(0.9), seen(0.9)))
    assert made("sft", recipe, RTX_3060, calibration=alike).time_doubt == 1.1
    apart = Calibration((seen(0.5), seen(1.0), seen(1.5)))
    assert made("sft", recipe, RTX_3060, calibration=apart).time_doubt == pytest.approx(2.0)
