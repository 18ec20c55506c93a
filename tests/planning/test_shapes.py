"""Parameter counts are exact; every config.json is read or refused in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openr1.errors import RecipeError
from openr1.planning import ModelShape, find_shape
from openr1.planning.shape_table import TABLE, lookup

# The totals that the hub shows for each checkpoint.
PUBLISHED = {
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": 8_030_261_248,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-70B": 70_553_706_496,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
}
# rank 16, all linear layers
LORA_16 = {"0.5B": 8.8, "1.5B": 18.5, "3B": 29.9, "7B": 40.4, "14B": 68.8, "32B": 134.2}
KV_KIB = {
    "Qwen/Qwen2.5-0.5B": 12,
    "Qwen/Qwen2.5-7B": 56,
    "Qwen/Qwen3-0.6B": 112,
    "deepseek-ai/DeepSeek-R1": 68.625,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_exact(name: str) -> None:
    assert TABLE[name].params == PUBLISHED[name]


def test_deepseek_r1_is_671_billion_with_37_active() -> None:
    shape = TABLE["deepseek-ai/DeepSeek-R1"]
    assert round(shape.params / 1e9) == 671
    assert 37.0e9 < shape.active_params < 38.0e9


@pytest.mark.parametrize("size", LORA_16)
def test_adapter_sizes(size: str) -> None:
    assert TABLE[f"Qwen/Qwen2.5-{size}"].lora_params(16) / 1e6 == pytest.approx(LORA_16[size], abs=0.06)


@pytest.mark.parametrize("name", KV_KIB)
def test_kv_cache_per_token(name: str) -> None:
    assert TABLE[name].kv_bytes_per_token / 1024 == KV_KIB[name]


def test_instruct_versions_are_found_whatever_the_case() -> None:
    shape = lookup("qwen/qwen2.5-7b-instruct")
    assert shape is not None and shape.params == PUBLISHED["Qwen/Qwen2.5-7B"]
    assert shape.context == 32768
    assert lookup("somebody/else") is None


QWEN_CONFIG = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "intermediate_size": 4864,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 32768,
}


def test_a_config_gives_the_same_shape_as_the_table() -> None:
    shape = ModelShape.from_config(QWEN_CONFIG, "Qwen/Qwen2.5-0.5B")
    assert shape == TABLE["Qwen/Qwen2.5-0.5B"]


def test_mistral_and_deepseek_configs() -> None:
    mistral = {
        "model_type": "mistral", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32768, "head_dim": 128,
    }  # fmt: skip
    assert ModelShape.from_config(mistral).params == 7_248_023_552  # Mistral-7B-v0.3
    r1 = {
        "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128,
        "num_key_value_heads": 128, "intermediate_size": 18432, "vocab_size": 129280, "q_lora_rank": 1536,
        "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
        "n_routed_experts": 256, "num_experts_per_tok": 8, "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3, "num_nextn_predict_layers": 1, "max_position_embeddings": 163840,
    }  # fmt: skip
    assert ModelShape.from_config(r1).params == TABLE["deepseek-ai/DeepSeek-R1"].params


def test_unknown_architecture_is_named() -> None:
    with pytest.raises(RecipeError, match="mamba2") as caught:
        ModelShape.from_config({"model_type": "mamba2"}, "some/model")
    assert "qwen2" in str(caught.value.fix)


@pytest.mark.parametrize("value", [None, "many", 0, -4, True, 1.5])
def test_unusable_sizes_are_refused(value: object) -> None:
    with pytest.raises(RecipeError, match="hidden_size"):
        ModelShape.from_config(QWEN_CONFIG | {"hidden_size": value})


def test_shapes_come_from_folders_and_the_cache(tmp_path: Path) -> None:
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(QWEN_CONFIG | {"num_hidden_layers": 2}))
    assert find_shape(str(model)).value.layers == 2  # type: ignore[union-attr]
    assert find_shape(str(model.parent)).value.layers == 2  # type: ignore[union-attr]
    cached = tmp_path / "models--who--what" / "snapshots" / "abc"
    cached.mkdir(parents=True)
    (cached / "config.json").write_text(json.dumps(QWEN_CONFIG | {"num_hidden_layers": 3}))
    assert find_shape("who/what", tmp_path).value.layers == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "rwkv"}'])
def test_a_broken_config_is_unknown_with_a_reason(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    found = find_shape(str(tmp_path))
    assert found.value is None and found.reason
    assert find_shape("builtin:tiny").value is None
