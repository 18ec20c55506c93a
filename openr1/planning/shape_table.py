"""Shapes of the models this field uses, so that planning needs no download.

Source: each model's config.json on the Hugging Face hub. Aliases share one set of sizes.
"""

from __future__ import annotations

from dataclasses import replace

from openr1.planning.shapes import Experts, Latent, ModelShape

# name, family, hidden, layers, heads, kv, head_dim, intermediate, vocab, tied, context
_ROWS = (
    ("Qwen/Qwen2.5-0.5B", "qwen2", 896, 24, 14, 2, 64, 4864, 151936, True, 32768),
    ("Qwen/Qwen2.5-1.5B", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, True, 131072),
    ("Qwen/Qwen2.5-3B", "qwen2", 2048, 36, 16, 2, 128, 11008, 151936, True, 32768),
    ("Qwen/Qwen2.5-7B", "qwen2", 3584, 28, 28, 4, 128, 18944, 152064, False, 131072),
    ("Qwen/Qwen2.5-14B", "qwen2", 5120, 48, 40, 8, 128, 13824, 152064, False, 131072),
    ("Qwen/Qwen2.5-32B", "qwen2", 5120, 64, 40, 8, 128, 27648, 152064, False, 131072),
    ("Qwen/Qwen2.5-Math-1.5B", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, True, 4096),
    ("Qwen/Qwen2.5-Math-7B", "qwen2", 3584, 28, 28, 4, 128, 18944, 152064, False, 4096),
    ("open-r1/Qwen2.5-Math-7B-RoPE-300k", "qwen2", 3584, 28, 28, 4, 128, 18944, 152064, False, 32768),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, False, 131072),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "qwen2", 3584, 28, 28, 4, 128, 18944, 152064, False, 131072),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "qwen2", 5120, 48, 40, 8, 128, 13824, 152064, False, 131072),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "qwen2", 5120, 64, 40, 8, 128, 27648, 152064, False, 131072),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "llama", 4096, 32, 32, 8, 128, 14336, 128256, False, 131072),
    (
        "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
        "llama",
        8192,
        80,
        64,
        8,
        128,
        28672,
        128256,
        False,
        131072,
    ),
    # Mistral: heads of 128, not hidden / heads
    ("mistralai/Mistral-Small-24B-Base-2501", "mistral", 5120, 40, 32, 8, 128, 32768, 131072, False, 32768),
    ("HuggingFaceTB/SmolLM2-1.7B", "llama", 2048, 24, 32, 32, 64, 8192, 49152, True, 8192),
    ("meta-llama/Llama-3.2-3B", "llama", 3072, 28, 24, 8, 128, 8192, 128256, True, 131072),
    ("Qwen/Qwen3-0.6B", "qwen3", 1024, 28, 16, 8, 128, 3072, 151936, True, 40960),
    ("Qwen/Qwen3-1.7B", "qwen3", 2048, 28, 16, 8, 128, 6144, 151936, True, 40960),
    ("Qwen/Qwen3-4B", "qwen3", 2560, 36, 32, 8, 128, 9728, 151936, True, 40960),
    ("Qwen/Qwen3-8B", "qwen3", 4096, 36, 32, 8, 128, 12288, 151936, False, 40960),
)

_DEEPSEEK_R1 = ModelShape(
    name="deepseek-ai/DeepSeek-R1",
    family="deepseek_v3",
    hidden=7168,
    layers=61,
    heads=128,
    kv_heads=128,
    head_dim=192,
    intermediate=18432,
    vocab=129280,
    tied=False,
    context=163840,
    experts=Experts(count=256, active=8, shared=1, intermediate=2048, first=3, mtp_layers=1),
    latent=Latent(q_rank=1536, kv_rank=512, rope_dim=64, nope_dim=128, value_dim=128),
    checkpoint_bits=8,
)

# Fine-tunes and instruct versions keep the sizes of the model they come from.
_ALIASES = {
    "Qwen/Qwen2.5-0.5B": ("herman66/Qwen2.5-0.5B-Open-R1-Distill",),
    "Qwen/Qwen2.5-7B": ("Qwen/Qwen2.5-Coder-7B",),
    "Qwen/Qwen2.5-32B": ("Qwen/Qwen2.5-Coder-32B",),
    "open-r1/Qwen2.5-Math-7B-RoPE-300k": ("open-r1/OpenR1-Distill-7B",),
    "mistralai/Mistral-Small-24B-Base-2501": ("mistralai/Mistral-Small-24B-Instruct-2501",),
}


def _table() -> dict[str, ModelShape]:
    of_r1 = (_DEEPSEEK_R1.name, f"{_DEEPSEEK_R1.name}-Zero", f"{_DEEPSEEK_R1.name}-0528")
    shapes: dict[str, ModelShape] = {name: replace(_DEEPSEEK_R1, name=name) for name in of_r1}
    for name, family, hidden, layers, heads, kv, dim, mlp, vocab, tied, context in _ROWS:
        shape = ModelShape(
            name, family, hidden, layers, heads, kv, dim, mlp, vocab, tied, context,
            qkv_bias=family == "qwen2", qk_norm=family == "qwen3",
        )  # fmt: skip
        for alias in (name, *_ALIASES.get(name, ())):
            shapes[alias] = replace(shape, name=alias)
    return shapes


TABLE: dict[str, ModelShape] = _table()


def lookup(name: str) -> ModelShape | None:
    """The shape of a model of the table; `-Instruct`, `-Base` and `-Chat` versions share it."""
    lowered = {key.lower(): key for key in TABLE}
    wanted = name.lower()
    for suffix in ("", "-instruct", "-base", "-chat"):
        if wanted.endswith(suffix) and (found := lowered.get(wanted.removesuffix(suffix))):
            shape = TABLE[found]
            # Qwen2.5's instruct versions are published with 32k, longer by YaRN only.
            qwen_instruct = suffix == "-instruct" and shape.family == "qwen2"
            return replace(
                shape, name=name, context=min(shape.context, 32768) if qwen_instruct else shape.context
            )
    return None
