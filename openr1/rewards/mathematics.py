"""Rewards that ask whether the answer is right: accuracy, and length rewards that depend on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import RecipeError
from ..grading import Graded, Grader, Item, Verdict, shared_grader
from .accounting import LogMetric, accounts
from .messages import prefilled, texts_of

Rewards = list["float | None"]
GOLD_COLUMNS = ("solution", "answer")


def grade_batch(
    completions: Sequence[Any],
    *,
    name: str,
    solution: Sequence[Any] | None = None,
    answer: Sequence[Any] | None = None,
    prompts: Sequence[Any] | None = None,
    completion_ids: Sequence[Sequence[int]] | None = None,
    log_metric: LogMetric | None = None,
    think_prefilled: bool | None = None,
    max_completion_length: int | None = None,
    grader: Grader | None = None,
) -> list[Graded]:
    """Verdicts for a batch of completions, counted under `name`.

    Args:
        completions: strings or lists of messages, length B.
        solution, answer: gold columns, length B; the first that is given is used.
        prompts: prompts, length B; tell whether `<think>` was prefilled.
        completion_ids: token ids, length B; with `max_completion_length` they tell what was cut.

    Raises:
        RecipeError: neither gold column is there.
        ComponentFailed: most of the batch could not be judged.
    """
    golds = solution if solution is not None else answer
    if golds is None:
        raise RecipeError(
            f"reward {name} needs a column named {' or '.join(GOLD_COLUMNS)}",
            fix="map one in the recipe: dataset_column_mapping: {solution: YOUR_COLUMN}",
        )
    count = len(completions)
    graded: list[Graded]
    if len(golds) != count:
        # which gold belongs to which completion is unknown: nothing may be scored
        reason = f"{len(golds)} golds for {count} completions"
        graded = [Graded(Verdict.gold_unparsable, None, None, 0.0, reason)] * count
    else:
        begun = prefilled(prompts, count, think_prefilled)
        cut = _cut(completion_ids, count, max_completion_length)
        items = [
            Item(gold, text, "length" if was_cut else None, bool(pre))
            for gold, text, was_cut, pre in zip(golds, texts_of(completions), cut, begun, strict=True)
        ]
        graded = (grader or shared_grader()).grade(items)
    accounts(name).note([g.verdict for g in graded], [g.reason for g in graded], log_metric)
    return graded


def _cut(ids: Sequence[Sequence[int]] | None, count: int, limit: int | None) -> list[bool]:
    if ids is None or limit is None or len(ids) != count:
        return [False] * count
    return [len(tokens) >= limit for tokens in ids]


def accuracy_reward(
    completions: Sequence[Any],
    solution: Sequence[Any] | None = None,
    *,
    answer: Sequence[Any] | None = None,
    prompts: Sequence[Any] | None = None,
    completion_ids: Sequence[Sequence[int]] | None = None,
    log_metric: LogMetric | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    think_prefilled: bool | None = None,
    max_completion_length: int | None = None,
    grader: Grader | None = None,
    **columns: Any,
) -> Rewards:
    """1.0 for a right answer, 0.0 for a wrong, missing or truncated one, None where nothing can be said."""
    del columns
    graded = grade_batch(
        completions,
        name="accuracy",
        solution=solution,
        answer=answer,
        prompts=prompts,
        completion_ids=completion_ids,
        log_metric=log_metric,
        think_prefilled=think_prefilled,
        max_completion_length=max_completion_length,
        grader=grader,
    )
    if log_extra is not None:
        log_extra("verdict", [g.verdict.value for g in graded])
        log_extra("extracted", [g.extracted or "" for g in graded])
    return [float(g.right) if g.verdict.judged else None for g in graded]


def lengths_of(completions: Sequence[Any], completion_ids: Sequence[Sequence[int]] | None) -> list[int]:
    """Length of each completion in tokens; in words where no token ids are given (outside a trainer)."""
    if completion_ids is not None and len(completion_ids) == len(completions):
        return [len(ids) for ids in completion_ids]
    return [len((text or "").split()) for text in texts_of(completions)]


def cosine_scaled(progress: float, short: float, long: float) -> float:
    """Half a cosine from `short` at progress 0 to `long` at progress 1 (Demystifying Long CoT, eq. 1)."""
    progress = min(1.0, max(0.0, progress))
    return long + 0.5 * (short - long) * (1.0 + math.cos(progress * math.pi))


def cosine_reward(
    completions: Sequence[Any],
    solution: Sequence[Any] | None = None,
    *,
    completion_ids: Sequence[Sequence[int]] | None = None,
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    max_len: int = 1000,
    answer: Sequence[Any] | None = None,
    prompts: Sequence[Any] | None = None,
    log_metric: LogMetric | None = None,
    think_prefilled: bool | None = None,
    max_completion_length: int | None = None,
    grader: Grader | None = None,
    **columns: Any,
) -> Rewards:
    """Right answers earn more when short, wrong ones lose less when long; None where nothing can be said.

    A right answer goes from `max_value_correct` (empty) to `min_value_correct` (`max_len` tokens and
    beyond), a wrong one from `min_value_wrong` to `max_value_wrong`.
    """
    del columns
    graded = grade_batch(
        completions,
        name="cosine",
        solution=solution,
        answer=answer,
        prompts=prompts,
        completion_ids=completion_ids,
        log_metric=log_metric,
        think_prefilled=think_prefilled,
        max_completion_length=max_completion_length,
        grader=grader,
    )
    rewards: Rewards = []
    for result, length in zip(graded, lengths_of(completions, completion_ids), strict=True):
        if not result.verdict.judged:
            rewards.append(None)
        elif result.right:
            rewards.append(cosine_scaled(length / max_len, max_value_correct, min_value_correct))
        else:
            rewards.append(cosine_scaled(length / max_len, min_value_wrong, max_value_wrong))
    return rewards


def len_reward(
    completions: Sequence[Any],
    solution: Sequence[Any] | None = None,
    *,
    prompts: Sequence[Any] | None = None,
    completion_ids: Sequence[Sequence[int]] | None = None,
    answer: Sequence[Any] | None = None,
    log_metric: LogMetric | None = None,
    think_prefilled: bool | None = None,
    max_completion_length: int | None = None,
    grader: Grader | None = None,
    **columns: Any,
) -> Rewards:
    """Short right answers over long ones, within the completions of one prompt (Kimi k1.5, section 2.3.3).

    λ = 0.5 − (length − shortest) / (longest − shortest); a right answer earns λ, any other min(0, λ).
    All of one length: 0. None where nothing can be said; those do not count as shortest or longest.
    """
    del columns
    graded = grade_batch(
        completions,
        name="length",
        solution=solution,
        answer=answer,
        prompts=prompts,
        completion_ids=completion_ids,
        log_metric=log_metric,
        think_prefilled=think_prefilled,
        max_completion_length=max_completion_length,
        grader=grader,
    )
    lengths = lengths_of(completions, completion_ids)
    rewards: Rewards = [None] * len(graded)
    for group in _groups(prompts, len(graded)):
        judged = [i for i in group if graded[i].verdict.judged]
        if not judged:
            continue
        shortest, longest = min(lengths[i] for i in judged), max(lengths[i] for i in judged)
        for i in judged:
            if shortest == longest:
                rewards[i] = 0.0
                continue
            value = 0.5 - (lengths[i] - shortest) / (longest - shortest)
            rewards[i] = value if graded[i].right else min(0.0, value)
    return rewards


def _groups(prompts: Sequence[Any] | None, count: int) -> list[list[int]]:
    """Positions of the completions of each prompt; one group where prompts are not known."""
    if prompts is None or len(prompts) != count:
        return [list(range(count))]
    groups: dict[str, list[int]] = {}
    for i, prompt in enumerate(prompts):
        groups.setdefault(repr(prompt), []).append(i)
    return list(groups.values())
