"""A run that trained adapters leaves a whole model behind, which the next section and every command take."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.conftest import Cli, only_run, rows_of

LORA = ("use_peft", "true"), ("lora_target_modules", "all-linear")


@pytest.mark.slow
def test_adapters_are_merged_and_the_next_section_starts_from_them(cli: Cli, tiny: str) -> None:
    words = [word for name in ("sft", "grpo") for key, value in LORA for word in (f"--{name}.{key}", value)]
    done = cli("pipeline", tiny, *words)
    run = only_run(cli, "tiny-*")
    assert "grpo" in done.out
    scores = json.loads((run / "eval" / "manifest.json").read_text())["result"]["scores"]
    assert [score["model"] for score in scores] == ["base", "sft", "grpo"]
    for section in ("sft", "grpo"):
        assert (run / section / "adapter" / "adapter_model.safetensors").is_file()
        assert not (run / section / "model" / "adapter_config.json").exists()

    base, whole = (AutoModelForCausalLM.from_pretrained(run / "sft" / name) for name in ("start", "model"))
    tokens = torch.arange(12).unsqueeze(0)
    with torch.no_grad():
        plain, merged = base(tokens).logits, whole(tokens).logits
        adapted = PeftModel.from_pretrained(base, str(run / "sft" / "adapter"))(tokens).logits
    assert torch.allclose(merged, adapted, atol=1e-4)
    assert not torch.allclose(merged, plain, atol=1e-3), "nothing was learnt"


@pytest.mark.slow
def test_adapters_trained_on_four_bits_are_merged_into_the_whole_base(cli: Cli, tiny: str) -> None:
    """bitsandbytes has 4-bit matrices on CPUs too: QLoRA is trained here, not simulated."""
    pytest.importorskip("bitsandbytes")
    losses = {}
    for four in ("true", "false"):
        words = [word for key, value in LORA for word in (f"--{key}", value)]
        cli("sft", tiny, *words, "--load_in_4bit", four, "--run_name", f"four-{four}")
        rows = rows_of(cli.folder / "runs" / f"four-{four}" / "metrics.jsonl")
        losses[four] = [row["loss"] for row in rows if "loss" in row]
    assert losses["true"][0] != losses["false"][0], "the base was not rounded to 4 bits"
    assert losses["true"][0] == pytest.approx(losses["false"][0], rel=0.05)
    assert losses["true"][-1] < losses["true"][0]

    run = cli.folder / "runs" / "four-true"
    config = json.loads((run / "model" / "config.json").read_text())
    assert "quantization_config" not in config and not (run / "model" / "adapter_config.json").exists()
    base, whole = (AutoModelForCausalLM.from_pretrained(run / name) for name in ("start", "model"))
    assert {weight.dtype for weight in whole.parameters()} == {torch.float32}
    tokens = torch.arange(12).unsqueeze(0)
    with torch.no_grad():
        plain, merged = base(tokens).logits, whole(tokens).logits
        adapted = PeftModel.from_pretrained(base, str(run / "adapter"))(tokens).logits
    assert torch.allclose(merged, adapted, atol=1e-4)
    assert not torch.allclose(merged, plain, atol=1e-3), "nothing was learnt"
    cli("eval", "builtin:chain-sum?steps=2", "--model", str(run), "--limit", "4", "--max_new_tokens", "8")
