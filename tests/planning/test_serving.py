"""How vLLM serves a model: DeepSeek-R1's table, and the rules behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from openr1.errors import DoesNotFit
from openr1.hardware import simulate
from openr1.planning.serving import Asked, Layout, best_layout, kv_bytes_per_token, layouts, refusal, splits
from openr1.planning.shape_table import lookup
from openr1.planning.shapes import ModelShape

GB = 1e9


def shape(name: str) -> ModelShape:
    found = lookup(name)
    assert found is not None
    return found


R1 = shape("deepseek-ai/DeepSeek-R1")
ASKED = Asked(completion_tokens=8192)


def best(name: str, machine: str, asked: Asked = ASKED) -> Layout | None:
    here = simulate(machine)
    return best_layout(shape(name), here, len(here.gpus), asked)


@pytest.mark.parametrize(
    ("machine", "layout"),
    [
        ("8xH100, 2 nodes", (8, 2, 1)),
        ("8xH200", (8, 1, 1)),
        ("8xH200, 2 nodes", (8, 1, 2)),
        ("8xH100, 4 nodes", (8, 2, 2)),
        ("8xB200", (8, 1, 1)),
        ("8xH100", None),
        ("8xH100, 3 nodes", (8, 3, 1)),
        ("4xH100, 4 nodes", (4, 4, 1)),
        ("RTX 3060", None),
    ],
)
def test_deepseek_r1(machine: str, layout: tuple[int, int, int] | None) -> None:
    found = best(R1.name, machine)
    assert layout == (found and (found.tensor_parallel, found.pipeline_parallel, found.engines))


def test_r1s_bytes_are_those_of_the_published_checkpoint() -> None:
    """671 billion parameters: FP8, embedding and head in 16 bit. 70,272 bytes of KV a token."""
    assert R1.served_bytes == pytest.approx(673 * GB, rel=0.002)
    assert R1.kv_bytes_per_token == 70_272
    two = best(R1.name, "8xH100, 2 nodes")
    assert two is not None
    assert two.weight_bytes == pytest.approx(42 * GB, rel=0.03)
    assert 600_000 < two.kv_tokens < 850_000  # reckoned by hand: about 800,000 with 28 GB a card
    assert two.max_length is None  # the model's own 163,840 has room


def test_a_latent_is_held_by_every_card_and_kv_heads_are_shared() -> None:
    assert kv_bytes_per_token(R1, 8, 1) == R1.kv_bytes_per_token
    assert kv_bytes_per_token(R1, 8, 2) == R1.kv_bytes_per_token * 31 // 61
    seventy = shape("deepseek-ai/DeepSeek-R1-Distill-Llama-70B")  # 8 KV heads
    assert kv_bytes_per_token(seventy, 4, 1) * 4 == seventy.kv_bytes_per_token
    assert kv_bytes_per_token(seventy, 16, 1) * 8 == seventy.kv_bytes_per_token


def test_what_cannot_be_split_is_not_offered() -> None:
    seven = shape("Qwen/Qwen2.5-7B")  # 28 heads, 4 KV heads
    assert [t for t in range(1, 9) if splits(seven, t)] == [1, 2, 4]
    here = simulate("8xH100")
    assert {x.tensor_parallel for x in layouts(seven, here, 8, ASKED)} == {1, 2, 4}


@pytest.mark.parametrize(
    ("name", "machine", "layout"),
    [
        ("DeepSeek-R1-Distill-Qwen-1.5B", "8xH100", (1, 8)),
        ("DeepSeek-R1-Distill-Llama-70B", "8xH100", (4, 2)),  # 2 cards hold the weights and little else
        ("DeepSeek-R1-Distill-Qwen-14B", "4x RTX 4090", (2, 2)),
        ("DeepSeek-R1-Distill-Qwen-7B", "RTX 4090", (1, 1)),
    ],
)
def test_as_few_cards_as_leave_room_for_completions(name: str, machine: str, layout: tuple[int, int]) -> None:
    found = best(f"deepseek-ai/{name}", machine)
    assert found is not None
    assert (found.tensor_parallel, found.engines) == layout


def test_a_context_that_has_no_room_is_shortened_to_what_has() -> None:
    found = best("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "RTX 4090")
    assert found is not None and found.max_length is not None
    assert 8192 < found.max_length <= found.kv_tokens < 131_072
    fixed = best("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "RTX 4090", replace(ASKED, max_length=4096))
    assert fixed is not None and fixed.max_length == 4096


def test_the_refusal_names_what_would_do() -> None:
    here = simulate("8xH100")
    error = refusal(R1, here, 8, ASKED)
    assert isinstance(error, DoesNotFit) and error.code == 4
    assert "over 8 cards, each needs 87" in error.what and "weights 78" in error.what
    fix = str(error.fix)
    assert fix.startswith("--nodes 2 (one engine, tensor parallel 8 × 2 stages over nodes")
    assert "8 × H200 in a node" in fix
    one_node = refusal(R1, here, 8, ASKED, several_nodes=False)  # `openr1 eval` has no --nodes
    assert str(one_node.fix).startswith("--server URL of a vLLM that is served over 2 nodes")
    assert "--nodes" not in str(one_node.fix)
    assert "--model deepseek-ai/DeepSeek-R1-Distill-Llama-70B" in fix
    alone = refusal(R1, simulate("RTX 3060"), 1, ASKED)
    assert str(alone.fix) == "--model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
    forced = refusal(R1, simulate("8xH200"), 8, replace(ASKED, tensor_parallel=4))
    assert str(forced.fix).startswith("leave tensor_parallel and pipeline_parallel to the plan")
    long = refusal(
        shape("Qwen/Qwen2.5-7B"), simulate("RTX 4090"), 1, replace(ASKED, completion_tokens=120_000)
    )
    assert "--max_model_length" in str(long.fix)
