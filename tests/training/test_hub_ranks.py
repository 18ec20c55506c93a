"""Uploads of a run of several ranks, with the real command and the hub's own client, against a hub on this
machine: one upload of each thing, and what is uploaded is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.training.hub_server import hub_server

WORDS = ("--push_to_hub", "true", "--run_name", "pushed", "--max_steps", 4, "--save_steps", 2)
MODEL_FILES = {"model.safetensors", "config.json", "generation_config.json"}
MODEL_FILES |= {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
ONLINE = {"HF_TOKEN": "hf_of_a_test", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["ddp", "zero2", "zero3"])
def test_two_ranks_upload_each_checkpoint_and_the_model_once(cli: Cli, tiny: str, sharding: str) -> None:
    with hub_server() as hub:
        words = (*WORDS, "--processes", 2, "--sharding", sharding, "--save_total_limit", 1)
        done = cli("sft", tiny, *words, HF_ENDPOINT=hub.address, **ONLINE)
    run = cli.folder / "runs" / "pushed"
    assert hub.created == [("me/tiny-qwen2-sft", True)], "by one rank alone"
    steps = [f"main-step-{step:09d}" for step in (2, 4)]
    assert hub.started == dict.fromkeys(steps, "first")
    for branch in steps:
        others = set(hub.files[branch]) - MODEL_FILES
        assert others <= {"README.md", "trainer_state.json"}, "nothing that only continues a run"
    # transformers' own push to main adds its arguments, as it does everywhere.
    assert set(hub.files["main"]) == MODEL_FILES | {"README.md", "training_args.bin"}
    assert hub.files["main"]["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()
    assert tensors(hub.files[steps[1]]["model.safetensors"]) == tensors(
        (run / "model" / "model.safetensors").read_bytes()
    )
    first = tensors(hub.files[steps[0]]["model.safetensors"])
    assert first != tensors(hub.files[steps[1]]["model.safetensors"]), "each its own step's"
    assert "the model is uploaded: me/tiny-qwen2-sft, revision main" in done.err
    assert "hf_of_a_test" not in "".join(p.read_text(errors="replace") for p in texts(run))


def tensors(content: bytes) -> dict[str, bytes]:
    from safetensors import deserialize

    return {name: bytes(found["data"]) for name, found in deserialize(content)}


def texts(run: Path) -> list[Path]:
    return [p for p in run.rglob("*") if p.suffix in (".yaml", ".json", ".jsonl", ".log", ".html", ".md")]
