"""A finished run corrects the next plan on the same machine."""

from __future__ import annotations

from pathlib import Path

from openr1.data.tiny_model import build_tiny_model, parse_model
from tests.conftest import Cli


def test_measured_peaks_and_step_times_feed_the_next_plan(cli: Cli, tiny: str) -> None:
    build_tiny_model(parse_model("builtin:tiny-qwen2?layers=1&hidden=64"), 1, Path(cli.folder / "model"))
    words = ("sft", tiny, "--model_name_or_path", "./model", "--max_steps", 4)
    cache = {"XDG_CACHE_HOME": str(cli.folder / "cache")}
    before = cli(*words, "--dry-run", "--json", **cache).json["plan"]
    assert before["memory"]  # a folder with a config.json has a shape
    assert tuple(before["corrections"]) == (1.0, 1.0)
    cli(*words, **cache)
    after = cli(*words, "--seed", 2, "--dry-run", "--json", **cache).json["plan"]
    memory, step = after["corrections"]
    assert memory != 1.0
    assert step != 1.0
