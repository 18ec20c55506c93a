"""How vLLM serves a model here: cards per engine, stages over nodes, engines side by side. Pure functions.

Symbols: t tensor-parallel cards (of one node), p pipeline stages (one node each). Evidence: [S] read in vLLM
0.32, [E] estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from openr1.errors import DoesNotFit
from openr1.hardware.facts import Finding, Machine
from openr1.hardware.simulate import simulate
from openr1.planning.context import capacity_bytes
from openr1.planning.phases import VLLM_OVERHEAD_BYTES
from openr1.planning.shape_table import TABLE
from openr1.planning.shapes import ModelShape

GIB = 1024**3
PREFILL_TOKENS = 8192  # vLLM's max_num_batched_tokens on a data-centre card [S]
# Routing buffers, all-to-all and graphs of a large mixture: open-r1 saw 10 of 79 GB beside R1's weights [E].
EXPERTS_OVERHEAD_BYTES = 7_000_000_000
VLLM_SHARE = 0.9  # of a card's memory, vLLM's default
PROMPT_TOKENS = 2048  # of a problem with its template; longer ones say so when they are read
# Full-length completions that an engine should hold at once, where more cards make that possible.
ENOUGH_AT_ONCE = 4
MOST_NODES = 16
SHORTEST = 2048  # tokens that a reasoning trace with its prompt needs at the very least
LARGER = ("H100", "H200", "B200")


@dataclass(frozen=True)
class Asked:
    """What a person wants of the layout; None leaves it to the plan.

    Args:
        completion_tokens: the longest completion.
        max_length: prompt and completion together; None is the model's own, or what there is room for.
        share: of a card's memory that vLLM takes.
        whole: one engine over all cards of a node.
    """

    completion_tokens: int
    max_length: int | None = None
    share: float = VLLM_SHARE
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    whole: bool = False


@dataclass(frozen=True)
class Layout:
    """One way of serving a model. Bytes are of one card, `kv_tokens` of one engine."""

    tensor_parallel: int
    pipeline_parallel: int
    engines: int  # side by side, over all nodes
    weight_bytes: int
    other_bytes: int
    kv_bytes: int
    kv_tokens: int
    max_length: int | None  # what vLLM is told; None: the model's own context
    needed_tokens: int  # of the longest prompt and completion

    @property
    def cards(self) -> int:
        """Of one engine."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def fits(self) -> bool:
        return self.kv_tokens >= self.needed_tokens

    @property
    def words(self) -> str:
        many = f"{self.engines} engines" if self.engines > 1 else "one engine"
        how = f"tensor parallel {self.tensor_parallel}" if self.cards > 1 else "one GPU each"
        if self.pipeline_parallel > 1:
            how += f" × {self.pipeline_parallel} stages over nodes"
        return (
            f"{many}, {how}: {self.weight_bytes / GIB:.0f} GiB of weights on a card, KV cache for "
            f"{self.kv_tokens:,} tokens an engine"
        )


def best_layout(shape: ModelShape, machine: Machine, gpus: int, asked: Asked) -> Layout | None:
    """The layout with the fewest cards per engine that holds a few full-length completions, else one at all.

    Cards of one node come first: a node's links are faster than the network.

    Args:
        gpus: cards used on each node.

    Returns:
        None when no layout fits.
    """
    fitting = [layout for layout in layouts(shape, machine, gpus, asked) if layout.fits]
    roomy = [x for x in fitting if x.kv_tokens >= ENOUGH_AT_ONCE * x.needed_tokens]
    return next(iter(roomy or fitting), None)


def layouts(shape: ModelShape, machine: Machine, gpus: int, asked: Asked) -> Iterator[Layout]:
    """Every layout that vLLM would take, fewest cards per engine first, whether it fits or not."""
    nodes = int(machine.nodes.value or 1)
    widths = [t for t in range(1, gpus + 1) if splits(shape, t)]
    if asked.whole:
        widths = [t for t in widths if t == gpus]
    if asked.tensor_parallel is not None:
        widths = [t for t in widths if t == asked.tensor_parallel]
    stages = [p for p in range(1, nodes + 1) if nodes % p == 0 and asked.pipeline_parallel in (None, p)]
    for p in stages:
        # Stages over nodes only take what a node has: fewer cards of more nodes would talk more for nothing.
        for t in widths if p == 1 or asked.tensor_parallel is not None else widths[-1:]:
            engines = nodes * (gpus // t) if p == 1 else nodes // p
            yield _layout(shape, machine, t, p, engines, asked)


def splits(shape: ModelShape, t: int) -> bool:
    """Whether t cards can share every layer: vLLM splits heads and the MLP, and repeats KV heads [S]."""
    kv = shape.heads if shape.latent is not None else shape.kv_heads
    mlps = [shape.intermediate] + ([shape.experts.intermediate] if shape.experts else [])
    return shape.heads % t == 0 and (kv % t == 0 or t % kv == 0) and all(width % t == 0 for width in mlps)


def kv_bytes_per_token(shape: ModelShape, t: int, p: int) -> int:
    """KV cache of one token on one card: KV heads are shared out, a latent is held by every card [S]."""
    parts = 1 if shape.latent is not None else min(t, shape.kv_heads)
    return shape.kv_bytes_per_token * -(-shape.layers // p) // (shape.layers * parts)


def _layout(shape: ModelShape, machine: Machine, t: int, p: int, engines: int, asked: Asked) -> Layout:
    weights = shape.served_bytes * -(-shape.layers // p) // (shape.layers * t)
    prefill = 2 * PREFILL_TOKENS * (6 * shape.hidden + 3 * shape.intermediate // t)
    other = VLLM_OVERHEAD_BYTES + prefill + (EXPERTS_OVERHEAD_BYTES if shape.experts else 0)
    kv = max(0, int(asked.share * _memory(machine)) - weights - other)
    tokens = kv // kv_bytes_per_token(shape, t, p)
    needed = asked.max_length or min(shape.context, asked.completion_tokens + PROMPT_TOKENS)
    # vLLM does not start where one request of the model's whole context has no room [S].
    short = asked.max_length is None and tokens < shape.context
    limit = max(needed, min(shape.context, tokens * 9 // 10)) if short else asked.max_length
    return Layout(t, p, engines, weights, other, kv, tokens, limit, needed)


def refusal(
    shape: ModelShape, machine: Machine, gpus: int, asked: Asked, *, several_nodes: bool = True
) -> DoesNotFit:
    """Why no layout fits, with everything of which each alone would do.

    Args:
        several_nodes: the command itself can span nodes; else a server over nodes is named.
    """
    every = list(layouts(shape, machine, gpus, replace(asked, tensor_parallel=None, pipeline_parallel=None)))
    best = min(every, key=lambda layout: sum(_needs(shape, layout).values()))
    needs = _needs(shape, best)
    capacity = int(asked.share * _memory(machine))
    parts = ", ".join(f"{cause} {size / GIB:.1f}" for cause, size in needs.items())
    over = f"over {best.cards} cards, each" if best.cards > 1 else "on one card, it"
    return DoesNotFit(
        f"{shape.name} does not fit: {over} needs {sum(needs.values()) / GIB:.1f} GiB and "
        f"{capacity / GIB:.1f} GiB may be used ({parts}) for one completion of {best.needed_tokens:,} tokens",
        where=machine.profile.reason,
        fix="; or ".join(_ways_out(shape, machine, gpus, asked, several_nodes))
        or "more or larger cards, or a smaller model",
    )


def refusal_on_cpu(shape: ModelShape, machine: Machine, dtype: str, engines: int) -> DoesNotFit | None:
    """Why a machine without GPU does not hold the weights; None where it does, or its memory is not known.

    Args:
        dtype: the weights' number format; `auto` is float32 here.
        engines: processes that each load the model.
    """
    capacity = capacity_bytes(machine)
    wide = 2 if dtype in ("bfloat16", "float16") else 4
    needs = wide * shape.params * engines
    if capacity is None or needs <= capacity[0]:
        return None
    # What is proposed leaves a tenth for the cache.
    ways = [
        words
        for words, size in (
            ("--processes 1", wide * shape.params),
            ("--dtype bfloat16", 2 * shape.params * engines),
            ("--dtype bfloat16 --processes 1", 2 * shape.params),
        )
        if size < needs and size <= 0.9 * capacity[0]
    ]
    return DoesNotFit(
        f"{shape.name} does not fit: its weights take {needs / GIB:.1f} GiB and "
        f"{capacity[0] / GIB:.1f} GiB of memory may be used",
        where=machine.profile.reason,
        fix="; or ".join(ways[:2]) or "a GPU, more memory, or a smaller model: --model MODEL",
    )


def _needs(shape: ModelShape, layout: Layout) -> dict[str, int]:
    """Bytes of one card by cause, for one full-length completion."""
    token = kv_bytes_per_token(shape, layout.tensor_parallel, layout.pipeline_parallel)
    return {
        "weights": layout.weight_bytes,
        "activations and graphs": layout.other_bytes,
        "KV cache": layout.needed_tokens * token,
    }


def _memory(machine: Machine) -> int:
    """Bytes of the smallest card."""
    return min(int(gpu.total_bytes.value or 0) for gpu in machine.gpus)


def _ways_out(
    shape: ModelShape, machine: Machine, gpus: int, asked: Asked, several_nodes: bool
) -> Iterator[str]:
    free = replace(asked, tensor_parallel=None, pipeline_parallel=None)
    if free != asked and (found := best_layout(shape, machine, gpus, free)) is not None:
        yield f"leave tensor_parallel and pipeline_parallel to the plan ({found.words})"
    nodes = int(machine.nodes.value or 1)
    for more in range(nodes + 1, MOST_NODES + 1):
        wider = replace(machine, nodes=Finding(more, f"--nodes {more}"))
        if (found := best_layout(shape, wider, gpus, free)) is not None:
            if several_nodes:
                yield f"--nodes {more} ({found.words})"
            else:
                yield f"--server URL of a vLLM that is served over {more} nodes ({found.words})"
            break
    for card in LARGER:
        other = simulate(f"{gpus}x{card}, {nodes} nodes")
        if _memory(other) > _memory(machine) and best_layout(shape, other, gpus, free) is not None:
            yield f"{gpus} × {card} in a node"
            break
    if (found := best_layout(shape, machine, gpus, replace(free, max_length=SHORTEST))) is not None:
        yield f"--max_model_length {min(shape.context, found.kv_tokens * 9 // 10)} and fewer --max_new_tokens"
    if "DeepSeek-R1" in shape.name:  # its own distillations are the nearest to it
        distilled = [s for name, s in TABLE.items() if "R1-Distill" in name and s.params < shape.params]
        for smaller in sorted(distilled, key=lambda s: -s.params):
            if best_layout(smaller, machine, gpus, free) is not None:
                yield f"--model {smaller.name}"
                break
