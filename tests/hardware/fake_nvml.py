"""A driver that is not here: the calls of NVML that openr1 makes, answered from a list of cards."""

# ruff: noqa: N802 - the names are NVML's

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

GIB = 1024**3


class NVMLError(Exception):
    """As the binding's: its text is all that is read of it."""


@dataclass
class Card:
    """One card, or one MIG slice of it."""

    name: str = "NVIDIA GeForce RTX 3060"
    total: int = 12 * GIB
    free: int = 11 * GIB
    capability: tuple[int, int] = (8, 6)
    uuid: str = "GPU-0"
    temperature: int = 40
    links: int = 0
    processes: tuple[int, ...] = ()
    slices: list[Card] = field(default_factory=list)
    mute: tuple[str, ...] = ()  # questions the card does not answer


class FakeNvml:
    """The module `pynvml`, for tests."""

    def __init__(self, cards: list[Card], *, init_error: str | None = None, hang_s: float = 0) -> None:
        self.cards = cards
        self.init_error = init_error
        self.hang_s = hang_s
        self.closed = False

    def nvmlInit(self) -> None:
        time.sleep(self.hang_s)
        if self.init_error:
            raise NVMLError(self.init_error)

    def nvmlShutdown(self) -> None:
        self.closed = True

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"570.86.15"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12080

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        return self.cards[index]

    def nvmlDeviceGetMigMode(self, card: Card) -> tuple[int, int]:
        if not card.slices:
            raise NVMLError("Not Supported")
        return 1, 1

    def nvmlDeviceGetMaxMigDeviceCount(self, card: Card) -> int:
        return len(card.slices) + 1

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: Card, index: int) -> Card:
        if index >= len(card.slices):
            raise NVMLError("Not Found")
        return card.slices[index]

    def nvmlDeviceGetUUID(self, card: Card) -> str:
        return card.uuid

    def nvmlDeviceGetName(self, card: Card) -> str:
        return self._answer(card, "name", card.name)

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> Any:
        return self._answer(card, "memory", SimpleNamespace(total=card.total, free=card.free))

    def nvmlDeviceGetCudaComputeCapability(self, card: Card) -> tuple[int, int]:
        return self._answer(card, "capability", card.capability)

    def nvmlDeviceGetNvLinkState(self, card: Card, link: int) -> int:
        if link >= card.links:
            raise NVMLError("Invalid Argument")
        return 1

    def nvmlDeviceGetTemperature(self, card: Card, sensor: int) -> int:
        return self._answer(card, "temperature", card.temperature)

    def nvmlDeviceGetPowerUsage(self, card: Card) -> int:
        return self._answer(card, "power", 90_000)

    def nvmlDeviceGetComputeRunningProcesses(self, card: Card) -> list[Any]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=GIB) for pid in card.processes]

    def nvmlDeviceGetCurrentClocksEventReasons(self, card: Card) -> int:
        return self._answer(card, "clocks", 0x20)

    def _answer(self, card: Card, question: str, value: Any) -> Any:
        if question in card.mute:
            raise NVMLError("Not Supported")
        return value
