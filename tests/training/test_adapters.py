"""A run that trained adapters leaves a whole model behind, which the next section and every command take."""

from __future__ import annotations

import json

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.conftest import Cli, only_run

LORA = ("use_peft", "true"), ("lora_target_modules", "all-linear")


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
