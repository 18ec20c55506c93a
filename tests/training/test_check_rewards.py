"""`--check-rewards` on good data and on data with every fault it looks for."""

from __future__ import annotations

import json

from tests.conftest import Cli
from tests.training.test_grpo import START


def test_good_data_and_an_untrained_model(cli: Cli, tiny: str) -> None:
    done = cli("grpo", tiny, *START, "--check-rewards", 8, "--json")
    report = done.json
    assert report["rows"] == 8
    assert not report["gold_problems"]
    names = [reward["name"] for reward in report["rewards"]]
    assert names == ["accuracy", "format"]
    assert all(reward["always_zero"] for reward in report["rewards"])  # random weights
    assert len(report["samples"]) == 4 * 4
    assert report["problems"]
    assert not (cli.folder / "runs").exists()


def test_bad_golds_are_named_by_row_without_sampling(cli: Cli) -> None:
    rows = [
        {"problem": "1+1", "answer": "2"},
        {"problem": "x", "answer": None},
        {"problem": "y", "answer": ""},
    ]
    cli.write("d.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
    words = ("grpo", *START, "--dataset_name", "d.jsonl", "--num_generations", 2, "--global_batch_size", 2)
    done = cli(*words, "--check-rewards", "--no-sample")
    assert "row 2" in done.out
    assert "row 3" in done.out
    assert "row 1:" not in done.out
    assert "rows 2, 3" in done.out  # one way of counting on one screen
    assert "loading the model" not in done.err
