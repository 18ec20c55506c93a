"""GPUs as a (fake) driver describes them, and everything that can be wrong with a driver."""

from __future__ import annotations

import os

import pytest

from openr1.hardware.nvml import detect_gpus
from openr1.hardware.profiles import choose_profile

from .fake_nvml import GIB, Card, FakeNvml


@pytest.fixture(autouse=True)
def all_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def h100(index: int) -> Card:
    return Card("NVIDIA H100 80GB HBM3", 80 * GIB, 79 * GIB, (9, 0), f"GPU-{index}", links=18)


def test_a_3060_is_light() -> None:
    nvml = FakeNvml([Card()])
    report = detect_gpus(lambda: nvml)
    (gpu,) = report.gpus
    assert gpu.total_bytes.value == 12 * GIB and gpu.free_bytes.value == 11 * GIB
    assert gpu.bf16 is True and gpu.flash_attention.value == "fa2" and gpu.interconnect.value == "pcie"
    assert gpu.bf16_tflops.value == 25.5 and "catalogue" in gpu.bf16_tflops.reason
    assert gpu.power_w.value == 90 and gpu.temperature_c.value == 40
    assert report.driver.value == "570.86.15" and report.cuda.value == "12.8"
    assert choose_profile(report.gpus, report.reason).value == "light"
    assert nvml.closed


def test_eight_h100() -> None:
    report = detect_gpus(lambda: FakeNvml([h100(i) for i in range(8)]))
    assert choose_profile(report.gpus, report.reason).value == "h100x8"
    assert {g.interconnect.value for g in report.gpus} == {"nvlink"}
    assert report.gpus[0].flash_attention.value == "fa3"


def test_others_on_the_card_are_named_but_not_oneself() -> None:
    report = detect_gpus(lambda: FakeNvml([Card(processes=(4711, os.getpid()))]))
    assert report.gpus[0].used_by.value == (f"pid 4711, {GIB} bytes",)


def test_what_a_card_does_not_say_stays_unknown() -> None:
    report = detect_gpus(lambda: FakeNvml([Card(mute=("power", "temperature", "memory", "capability"))]))
    (gpu,) = report.gpus
    assert gpu.power_w.value is None and "Not Supported" in gpu.power_w.reason
    assert gpu.total_bytes.value is None and gpu.usable_bytes is None
    assert gpu.bf16 is None and gpu.flash_attention.value is None


def test_an_unknown_card_has_memory_but_no_speed() -> None:
    report = detect_gpus(lambda: FakeNvml([Card("NVIDIA GeForce RTX 9990", 40 * GIB, 39 * GIB, (13, 0))]))
    (gpu,) = report.gpus
    assert gpu.total_bytes.value == 40 * GIB and gpu.bf16 is True
    assert gpu.bf16_tflops.value is None and "RTX 9990" in gpu.bf16_tflops.reason
    assert choose_profile(report.gpus, report.reason).value == "derived"


def test_mig_slices_replace_their_card() -> None:
    slices = [Card("NVIDIA H100 MIG 3g.40gb", 40 * GIB, 39 * GIB, (9, 0), f"MIG-{i}") for i in range(2)]
    card = h100(0)
    card.slices = slices
    report = detect_gpus(lambda: FakeNvml([card]))
    assert [g.uuid.value for g in report.gpus] == ["MIG-0", "MIG-1"]
    assert all(g.mig.value for g in report.gpus)
    assert report.gpus[0].total_bytes.value == 40 * GIB
    assert report.gpus[0].bf16_tflops.value is None, "a slice has a part of the card's speed, not all of it"


def test_no_binding() -> None:
    def missing() -> object:
        raise ImportError("no module")

    report = detect_gpus(missing)
    assert report.gpus == () and "nvidia-ml-py" in (report.problem or "")


def test_no_driver_is_no_problem() -> None:
    report = detect_gpus(lambda: FakeNvml([], init_error="NVML Shared Library Not Found"))
    assert report.gpus == () and report.problem is None and "no NVIDIA driver" in report.reason


@pytest.mark.parametrize(
    ("error", "word"),
    [("Driver/library version mismatch", "different versions"), ("Unknown Error", "does not answer")],
)
def test_a_broken_driver_is_a_problem(error: str, word: str) -> None:
    report = detect_gpus(lambda: FakeNvml([], init_error=error))
    assert word in (report.problem or "") and report.driver.value is None


def test_a_driver_that_does_not_answer_is_not_waited_for() -> None:
    report = detect_gpus(lambda: FakeNvml([Card()], hang_s=5), deadline_s=0.05)
    assert report.gpus == () and "did not answer within 0.05 s" in (report.problem or "")


@pytest.mark.parametrize(
    ("variable", "indices", "problem"),
    [
        ("", (), None),
        ("-1", (), None),
        ("2,0", (2, 0), None),
        ("GPU-1", (1,), None),
        ("nonsense", (), "'nonsense'"),
        ("0,9", (0,), "'9'"),
        ("0,0", (), "twice"),
        ("1, banana ,0", (1,), "'banana'"),
    ],
)
def test_cuda_visible_devices(
    monkeypatch: pytest.MonkeyPatch, variable: str, indices: tuple[int, ...], problem: str | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    report = detect_gpus(lambda: FakeNvml([h100(i) for i in range(4)]))
    assert tuple(g.index for g in report.gpus) == indices
    assert "CUDA_VISIBLE_DEVICES" in report.reason
    assert (report.problem is None) == (problem is None)
    assert problem is None or problem in (report.problem or "")
