"""A watch over a long run on a card: temperature, power throttling, free disk. Rules only.

The trainer asks between steps: `guard.observe(reading)` answers with what to say and whether to wait. The
sensor is a function, so the rules are tested with a simulated one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 1024**3
HOT_C = 80  # consumer cards begin to slow down at 83-84 degrees (NVIDIA's GeForce specifications)
COOLER_BY_C = 8  # a pause ends this far below the limit, so that it does not flicker
THROTTLED_IN_A_ROW = 3
# NVML's clock event reasons that mean "slower than it could be" for heat or power.
THERMAL_BITS = 0x20 | 0x40
POWER_BITS = 0x04 | 0x80


@dataclass(frozen=True)
class Reading:
    """What a sensor saw. None = the sensor does not know."""

    temperatures_c: tuple[int | None, ...] = ()
    throttle: tuple[str | None, ...] = ()  # per card: "heat", "power" or None
    disk_free_bytes: int | None = None


@dataclass(frozen=True)
class Advice:
    """What to do now: "say" it once, "pause" until `cool`, "resume", or "skip_save"."""

    kind: str
    words: str


@dataclass(frozen=True)
class Limits:
    """`max_gpu_temp_c` None = never pause. `checkpoint_bytes` is what the next save will write."""

    max_gpu_temp_c: int | None = None
    checkpoint_bytes: int = 0


class Guard:
    """Remembers what it has said, so that a long run is warned once per trouble, not per step."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.paused = False
        self._said: set[str] = set()
        self._throttled = 0

    def observe(self, reading: Reading) -> list[Advice]:
        """Advice for this moment; an empty list when all is well."""
        return [*self._heat(reading), *self._slow(reading), *self._disk(reading)]

    def _heat(self, reading: Reading) -> Iterator[Advice]:
        known = [t for t in reading.temperatures_c if t is not None]
        if not known:
            return
        hottest, limit = max(known), self.limits.max_gpu_temp_c
        if self.paused and limit is not None:
            if hottest <= limit - COOLER_BY_C:
                self.paused = False
                yield Advice("resume", f"the card has cooled to {hottest} °C; training goes on")
            return
        if limit is not None and hottest >= limit:
            self.paused = True
            until = limit - COOLER_BY_C
            yield Advice(
                "pause", f"the card is at {hottest} °C (limit {limit}); waiting until it is at {until}"
            )
            return
        yield from self._once(
            "hot", hottest >= HOT_C, f"the card is at {hottest} °C; --max-gpu-temp 83 pauses"
        )

    def _slow(self, reading: Reading) -> Iterator[Advice]:
        causes = {c for c in reading.throttle if c is not None}
        self._throttled = self._throttled + 1 if causes else 0
        lasting = self._throttled >= THROTTLED_IN_A_ROW
        because = " and ".join(sorted(causes)) or "nothing"
        yield from self._once("slow", lasting, f"the card runs below its speed because of {because}")

    def _disk(self, reading: Reading) -> Iterator[Advice]:
        free, save = reading.disk_free_bytes, self.limits.checkpoint_bytes
        if free is None or not save:
            return
        if free < save:
            words = f"{free / GIB:.1f} GiB free, a checkpoint takes {save / GIB:.1f}: not saved; make room"
            yield from self._once("full", True, words, kind="skip_save")
            return
        self._said.discard("full")
        room = f"room for {free // save} more checkpoint(s) of {save / GIB:.1f} GiB"
        words = f"{room}; --save_total_limit 2 keeps two"
        yield from self._once("filling", free < 3 * save, words)

    def _once(self, name: str, trouble: bool, words: str, kind: str = "say") -> Iterator[Advice]:
        if not trouble:
            self._said.discard(name)
        elif name not in self._said:
            self._said.add(name)
            yield Advice(kind, words)


def wait_until_cool(
    guard: Guard,
    sensor: Callable[[], Reading],
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    every_s: float = 5.0,
    at_most_s: float = 1800.0,
) -> float:
    """Block between two steps while the guard is paused; the seconds waited.

    After `at_most_s` it goes on all the same: a fan that died is the person's to decide about, and is said.
    """
    waited = 0.0
    while guard.paused and waited < at_most_s:
        sleep(every_s)
        waited += every_s
        for advice in guard.observe(sensor()):
            say(advice.words)
    if guard.paused:
        guard.paused = False
        say(f"still too hot after {at_most_s / 60:.0f} minutes; going on, look at the fans")
    return waited


def nvml_sensor(nvml: Any, indices: tuple[int, ...], run_dir: Path) -> Callable[[], Reading]:
    """A sensor over real cards; `nvml` is the initialised binding. What it cannot read is unknown."""

    def ask(question: Callable[..., Any], *what: Any) -> Any:
        try:
            return question(*what)
        except Exception:  # NVML's own types: the card does not say
            return None

    def read() -> Reading:
        temperatures: list[int | None] = []
        throttle: list[str | None] = []
        for index in indices:
            card = ask(nvml.nvmlDeviceGetHandleByIndex, index)
            temperatures.append(ask(nvml.nvmlDeviceGetTemperature, card, 0))
            throttle.append(cause(ask(nvml.nvmlDeviceGetCurrentClocksEventReasons, card)))
        disk = ask(shutil.disk_usage, run_dir)
        return Reading(tuple(temperatures), tuple(throttle), None if disk is None else disk.free)

    return read


def cause(bits: int | None) -> str | None:
    """NVML's clock event bits as a word; heat before power."""
    if bits is None:
        return None
    return "heat" if bits & THERMAL_BITS else "power" if bits & POWER_BITS else None
