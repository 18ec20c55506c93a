"""The watch over a long run, with a simulated sensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from openr1.hardware.guard import Advice, Guard, Limits, Reading, cause, nvml_sensor, wait_until_cool

from .fake_nvml import Card, FakeNvml

GIB = 1024**3


def heat(*degrees: int | None) -> Reading:
    return Reading(temperatures_c=degrees)


def kinds(advice: list[Advice]) -> list[str]:
    return [a.kind for a in advice]


def test_a_cool_card_is_left_alone() -> None:
    guard = Guard(Limits(max_gpu_temp_c=83, checkpoint_bytes=GIB))
    assert guard.observe(Reading((60, 61), (None, None), 100 * GIB)) == []


def test_heat_is_said_once_until_it_goes_away() -> None:
    guard = Guard(Limits())
    said = [kinds(guard.observe(heat(t))) for t in (79, 80, 82, 81, 70, 84)]
    assert said == [[], ["say"], [], [], [], ["say"]]


def test_without_a_limit_it_never_pauses() -> None:
    guard = Guard(Limits())
    assert "pause" not in kinds(guard.observe(heat(99))) and not guard.paused


def test_it_pauses_at_the_limit_and_resumes_well_below() -> None:
    guard = Guard(Limits(max_gpu_temp_c=83))
    said = [kinds(guard.observe(heat(t))) for t in (82, 83, 80, 76, 75, 82)]
    assert said == [["say"], ["pause"], [], [], ["resume"], []]


def test_the_hottest_card_counts_and_an_unknown_one_does_not() -> None:
    guard = Guard(Limits(max_gpu_temp_c=83))
    assert kinds(guard.observe(heat(None, 85, 50))) == ["pause"]
    assert Guard(Limits(max_gpu_temp_c=83)).observe(heat(None)) == []


def test_throttling_must_last() -> None:
    guard = Guard(Limits())
    slow, fine = Reading(throttle=("power",)), Reading(throttle=(None,))
    said = [kinds(guard.observe(r)) for r in (slow, slow, fine, slow, slow, slow, slow)]
    assert said == [[], [], [], [], [], ["say"], []]


def test_the_disk_is_watched_before_it_is_full() -> None:
    guard = Guard(Limits(checkpoint_bytes=4 * GIB))
    said = [guard.observe(Reading(disk_free_bytes=n * GIB)) for n in (40, 11, 9, 3, 2, 40)]
    assert [kinds(a) for a in said] == [[], ["say"], [], ["skip_save"], [], []]
    assert "2 more checkpoint(s)" in said[1][0].words


def sensor(degrees: list[int]) -> Callable[[], Reading]:
    left = iter(degrees)
    return lambda: heat(next(left))


def test_waiting_ends_when_it_is_cool() -> None:
    guard, said, slept = Guard(Limits(max_gpu_temp_c=83)), [], []
    guard.observe(heat(85))
    waited = wait_until_cool(guard, sensor([84, 80, 75]), said.append, slept.append)
    assert waited == 15 and slept == [5.0] * 3 and "cooled to 75" in said[-1]


def test_waiting_ends_at_last_even_if_it_stays_hot() -> None:
    guard, said = Guard(Limits(max_gpu_temp_c=83)), []
    guard.observe(heat(90))
    waited = wait_until_cool(guard, lambda: heat(90), said.append, lambda _: None, at_most_s=20)
    assert waited == 20 and not guard.paused and "fans" in said[-1]


def test_no_wait_when_nothing_is_wrong() -> None:
    assert wait_until_cool(Guard(Limits(83)), lambda: heat(90), print, lambda _: None) == 0


@pytest.mark.parametrize(
    ("bits", "word"),
    [(None, None), (0, None), (0x1, None), (0x4, "power"), (0x20, "heat"), (0x44, "heat"), (0x80, "power")],
)
def test_clock_reasons(bits: int | None, word: str | None) -> None:
    assert cause(bits) == word


def test_a_real_sensor_reads_what_the_driver_says(tmp_path: Path) -> None:
    nvml = FakeNvml([Card(temperature=71), Card(mute=("temperature", "clocks"))])
    reading = nvml_sensor(nvml, (0, 1, 7), tmp_path)()
    assert reading.temperatures_c == (71, None, None)
    assert reading.throttle == ("heat", None, None)
    assert reading.disk_free_bytes
