"""The hardware guard between steps, with a sensor that says what we want."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from openr1.hardware.guard import Guard, Limits, Reading
from openr1.training.callbacks import Watchman, outside_torch, peak_bytes


class FakeChild:
    def __init__(self) -> None:
        self.stop_asked = False
        self.ranks = 1
        self.said: list[str] = []
        self.events = SimpleNamespace(send=lambda event, **fields: self.said.append(fields["text"]))


def watchman(readings: list[Reading], limits: Limits) -> tuple[Watchman, FakeChild, list[float]]:
    child: Any = FakeChild()
    left = iter(readings)
    man = Watchman(child, Guard(limits), lambda: next(left))
    slept: list[float] = []
    man._sleep = slept.append  # type: ignore[method-assign]
    return man, child, slept


def step(man: Watchman, control: Any) -> Any:
    args: Any = None
    return man.on_step_end(args, args, control)


def test_a_hot_card_pauses_until_it_is_cool() -> None:
    hot, cool = Reading((85,)), Reading((70,))
    man, child, slept = watchman([hot, hot, cool, cool], Limits(max_gpu_temp_c=83))
    step(man, SimpleNamespace(should_save=True))
    assert len(slept) == 2
    assert "waiting" in child.said[0]
    assert "goes on" in child.said[-1]
    step(man, SimpleNamespace(should_save=True))
    assert len(slept) == 2


def test_without_a_limit_it_only_warns_once() -> None:
    man, child, slept = watchman([Reading((90,))] * 3, Limits())
    for _ in range(3):
        step(man, SimpleNamespace(should_save=True))
    assert not slept
    assert len(child.said) == 1


def test_a_checkpoint_that_does_not_fit_on_the_disk_is_not_begun() -> None:
    man, child, _ = watchman([Reading(disk_free_bytes=10)], Limits(checkpoint_bytes=100))
    control = step(man, SimpleNamespace(should_save=True))
    assert control.should_save is False
    assert "not saved" in child.said[0]


def test_an_exact_prediction_on_a_card_is_measured_as_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch sees its own memory alone; the context and NCCL are added as the plan counted them."""
    memory = {
        "load": {"weights": 10, "CUDA context": 3},
        "update": {"weights": 10, "CUDA context": 3, "NCCL": 2},
    }
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda index: 10 - index)
    assert peak_bytes() + outside_torch(memory) == sum(memory["update"].values())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert outside_torch(memory) == 0
