"""Nodes that are not alike: said before anything is trained, on every node."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from openr1.errors import DoesNotFit, EnvironmentProblem
from openr1.launch.command import CAPACITY
from openr1.training import ranks

GIB = 2**30
PLAN = {"memory": {"update": {"weights": 40 * GIB, "activations": 15 * GIB}}, "capacity_bytes": 77 * GIB}


def child(**more: Any) -> Any:
    fields = {"rank": 1, "ranks": 2, "node": 1, "run": SimpleNamespace(path=SimpleNamespace(name="r"))}
    return SimpleNamespace(**{**fields, "config": {"plan": PLAN}, **more})


@pytest.mark.parametrize(("here", "fits"), [(77, True), (56, True), (37, False), (0, True)])
def test_the_first_nodes_plan_must_fit_everywhere(
    monkeypatch: pytest.MonkeyPatch, here: int, fits: bool
) -> None:
    monkeypatch.setenv(CAPACITY, str(here * GIB))
    monkeypatch.setattr(ranks, "from_all", lambda child, own: [(77 * GIB, 0), own])
    if fits:
        ranks._check_fits(child())
        return
    with pytest.raises(DoesNotFit, match=r"needs 55.0 GiB .* on node 1 37.0 GiB") as caught:
        ranks._check_fits(child())
    assert "--node-rank 0" in str(caught.value.fix)
    forced = {**PLAN, "capacity_bytes": 50 * GIB}  # it does not fit on the first node either, and was started
    ranks._check_fits(child(config={"plan": forced}))


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (["r", 2, False], None),
        (["r", 2, True], "node 1 has no GPU that torch can use"),
        (["r", 16, True], "node 1 counts 2 ranks in all, the first one 16"),
        ([".rehearsal-r", 2, False], "was started for r, the first one for .rehearsal-r"),
    ],
)
def test_what_a_node_hears_of_the_first(
    monkeypatch: pytest.MonkeyPatch, said: list[Any], what: str | None
) -> None:
    """The first node hears of it, too."""
    monkeypatch.setattr(ranks.torch.cuda, "is_available", lambda: False)
    told: dict[str, str] = {}
    store = SimpleNamespace(get=lambda key: json.dumps(said), set=told.__setitem__)
    if what is None:
        ranks._check_same_run(child(), store)
        assert not told
        return
    with pytest.raises(EnvironmentProblem, match=what):
        ranks._check_same_run(child(), store)
    assert what in json.loads(told["refused"])["what"]
