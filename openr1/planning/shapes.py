"""The shape of a model: what its memory and speed follow from. Parameter counts are exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from openr1.errors import RecipeError

# architectures whose parameter count and activations the formulas describe
DENSE = ("qwen2", "qwen3", "llama", "mistral")
DEEPSEEK = ("deepseek_v3",)


@dataclass(frozen=True)
class Experts:
    """A mixture-of-experts MLP (DeepSeek-V3): every layer from `first` on has one."""

    count: int
    active: int  # routed experts a token visits
    shared: int
    intermediate: int
    first: int  # the layers before it are dense
    mtp_layers: int = (
        0  # multi-token-prediction layers: in the checkpoint, not in the model transformers loads
    )


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2/V3): ranks of the low-rank projections."""

    q_rank: int
    kv_rank: int
    rope_dim: int
    nope_dim: int
    value_dim: int


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder-only transformer, by the names of HF's config.json."""

    name: str
    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    context: int
    qkv_bias: bool = False
    qk_norm: bool = False
    experts: Experts | None = None
    latent: Latent | None = None
    checkpoint_bits: int = 16  # of a published linear weight: 8 for DeepSeek's FP8, 4 for AWQ

    @property
    def q_dim(self) -> int:
        """Width of all query heads."""
        return self.heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Width of all key heads (and of all value heads)."""
        return self.kv_heads * self.head_dim

    @property
    def embedding_params(self) -> int:
        """Parameters of the input embedding."""
        return self.vocab * self.hidden

    @property
    def head_params(self) -> int:
        """Parameters of an output head of its own; 0 when tied to the embedding."""
        return 0 if self.tied else self.vocab * self.hidden

    @cached_property
    def linear_params(self) -> int:
        """Parameters outside embedding and head: what bitsandbytes quantises, what autocast casts."""
        return self.params - self.embedding_params - self.head_params

    @cached_property
    def params(self) -> int:
        """All parameters, exactly as transformers counts them."""
        layers = sum(self._layer(i) for i in range(self.layers))
        return self.embedding_params + self.head_params + layers + self.hidden

    @cached_property
    def active_params(self) -> int:
        """Parameters a token meets: all of a dense model, the routed share of a mixture."""
        if self.experts is None:
            return self.params
        idle = self.experts.count - self.experts.active
        moe_layers = self.layers - self.experts.first
        return self.params - moe_layers * idle * 3 * self.hidden * self.experts.intermediate

    @property
    def served_bytes(self) -> int:
        """Bytes of the weights in an inference engine: linear ones as published, the rest in 16 bit."""
        return self.linear_params * self.checkpoint_bits // 8 + 2 * (self.embedding_params + self.head_params)

    @property
    def layer_params(self) -> int:
        """Parameters of the largest layer: what sharded training gathers at once."""
        return self._layer(self.layers - 1)

    def _layer(self, index: int) -> int:
        return self._attention() + self._mlp(index) + 2 * self.hidden

    def _attention(self) -> int:
        h = self.hidden
        if self.latent is not None:
            m = self.latent
            head = m.nope_dim + m.rope_dim
            query = h * m.q_rank + m.q_rank + m.q_rank * self.heads * head
            key_value = h * (m.kv_rank + m.rope_dim) + m.kv_rank
            key_value += m.kv_rank * self.heads * (m.nope_dim + m.value_dim)
            return query + key_value + self.heads * m.value_dim * h
        count = h * (self.q_dim + 2 * self.kv_dim) + self.q_dim * h
        count += self.q_dim + 2 * self.kv_dim if self.qkv_bias else 0
        return count + (2 * self.head_dim if self.qk_norm else 0)

    def _mlp(self, index: int) -> int:
        e = self.experts
        if e is None or index < e.first:
            return 3 * self.hidden * self.intermediate
        experts = 3 * self.hidden * e.intermediate * (e.count + e.shared)
        return experts + self.hidden * e.count  # the router

    @property
    def kv_bytes_per_token(self) -> int:
        """KV cache of one token in bf16, all layers, bytes."""
        if self.latent is not None:
            return 2 * self.layers * (self.latent.kv_rank + self.latent.rope_dim)
        return 2 * self.layers * self.kv_dim * 2

    def lora_params(self, rank: int, targets: tuple[str, ...] | None = None) -> int:
        """Adapter parameters at a rank: rank x (in + out) of every adapted projection.

        `targets` are module names as peft takes them; None = all linear projections, head excluded.
        """
        if self.latent is not None:
            raise RecipeError(
                f"LoRA sizes of {self.family} are not modelled", fix="train without a plan: --force"
            )
        h, q, k, i = self.hidden, self.q_dim, self.kv_dim, self.intermediate
        sizes = {
            "q_proj": h + q,
            "k_proj": h + k,
            "v_proj": h + k,
            "o_proj": q + h,
            "gate_proj": h + i,
            "up_proj": h + i,
            "down_proj": i + h,
        }
        chosen = sizes if targets is None else {t: sizes[t] for t in targets if t in sizes}
        return rank * self.layers * sum(chosen.values())

    @classmethod
    def from_config(cls, config: Mapping[str, Any], name: str = "") -> ModelShape:
        """The shape that a Hugging Face config.json describes.

        Raises:
            RecipeError: an architecture the formulas do not describe, or a size that is missing.
        """
        return _from_config(config, name or str(config.get("_name_or_path") or "this model"))


def _from_config(config: Mapping[str, Any], name: str) -> ModelShape:
    family = str(config.get("model_type", ""))
    if family not in DENSE + DEEPSEEK:
        raise RecipeError(
            f"{name}: the memory model does not know the architecture {family or 'without a model_type'!r}",
            where="config.json: model_type",
            fix=f"known are {', '.join(DENSE + DEEPSEEK)}; others can be trained, but not planned for",
        )

    def size(key: str, default: int | None = None) -> int:
        value = config.get(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise RecipeError(
                f"{name}: config.json has no usable {key} ({value!r})",
                where=f"config.json: {key}",
                fix="check that the file is a model's config.json and complete",
            )
        return value

    hidden, heads = size("hidden_size"), size("num_attention_heads")
    head_dim = size("head_dim", hidden // heads)
    # transformers ties by default only where the config class says so; of these, none but the small
    # Qwen and Llama-3.2 checkpoints, which write the key themselves.
    tied = bool(config.get("tie_word_embeddings", False))
    common: dict[str, Any] = {
        "name": name,
        "family": family,
        "hidden": hidden,
        "layers": size("num_hidden_layers"),
        "heads": heads,
        "intermediate": size("intermediate_size"),
        "vocab": size("vocab_size"),
        "tied": tied,
        "context": size("max_position_embeddings", 4096),
        "checkpoint_bits": _bits(config.get("quantization_config")),
    }
    if family in DEEPSEEK:
        latent = Latent(
            q_rank=size("q_lora_rank"),
            kv_rank=size("kv_lora_rank"),
            rope_dim=size("qk_rope_head_dim"),
            nope_dim=size("qk_nope_head_dim"),
            value_dim=size("v_head_dim"),
        )
        experts = Experts(
            count=size("n_routed_experts"),
            active=size("num_experts_per_tok"),
            shared=size("n_shared_experts"),
            intermediate=size("moe_intermediate_size"),
            first=int(config.get("first_k_dense_replace", 0)),
            mtp_layers=int(config.get("num_nextn_predict_layers", 0)),
        )
        return ModelShape(
            **common, kv_heads=size("num_key_value_heads", heads), head_dim=latent.nope_dim + latent.rope_dim,
            experts=experts, latent=latent,
        )  # fmt: skip
    return ModelShape(
        **common,
        kv_heads=size("num_key_value_heads", heads),
        head_dim=head_dim,
        # Qwen2's biases on q, k and v are in the code, not in the config; Llama's follow attention_bias,
        # which also puts one on o_proj (no released Llama uses it).
        qkv_bias=family == "qwen2" or bool(config.get("attention_bias", False)),
        qk_norm=family == "qwen3",
    )


def _bits(quantised: Any) -> int:
    """Bits of a linear weight by a config's `quantization_config`."""
    if not isinstance(quantised, Mapping):
        return 16
    if str(quantised.get("quant_method")) in ("fp8", "fbgemm_fp8"):
        return 8
    bits = quantised.get("bits", quantised.get("w_bit"))
    return bits if bits in (2, 3, 4, 8) else 16


# Stands for a model whose sizes are not known; nothing is computed from it.
NAMELESS = ModelShape("unknown", "unknown", 1, 1, 1, 1, 1, 1, 1, True, 4096)
