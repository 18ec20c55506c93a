"""Bytes a training step needs on one GPU (or in RAM on a CPU), by cause. Pure functions.

Symbols: h hidden, L layers, i MLP width, q = heads x head_dim, k = kv_heads x head_dim, V vocabulary,
N parameters, T tokens of one micro-batch (padded), n ranks. Every result is in bytes.
Evidence per term: [S] read in the source of TRL 1.16, transformers 5.19, accelerate, deepspeed or peft;
[F] simulated with fake tensors on the real model code (`python -m openr1.planning.verify`); [E] estimate.
Validated against 16 published peaks in `tests/planning/test_published_peaks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from openr1.planning.shapes import ModelShape

GIB = 1024**3

SHARDINGS = ("none", "ddp", "zero1", "zero2", "zero3", "fsdp")
# DeepSpeed's reduce and all-gather buckets, 5e8 elements each by default, in bf16 [S].
ZERO_BUCKET_BYTES = 2 * 500_000_000 * 2
# ZeRO-3 gathers layers ahead of time: 1-2 GiB live with transformers' `auto` bucket sizes [S, E].
ZERO3_LIVE_BYTES = int(1.5 * GIB)
# The fused head of TRL scores 4096 tokens x 32768 words at a time [S].
HEAD_TOKENS, HEAD_WORDS = 4096, 32768
# Full logits through HF's loss: 3.5 fp32 copies of T x V at the peak [F, HF 5.19]; torch's plain
# cross-entropy on bf16 logits as prime-rl calls it: 4.4 [fitted on its two published 0.6B peaks].
HF_LOGITS_COPIES = 3.5
PLAIN_CE_LOGITS_COPIES = 4.4
# CUDA context, cuBLAS and library workspaces outside torch's allocator [E: 0.5-0.7 GiB].
CUDA_CONTEXT_BYTES = int(0.6 * GIB)
NCCL_BYTES = int(0.7 * GIB)  # communication buffers with more than one rank [E: 0.5-1 GiB]
# What the allocator cannot use because of fragmentation, with expandable segments [E: 3-5 %].
FRAGMENTATION = 0.04


@dataclass(frozen=True)
class Setup:
    """How a model is trained on one rank: everything the memory of a step follows from."""

    shape: ModelShape
    micro_tokens: int  # T: padded tokens of one micro-batch
    weight_bytes: int = 4  # per parameter, of the trained copy: 4 (fp32) or 2 (bf16)
    compute_bytes: int = 2  # per activation element: 2 under bf16/fp16, 4 in fp32
    optimizer: str = "adamw"  # "adamw", "adamw_8bit", "adamw_paged_8bit", "sgd"
    sharding: str = "none"
    ranks: int = 1
    accumulation: int = 2  # only 1 or more matters: with more, gradients stay beside activations
    checkpointing: bool = True
    offload_activations: bool = False  # checkpoints wait in host memory
    head: str = "fused"  # "fused", "hf_logits", "plain_ce"
    lora_rank: int | None = None
    lora_targets: tuple[str, ...] | None = None
    adapter_bytes: int = (
        4  # peft keeps adapters in fp32 whatever the base's dtype (autocast_adapter_dtype) [S]
    )
    quantised: bool = False  # NF4 base with double quantisation
    quantised_embedding_states: bool = False  # True: 8-bit Adam also for nn.Embedding (HF keeps it 32-bit)
    reference: bool = False  # a reference model of its own (beta > 0 without LoRA)

    @property
    def autocast(self) -> bool:
        """fp32 weights computed in a narrower type."""
        return (
            self.weight_bytes == 4
            and self.compute_bytes == 2
            and not self.sharded_engine
            and self.lora_rank is None
        )

    @property
    def sharded_engine(self) -> bool:
        """A mixed-precision engine that keeps bf16 working weights and fp32 masters itself."""
        return self.sharding in ("zero1", "zero2", "zero3", "fsdp")

    def with_tokens(self, micro_tokens: int) -> Setup:
        """The same with another micro-batch."""
        return replace(self, micro_tokens=micro_tokens)


def base_weights(s: Setup) -> int:
    """The weights as they lie in memory before any training state.

    NF4 with double quantisation: 0.516 bytes per linear parameter (4 bits + 8-bit scales per 64), embedding
    and head in 16 bit, and one dequantised MLP matrix while it is multiplied [E].
    """
    m = s.shape
    if s.quantised:
        rest = m.params - m.linear_params
        return int(0.516 * m.linear_params) + 2 * rest + 2 * m.hidden * m.intermediate
    if s.lora_rank is not None:
        return s.weight_bytes * m.params // (s.ranks if s.sharding in ("zero3", "fsdp") else 1)
    # A ZeRO engine computes with a bf16 copy, whatever the masters are [S].
    per_param = 2 if s.sharding in ("zero1", "zero2", "zero3") else s.weight_bytes
    return per_param * m.params // (s.ranks if s.sharding in ("zero3", "fsdp") else 1)


def trained_params(s: Setup) -> int:
    """Parameters that get gradients."""
    return s.shape.params if s.lora_rank is None else s.shape.lora_params(s.lora_rank, s.lora_targets)


def gradients(s: Setup) -> int:
    """Gradients between backward and step. ZeRO-2/3 and FSDP keep 1/n [S]."""
    n = trained_params(s)
    if s.lora_rank is not None:
        return s.adapter_bytes * n // (s.ranks if s.sharding in ("zero2", "zero3", "fsdp") else 1)
    if s.sharding == "zero1":
        return 2 * n
    if s.sharding in ("zero2", "zero3"):
        return 2 * n // s.ranks
    return s.weight_bytes * n // (s.ranks if s.sharding == "fsdp" else 1)


def optimizer_states(s: Setup) -> int:
    """Optimizer states and fp32 masters.

    AdamW keeps two states in the parameter's own type [S]; 8-bit Adam two bytes per parameter, but HF's
    Trainer leaves bitsandbytes' states of `nn.Embedding` in 32 bit: + 6 Vh [S]. A ZeRO engine keeps the
    fp32 master and both states, 12 bytes, sharded [S]. Paged states can leave the card under pressure.
    """
    m, n = s.shape, trained_params(s)
    if s.lora_rank is not None:
        # adapters themselves + two states of the same type
        states = s.adapter_bytes if s.optimizer == "sgd" else 3 * s.adapter_bytes
        return states * n // (s.ranks if s.sharding in ("zero1", "zero2", "zero3", "fsdp") else 1)
    if s.sharding in ("zero1", "zero2", "zero3"):
        per_param = {"adamw": 12, "sgd": 4}.get(s.optimizer, 6)
        return per_param * n // s.ranks
    if s.optimizer == "sgd":
        return 0
    if s.optimizer == "adamw":
        total = 2 * s.weight_bytes * n
    elif s.optimizer == "adamw_paged_8bit":
        return 0
    else:
        total = 2 * n + (0 if s.quantised_embedding_states else 6 * m.embedding_params)
    return total // (s.ranks if s.sharding == "fsdp" else 1)


def sharding_buffers(s: Setup) -> int:
    """What several ranks keep gathered or in flight: buckets, live layers, the gathered head.

    DDP copies every gradient into a bucket (accelerate leaves `gradient_as_bucket_view` off) [S]. FSDP: two
    layers in bf16 (one computing, one prefetched) and the root unit, embedding and head. ZeRO-3 gathers the
    head whole [S].
    """
    if s.ranks == 1:
        return 0
    if s.sharding == "fsdp":
        return 2 * (2 * s.shape.layer_params + s.shape.embedding_params + s.shape.head_params)
    if s.sharding == "zero3":
        return ZERO3_LIVE_BYTES + 2 * s.shape.embedding_params
    if s.sharding in ("zero1", "zero2"):
        return ZERO_BUCKET_BYTES
    if s.sharding == "ddp":
        return gradients(s)
    return 0


def cast_cache(s: Setup) -> int:
    """Autocast's bf16 copies of the linear weights, alive from first use to the end of the forward [F]."""
    return 2 * s.shape.linear_params if s.autocast else 0


def checkpoints(s: Setup) -> int:
    """The residual stream kept per layer when checkpointing: T x L x 2h, 4h where it is fp32 [F]."""
    if not s.checkpointing or s.offload_activations:
        return 0
    width = 4 if (s.autocast or s.compute_bytes == 4) else 2
    return s.micro_tokens * s.shape.layers * width * s.shape.hidden


# Bytes per token of one layer's activations, in multiples of (h, q, k, i) [F: fitted exactly by varying one
# size at a time, causal attention without a mask]. QK-norm (Qwen3) adds its factor times (q + k).
#                kept for the backward    alive while recomputed   QK-norm
ACTIVATIONS = {
    "bf16": ((16, 4, 4, 8), (22, 4, 4, 12), 6),
    "autocast": ((26, 4, 4, 8), (33, 4, 4, 12), 6),  # norms and residual stream in fp32
    "fp32": ((24, 8, 8, 16), (32, 8, 8, 24), 8),
}


def working_set(s: Setup) -> int:
    """Activations alive at once: of one layer when checkpointing, of all layers otherwise."""
    m = s.shape
    kind = "fp32" if s.compute_bytes == 4 else "autocast" if s.autocast else "bf16"
    kept, recomputed, norm = ACTIVATIONS[kind]
    of_h, of_q, of_k, of_i = recomputed if s.checkpointing else kept
    layer = of_h * m.hidden + of_q * m.q_dim + of_k * m.kv_dim + of_i * m.intermediate
    layer += norm * (m.q_dim + m.kv_dim) if m.qk_norm else 0
    return s.micro_tokens * layer * (1 if s.checkpointing else m.layers)


def head(s: Setup) -> int:
    """The language-model head and its loss.

    Fused (TRL 1.16): one tile of min(T, 4096) x min(V, 32768) logits and two copies of the hidden states
    gradient, 4hT; if the head is trained also an fp32 gradient accumulator and a cast, 6Vh [S].
    Full logits: `HF_LOGITS_COPIES` or `PLAIN_CE_LOGITS_COPIES` fp32 copies of T x V.
    """
    m, t = s.shape, s.micro_tokens
    if s.head == "hf_logits":
        return int(HF_LOGITS_COPIES * 4 * m.vocab * t)
    if s.head == "plain_ce":
        return int(PLAIN_CE_LOGITS_COPIES * 4 * m.vocab * t)
    tile = s.compute_bytes * min(t, HEAD_TOKENS) * min(m.vocab, HEAD_WORDS)
    trained = 6 * m.vocab * m.hidden if s.lora_rank is None else 0
    return tile + 4 * m.hidden * t + trained


def reference_model(s: Setup) -> int:
    """A frozen copy for the KL term, in the weights' type; none with LoRA (the base serves) [S]."""
    if not s.reference or s.lora_rank is not None:
        return 0
    return s.weight_bytes * s.shape.params // (s.ranks if s.sharding in ("zero3", "fsdp") else 1)


def states(s: Setup) -> dict[str, int]:
    """What stays from step to step, by cause."""
    return _clean(
        {
            "weights": base_weights(s),
            "optimizer": optimizer_states(s),
            "sharding buffers": sharding_buffers(s),
            "reference model": reference_model(s),
        }
    )


def update(s: Setup) -> dict[str, int]:
    """The peak of forward, backward and step, by cause."""
    before, after = backward(s, head(s), late_gradients(s))
    larger = before if total(before) >= total(after) else after
    return _clean(states(s) | larger)


def late_gradients(s: Setup) -> int:
    """Gradients that appear when no activation is left: those of an embedding the head does not share."""
    if s.shape.tied or s.lora_rank is not None:
        return 0
    return gradients(s) * s.shape.embedding_params // s.shape.params


def backward(s: Setup, head_bytes: int, late_bytes: int) -> tuple[dict[str, int], dict[str, int]]:
    """What lies beside the states when the backward begins, and when it ends, by cause.

    With accumulation the gradients of earlier micro-batches are there from the beginning. Without, they
    appear layer by layer while checkpoints and activations go; an untied embedding's gradient comes last,
    when no activation is left. Autocast's copies live as long as what was computed with them: through the
    backward when every activation is kept, through the forward when layers are recomputed one by one [F].
    """
    kept, work, casts, grads = checkpoints(s), working_set(s), cast_cache(s), gradients(s)
    if s.checkpointing:
        # the forward ends with the copies, the backward begins with one layer's working set
        begins = (
            {"activations": kept + work} if work >= casts else {"activations": kept, "autocast copies": casts}
        )
    else:
        begins = {"activations": kept + work, "autocast copies": casts}
    begins |= {"head and loss": head_bytes}
    if s.accumulation > 1:
        begins |= {"gradients": grads}
    of_a_layer = work if s.checkpointing else work // s.shape.layers
    ends = {"gradients": grads, "activations": max(of_a_layer - late_bytes, 0)}
    return begins, ends


def forward_only(s: Setup) -> dict[str, int]:
    """A no-grad pass over one micro-batch (old or reference log-probs, evaluation): two layers' worth of
    activations and one head tile beside the states [S: far below the update]."""
    layer = replace(s, checkpointing=True, offload_activations=True)
    tile = s.compute_bytes * min(s.micro_tokens, HEAD_TOKENS) * min(s.shape.vocab, HEAD_WORDS)
    return _clean(
        states(s)
        | {"activations": working_set(layer) // 2, "autocast copies": cast_cache(s), "head and loss": tile}
    )


def outside_torch(ranks: int, cuda: bool) -> dict[str, int]:
    """Memory that the framework's own counters do not show."""
    if not cuda:
        return {}
    return _clean({"CUDA context": CUDA_CONTEXT_BYTES, "NCCL": NCCL_BYTES if ranks > 1 else 0})


def total(terms: dict[str, int]) -> int:
    """The sum of a phase's terms."""
    return sum(terms.values())


def _clean(terms: dict[str, int]) -> dict[str, int]:
    return {cause: size for cause, size in terms.items() if size}
