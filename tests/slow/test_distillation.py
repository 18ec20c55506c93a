"""R1's whole plan at full size: who learns from the traces beats who began, for every seed."""

from __future__ import annotations

import pytest

from tests.conftest import Cli, rows_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [42, 1])
def test_the_distilled_model_beats_the_cold_start(cli: Cli, seed: int) -> None:
    """At temperature 1 on 500 held-out problems: at least 40 points above, with disjoint 95 % intervals."""
    cli.env.pop("OMP_NUM_THREADS")
    cli.limit_s = 3600  # a whole pipeline, and the machine may have other work
    done = cli("pipeline", "tiny-cpu-full", "--seed", seed, "--json").json
    sections = {section["section"]: section for section in done["sections"]}
    scores = {score["model"]: score for score in sections["eval"]["result"]["scores"]}
    assert scores["base"]["accuracy"] < 0.05
    assert scores["distill"]["accuracy"] - scores["cold-start"]["accuracy"] >= 0.40
    assert scores["distill"]["interval"][0] > scores["cold-start"]["interval"][1]
    traces = sections["traces"]["result"]
    assert traces["exported"]["messages"] == traces["verdicts"]["right"] >= 7000
    verdicts = rows_of(cli.folder / sections["traces"]["run"] / "verdicts.jsonl")
    assert len(verdicts) == 4000
