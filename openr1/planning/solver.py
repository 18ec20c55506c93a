"""The search: of all legal ways to train, the first in order of preference that fits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from openr1.planning.batch import Split, divisors
from openr1.planning.memory import Setup
from openr1.planning.methods import Method
from openr1.planning.phases import VLLM_OVERHEAD_BYTES, Rollout, phases
from openr1.planning.shapes import ModelShape
from openr1.planning.speed import Rates, step_times

# More tokens in a micro-batch than this bring nothing [E].
MOST_TOKENS = 32768
# Completions in flight that keep vLLM's decoding busy [E].
BUSY_COMPLETIONS = 64
ACTIVATION_DOUBT = 0.1
# vLLM's share of a card with memory to spare: TRL's own default.
GENEROUS_SHARE = 0.3
GENEROUS_FILL = 0.85
CPU_FILL = 0.75  # of the RAM that may be used, where there is a choice


@dataclass(frozen=True)
class Candidate:
    """One complete way to run the stage on a rank, with its bytes."""

    method: Method
    split: Split
    checkpointing: bool
    setup: Setup
    rollout: Rollout | None
    memory: dict[str, dict[str, int]]

    @property
    def peak_bytes(self) -> int:
        """Bytes of the phase that needs most."""
        return max(sum(terms.values()) for terms in self.memory.values())


@dataclass(frozen=True)
class Problem:
    """What the search needs to know."""

    shape: ModelShape
    methods: list[Method]
    splits: list[Split]
    row_tokens: int
    checkpointing: tuple[bool, ...]  # what may be chosen, preferred first
    capacity_bytes: int
    total_bytes: int  # of the card: vLLM's share is of the total
    cuda: bool
    base: Setup  # everything that does not vary: head, LoRA, reference
    rollout: Rollout | None
    rates: Rates
    sleep: tuple[bool, ...] = (False,)
    share: float | None = None  # a person's vllm_gpu_memory_utilization
    busy_tokens: int | None = None  # in a micro-batch, to keep a card busy; None on a CPU
    free_generation: bool = False  # whether the planner may choose steps_per_generation
    generations: int = 1
    correction: float = 1.0  # measured over predicted peak of earlier runs on this machine


def solve(problem: Problem) -> Candidate | None:
    """The preferred candidate that fits, or None.

    All weights before adapters; ways that keep the machine busy (enough tokens per micro-batch, enough
    completions in flight) before whatever fits; vLLM awake before asleep; then the order of the methods.
    """
    for lora in (False, True):
        open_methods = [m for m in problem.methods if m.lora is lora]
        for comfortable in (True, False):
            for sleep in problem.sleep:
                for method in open_methods:
                    found = _best(problem, method, sleep, comfortable)
                    if found is not None:
                        return _generous(problem, found)
    return None


def _best(problem: Problem, method: Method, sleep: bool, comfortable: bool) -> Candidate | None:
    fitting = [c for c in _candidates(problem, method, sleep) if fits(problem, c)]
    if comfortable:
        fitting = [c for c in fitting if _comfortable(problem, c)]
    return max(fitting, key=lambda c: _score(problem, c)) if fitting else None


def fits(problem: Problem, candidate: Candidate) -> bool:
    """Whether every phase stays under the capacity, earlier measurements taken into account.

    The formulas for activations hold within 10 %, so on a card that much more must have room.
    """
    doubt = ACTIVATION_DOUBT * candidate.memory["update"].get("activations", 0) if problem.cuda else 0
    return candidate.peak_bytes * problem.correction + doubt <= problem.capacity_bytes


def smallest(problem: Problem) -> Candidate:
    """The candidate that needs least: what the refusal is about."""
    # Memory grows with the micro-batch, so the two smallest cuts are enough to look at.
    lean = replace(problem, splits=problem.splits[-2:], checkpointing=problem.checkpointing[-1:])
    every = (c for m in problem.methods for s in problem.sleep for c in _candidates(lean, m, s))
    return min(every, key=lambda c: c.peak_bytes)


def _comfortable(problem: Problem, candidate: Candidate) -> bool:
    """Enough work in a micro-batch and enough completions in flight; on a CPU, RAM left for other things."""
    if problem.busy_tokens is None:
        return candidate.peak_bytes <= CPU_FILL * problem.capacity_bytes
    largest = problem.splits[0].per_device * problem.row_tokens
    if candidate.setup.micro_tokens < min(problem.busy_tokens // 2, largest):
        return False
    r = candidate.rollout
    if r is None or r.mode != "colocate":
        return True
    return r.in_flight >= min(BUSY_COMPLETIONS, r.completions)


def _score(problem: Problem, c: Candidate) -> tuple[float, ...]:
    """Larger is better: the faster by the time model (to 2 %), then the larger micro-batch up to a limit."""
    seconds = step_times(problem.rates, c.setup, c.split, problem.row_tokens, c.rollout).total
    tokens = c.setup.micro_tokens
    too_large = problem.cuda and tokens > MOST_TOKENS and c.split.per_device > 1
    flight = 0 if c.rollout is None else min(c.rollout.in_flight, c.rollout.completions)
    return (not too_large, -round(math.log(seconds) / 0.02) if seconds > 0 else 0, tokens, flight)


def _candidates(problem: Problem, method: Method, sleep: bool) -> Iterator[Candidate]:
    for split in problem.splits:
        for checkpointing in problem.checkpointing:
            setup = _setup(problem, method, split, checkpointing)
            for rollout in _rollouts(problem, split, sleep):
                yield Candidate(
                    method, split, checkpointing, setup, rollout, phases(setup, problem.cuda, rollout)
                )


def _setup(problem: Problem, method: Method, split: Split, checkpointing: bool) -> Setup:
    return replace(
        problem.base,
        micro_tokens=split.per_device * problem.row_tokens,
        weight_bytes=method.weight_bytes,
        optimizer=method.optimizer,
        sharding=method.sharding,
        ranks=split.ranks,
        accumulation=split.accumulation,
        checkpointing=checkpointing,
        lora_rank=problem.base.lora_rank if method.lora else None,
        quantised=method.quantised,
    )


def _rollouts(problem: Problem, split: Split, sleep: bool) -> Iterator[Rollout | None]:
    """Rollouts with less and less room for the KV cache; a person's own share is the only one."""
    r = problem.rollout
    if r is not None and r.mode == "generate" and problem.free_generation:
        yield from _smaller_generations(r, split, problem.generations)
        return
    if r is None or r.mode != "colocate":
        yield r
        return
    fixed = 2 * problem.shape.params // r.tensor_parallel + VLLM_OVERHEAD_BYTES
    each = kv_each(problem.shape, r)
    if problem.share is not None:
        yield _with_share(r, problem.share, problem.total_bytes, fixed, each, sleep)
        return
    sizes = {min(n, r.completions) for n in (r.completions, BUSY_COMPLETIONS, 16, 4, 1)}
    for count in sorted(sizes, reverse=True):
        # vLLM refuses to start when not even one full-length completion has room, so 1 is the least.
        share = math.ceil(100 * (fixed + count * each) / problem.total_bytes) / 100
        yield _with_share(r, share, problem.total_bytes, fixed, each, sleep)


def _smaller_generations(r: Rollout, split: Split, generations: int) -> Iterator[Rollout]:
    """transformers holds the KV cache of a whole generation batch, so it may be made in several parts.

    All parts come before the optimizer step, from the same weights: nothing changes but the memory.
    """
    for steps in divisors(split.accumulation):
        if split.per_device * steps * split.ranks % generations == 0:
            yield replace(r, completions=split.per_device * steps, steps=steps)


def kv_each(shape: ModelShape, rollout: Rollout) -> int:
    """KV cache of one full-length completion on one rank, bytes."""
    return max(rollout.tokens_each * shape.kv_bytes_per_token // rollout.tensor_parallel, 1)


def _with_share(r: Rollout, share: float, total: int, fixed: int, each: int, sleep: bool) -> Rollout:
    size = int(share * total)
    return replace(
        r,
        share=share,
        share_bytes=size,
        in_flight=max(size - fixed, 0) // each,
        sleep=sleep,
        fixed_bytes=fixed,
    )


def _generous(problem: Problem, found: Candidate) -> Candidate:
    """With memory to spare vLLM gets more of it, which keeps more prefixes cached and costs nothing."""
    r = found.rollout
    if r is None or r.mode != "colocate" or problem.share is not None or r.in_flight < r.completions:
        return found
    best = found
    each = kv_each(problem.shape, r)
    for hundredths in range(int(100 * r.share) + 1, int(100 * GENEROUS_SHARE) + 1):
        rollout = _with_share(r, hundredths / 100, problem.total_bytes, r.fixed_bytes, each, r.sleep)
        wider = replace(found, rollout=rollout, memory=phases(found.setup, problem.cuda, rollout))
        if wider.peak_bytes * problem.correction > GENEROUS_FILL * problem.capacity_bytes:
            break
        best = wider
    return best
