"""Before it starts: how many samples and tokens, how many hours here, and how wide the interval will be.

A rough estimate, and it says what it rests on: lengths and speeds of earlier runs on this machine where there
are any, assumptions elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from openr1.evaluation.protocol import Conditions
from openr1.evaluation.statistics import wilson, z_of
from openr1.hardware import Machine
from openr1.planning.find_shape import find_shape
from openr1.planning.serving import VLLM_SHARE
from openr1.planning.shapes import ModelShape
from openr1.planning.speed import CPU_CORE_FLOPS, DECODE_BANDWIDTH
from openr1.planning.speeds import Speeds

# Tokens that an R1 distill writes per answer, for the order of magnitude; capped by the protocol's length.
USUAL_TOKENS = {"math_500": 4_000, "aime24": 12_000, "aime25": 13_000, "gpqa:diamond": 7_500, "gsm8k": 1_000}
# Var(p) and mean p(1 − p) over problems at a score of one half, fitted from published runs (see statistics).
BETWEEN = WITHIN = 0.125
CARD_BATCH = 128  # answers a card decodes at once where memory allows, as vLLM does
# The longest answers run nearly alone at the end. [P: lighteval#698, 2,000 answers of a 7B in about 15 min
# on 8 H100; 5.6 min without this]
TAIL = 0.4


@dataclass(frozen=True)
class Estimate:
    """What one model on one task will take.

    Args:
        samples: completions.
        most_tokens: all of them at full length, or at that of the model's context where it is shorter.
        tokens: expected; None where nothing says how long answers are.
        hours: expected; None where the speed or the length is not known.
        half_width: expected half width of the 95 % interval at a score of one half, as a fraction.
        basis: what the estimate rests on, in words.
        too_large: why the weights cannot be held here; None where they can, or nobody knows.
    """

    task: str
    problems: int
    samples: int
    most_tokens: int
    tokens: int | None
    hours: float | None
    half_width: float
    basis: str
    too_large: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def words(self) -> str:
        """One line for a person."""
        per = self.samples // self.problems if self.problems else 0
        tokens = (
            f"about {_count(self.tokens)} tokens"
            if self.tokens
            else f"at most {_count(self.most_tokens)} tokens"
        )
        time = f", about {_hours(self.hours)}" if self.hours is not None else ""
        return (
            f"{self.task}: {self.problems:,} problems × {per} = {self.samples:,} answers, {tokens}{time}; "
            f"expect an interval of ± {100 * self.half_width:.1f} points ({self.basis})"
        )


def estimate(
    conditions: Conditions, problems: int, model: str, machine: Machine, engines: int, speeds: Speeds
) -> Estimate:
    """The estimate for one model on one task.

    Args:
        problems: how many there are.
        engines: cards (or processes) that sample side by side.
        speeds: what was measured on this machine.
    """
    samples = problems * conditions.num_samples
    seen = speeds.length(conditions.task, model, conditions.max_new_tokens)
    usual = USUAL_TOKENS.get(conditions.task)
    shape = find_shape(model).value
    longest = min(conditions.max_new_tokens, shape.context) if shape else conditions.max_new_tokens
    each = seen if seen else None if usual is None else min(usual, longest)
    rate, why = tokens_per_second(model, machine, engines, speeds)
    tokens = None if each is None else int(samples * each)
    said = "lengths as in an earlier run" if seen else "lengths assumed" if each else "no length known"
    return Estimate(
        conditions.task,
        problems,
        samples,
        samples * longest,
        tokens,
        None if tokens is None or not rate else tokens / rate / 3600,
        expected_half_width(problems, conditions.num_samples),
        f"{said}, {why}",
        too_large(model, machine, engines),
    )


def expected_half_width(problems: int, answers: int) -> float:
    """Half of the 95 % interval at a score of one half: Wilson's for one answer, else z √((B + S/k)/n)."""
    if problems < 1:
        return 0.5
    if answers == 1:
        return wilson(problems / 2, problems).half_width
    return z_of() * math.sqrt((BETWEEN + WITHIN / answers) / problems)


def tokens_per_second(model: str, machine: Machine, engines: int, speeds: Speeds) -> tuple[float | None, str]:
    """Sampling speed of all engines together: measured here, else from the card's memory or the cores."""
    measured = speeds.sampling(model)
    if measured:
        return measured, "speed as measured here"
    shape = find_shape(model).value
    if shape is None:
        return None, "speed of this model not known: its shape is neither local nor in the table"
    if not machine.gpus:
        cores = machine.cpu_cores.value or 1.0
        return cores * CPU_CORE_FLOPS / (2 * shape.active_params), f"speed from {cores:g} cores, rough"
    why_not = too_large(model, machine, engines)
    if why_not:
        return None, why_not
    bandwidth = machine.gpus[0].bandwidth_gb_s.value
    if bandwidth is None:
        return None, "speed of this card not known"
    return engines * decoding_rate(shape, bandwidth * 1e9), "speed from the card's memory bandwidth, rough"


def too_large(model: str, machine: Machine, engines: int) -> str | None:
    """Why the weights alone, as they are served, are more than vLLM takes of the cards; None otherwise."""
    shape = find_shape(model).value
    memory = machine.gpus[0].total_bytes.value if machine.gpus else None
    if shape is None or not memory or shape.served_bytes <= VLLM_SHARE * engines * memory:
        return None
    return f"its weights ({shape.served_bytes / 2**30:,.0f} GiB) do not fit here"


def decoding_rate(shape: ModelShape, bandwidth: float, context: int = 4_000) -> float:
    """Tokens per second of one card: each step reads the active weights and the KV cache of all answers."""
    weights = shape.served_bytes * shape.active_params / shape.params
    read = weights + CARD_BATCH * context / 2 * shape.kv_bytes_per_token
    return TAIL * CARD_BATCH * bandwidth * DECODE_BANDWIDTH / read


def total(estimates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum over tasks and models; hours are None when one of them is not known."""
    hours = [e["hours"] for e in estimates]
    return {
        "samples": sum(e["samples"] for e in estimates),
        "most_tokens": sum(e["most_tokens"] for e in estimates),
        "hours": None if any(h is None for h in hours) else sum(hours),
    }


def _count(number: int) -> str:
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return f"{number:,}"


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{max(1, round(60 * hours))} min"
