"""A training loads what it needs, and what it did without can still be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from openr1.extras import without
from openr1.training.libraries import needed_only

PROGRAM = """
import json, sys
from openr1.training.libraries import needed_only

with needed_only("grpo", {"use_vllm": False, "optim": "adamw_torch_fused"}):
    import openr1.sampling.transformers_backend
    import openr1.training.grpo_trainer
    from transformers import Qwen2ForCausalLM
named = ("sklearn", "bitsandbytes", "vllm")
print("LOADED", json.dumps([name for name in named if name in sys.modules]))
import sklearn
"""


def test_grpo_does_without_what_it_does_not_use() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert json.loads(said.removeprefix("LOADED")) == []


@pytest.mark.parametrize(
    ("stage", "values", "left_out"),
    [
        ("sft", {"optim": "adamw_torch_fused"}, {"bitsandbytes"}),
        ("sft", {"optim": "paged_adamw_8bit"}, set()),
        ("sft", {"optim": "adamw_torch", "use_peft": True}, set()),
        ("grpo", {"load_in_4bit": True, "use_vllm": True}, set()),
        ("grpo", {"use_vllm": True}, {"bitsandbytes"}),
        ("grpo", {}, {"bitsandbytes", "vllm"}),
    ],
)
def test_what_is_left_out(
    stage: str, values: dict[str, Any], left_out: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sklearn", "bitsandbytes", "vllm"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with needed_only(stage, values):
        assert {name for name in sys.modules if sys.modules[name] is None} >= {"sklearn", *left_out}
        assert ("bitsandbytes" in sys.modules) is ("bitsandbytes" in left_out)
        assert ("vllm" in sys.modules) is ("vllm" in left_out)
    assert not {"sklearn", "bitsandbytes", "vllm"} & set(sys.modules)


def test_what_is_loaded_stays_and_an_error_hides_nothing() -> None:
    with pytest.raises(ZeroDivisionError), without("json", "wave"):
        assert json.loads("1") == 1
        with pytest.raises(ImportError):
            import wave
        raise ZeroDivisionError
    import wave

    assert wave
