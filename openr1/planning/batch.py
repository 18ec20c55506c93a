"""The batch equation: global = per-device x accumulation x ranks, solved or explained.

In GRPO the generation batch (per-device x steps_per_generation x ranks) must also hold whole groups of
`num_generations` completions (TRL checks it in GRPOConfig).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from openr1.errors import RecipeError
from openr1.planning.plan import Asked, Planned

TRL_PER_DEVICE = 8  # transformers' and TRL's default


@dataclass(frozen=True)
class Split:
    """One way to cut the global batch."""

    per_device: int
    accumulation: int
    ranks: int

    @property
    def global_batch(self) -> int:
        """Rows per optimizer step over all ranks."""
        return self.per_device * self.accumulation * self.ranks

    def equation(self) -> str:
        """The equation with its numbers, for a message."""
        return (
            f"{self.global_batch} = {self.per_device} per device x {self.accumulation} accumulated "
            f"x {self.ranks} rank{'s' if self.ranks > 1 else ''}"
        )


def divisors(number: int) -> list[int]:
    """All divisors, largest first."""
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)}, reverse=True)


def nearest(values: list[int], wanted: int, count: int = 3) -> list[int]:
    """The `count` values closest to `wanted`, in order."""
    return sorted(sorted(values, key=lambda v: (abs(v - wanted), v))[:count])


def multiples_around(step: int, wanted: int) -> list[int]:
    """The multiples of `step` just below and above `wanted`."""
    below = wanted // step * step
    return [m for m in (below, below + step) if m > 0]


def global_batch(asked: Asked, ranks: int) -> Planned:
    """Rows (SFT) or completions (GRPO) per optimizer step, from the recipe or TRL's defaults."""
    given = asked.get("global_batch_size")
    if given is not None:
        if not isinstance(given, int) or given < 1:
            raise RecipeError(f"global_batch_size must be a whole number from 1, not {given!r}")
        return Planned(given, "the recipe's global_batch_size: it stays the same on every machine")
    per_device = asked.person("per_device_train_batch_size")
    accumulation = asked.person("gradient_accumulation_steps")
    generation = asked.person("generation_batch_size")
    if per_device is None and generation is not None and accumulation is None:
        return Planned(generation, "one optimizer step per generation_batch_size")
    value = (per_device or TRL_PER_DEVICE) * (accumulation or 1) * ranks
    source = "your per_device_train_batch_size and gradient_accumulation_steps"
    if per_device is None and accumulation is None:
        source = "TRL's defaults (8 per device, no accumulation)"
    return Planned(value, f"{source} x {ranks} rank{'s' if ranks > 1 else ''}")


def splits(asked: Asked, ranks: int, total: int) -> list[Split]:
    """Every legal cut of `total` over `ranks`, largest micro-batch first.

    Raises:
        RecipeError: a person's own values make the equation impossible.
    """
    if total % ranks:
        # In GRPO whole groups must fit as well: a value for the ranks alone would be refused next.
        step = math.lcm(ranks, int(asked.get("num_generations") or 1))
        raise RecipeError(
            f"global_batch_size {total} cannot be split evenly over {ranks} ranks",
            where="global_batch_size = per_device_train_batch_size x gradient_accumulation_steps x ranks",
            fix=f"nearest legal values: --global_batch_size {_either(multiples_around(step, total))}, "
            f"or --gpus {_either([d for d in divisors(total) if d < ranks][:2])}",
        )
    share = total // ranks
    per_device = asked.person("per_device_train_batch_size")
    accumulation = asked.person("gradient_accumulation_steps")
    if per_device is not None and accumulation is not None and per_device * accumulation != share:
        wrong = Split(per_device, accumulation, ranks)
        legal = [f"{d} x {share // d}" for d in nearest(divisors(share), per_device)]
        raise RecipeError(
            f"your batch sizes contradict global_batch_size {total}: {wrong.equation()}",
            where="global_batch_size = per_device_train_batch_size x gradient_accumulation_steps x ranks",
            fix=f"set --global_batch_size {wrong.global_batch}, "
            f"or per-device x accumulation to {_either(legal)}",
        )
    for key, value in (
        ("per_device_train_batch_size", per_device),
        ("gradient_accumulation_steps", accumulation),
    ):
        if value is None:
            continue
        if not isinstance(value, int) or value < 1:
            raise RecipeError(f"{key} must be a whole number from 1, not {value!r}")
        if share % value:
            legal_values = nearest(divisors(share), value)
            raise RecipeError(
                f"{key} {value} does not divide the share of a rank: {total} / {ranks} = {share}",
                where="global_batch_size = per_device_train_batch_size x gradient_accumulation_steps x ranks",
                fix=f"nearest legal values: --{key} {_either(legal_values)}, "
                f"or --global_batch_size {_either(multiples_around(value * ranks, total))}",
            )
    if per_device is not None:
        return [Split(per_device, share // per_device, ranks)]
    if accumulation is not None:
        return [Split(share // accumulation, accumulation, ranks)]
    return [Split(d, share // d, ranks) for d in divisors(share)]


def whole_groups(asked: Asked, splits: list[Split], generations: int) -> list[Split]:
    """GRPO: the cuts whose generation batch holds whole groups.

    Raises:
        RecipeError: with the equation and the nearest legal values.
    """
    if generations < 2:
        raise RecipeError(
            f"GRPO compares answers to one question: num_generations must be 2 or more, not {generations}",
            fix="--num_generations 8 is usual",
        )
    problems = {split: _group_problem(asked, split, generations) for split in splits}
    legal = [split for split, problem in problems.items() if problem is None]
    if not legal:
        raise next(problem for problem in problems.values() if problem is not None)
    return legal


def _group_problem(asked: Asked, split: Split, generations: int) -> RecipeError | None:
    try:
        steps, size = generation_steps(asked, split)
    except RecipeError as error:
        return error
    if size % generations == 0:
        return None
    equation = f"{split.per_device} per device x {steps} steps_per_generation x {split.ranks} ranks = {size}"
    totals = _either(_group_multiples(split.ranks, generations, size))
    groups = _either(nearest([d for d in divisors(size) if d > 1], generations))
    return RecipeError(
        f"the generation batch does not hold whole groups of {generations} completions: {equation}, "
        f"and {size} / {generations} = {size / generations:.2f}",
        where="per_device_train_batch_size x steps_per_generation x ranks = a multiple of num_generations",
        fix=f"nearest legal values: --global_batch_size {totals}, or --num_generations {groups}",
    )


def generation_steps(asked: Asked, split: Split) -> tuple[int, int]:
    """steps_per_generation and the generation batch, by TRL's rules."""
    world = split.per_device * split.ranks
    steps = asked.person("steps_per_generation")
    size = asked.person("generation_batch_size")
    if steps is not None and size is not None:
        raise RecipeError(
            "steps_per_generation and generation_batch_size say the same thing twice; TRL takes only one",
            fix="remove one of the two",
        )
    if size is not None:
        if size % world:
            raise RecipeError(
                f"generation_batch_size {size} is not a multiple of per-device x ranks = "
                f"{split.per_device} x {split.ranks} = {world}",
                fix=f"nearest legal values: --generation_batch_size {_either(multiples_around(world, size))}",
            )
        return size // world, size
    steps = steps or split.accumulation
    return steps, steps * world


def eval_batch(split: Split, generations: int | None, evaluates: bool) -> Planned:
    """Rows per device in evaluation: the training micro-batch, in whole groups over the ranks for GRPO."""
    if generations is None or not evaluates:
        return Planned(split.per_device, "as large as the training micro-batch, which is known to fit")
    size = split.per_device
    while (size * split.ranks) % generations:
        size += 1
    return Planned(
        size, f"x {split.ranks} ranks holds whole groups of {generations} completions, as TRL demands"
    )


def _group_multiples(ranks: int, generations: int, wanted: int) -> list[int]:
    step = generations
    while step % ranks:
        step += generations
    return multiples_around(step, wanted)


def _either(values: list[int] | list[str]) -> str:
    return " or ".join(str(v) for v in values) if values else "a smaller one"
