"""The reward check: what would go wrong with the rewards of a run, before the run costs anything.

Pure with respect to models and tokenizers: whoever calls it renders prompts, counts tokens and samples
completions, and prints the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import OpenR1Error, RecipeError
from ..grading import Graded, Grader, Item, Verdict, shared_grader
from .messages import text_of
from .registry import GOLD, REGISTRY, Reward, place_of

TAGS = ("<think>", "</think>", "<answer>", "</answer>", "\\boxed")


@dataclass(frozen=True)
class Completion:
    """One sampled completion.

    Args:
        text: a string or a list of messages.
        finish_reason: `"length"` when it was cut.
        token_ids: its tokens, for rewards on length.
    """

    text: Any
    finish_reason: str | None = None
    token_ids: Sequence[int] | None = None


@dataclass(frozen=True)
class GoldProblem:
    """A reference that cannot be used; `row` counts from 0."""

    row: int
    gold: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """One completion with everything that was said about it."""

    row: int
    text: str
    verdict: Verdict | None
    extracted: str | None
    rewards: Mapping[str, float | None]


@dataclass(frozen=True)
class RewardSummary:
    """One reward over all sampled completions.

    Args:
        mean: over what could be judged, None when nothing could.
        unjudged: completions without a value.
        constant: all values are one; no gradient comes from this reward.
        always_zero: all values are 0.
        flat_groups: share of rows whose completions all got the same value.
        why: where a constant or zero reward probably comes from.
    """

    name: str
    mean: float | None
    unjudged: int
    constant: bool
    always_zero: bool
    flat_groups: float
    why: str


@dataclass(frozen=True)
class CheckReport:
    """What the check found. `problems` are sentences, worst first; empty when all is well."""

    rows: int
    gold_column: str | None
    gold_problems: tuple[GoldProblem, ...]
    missing_columns: Mapping[str, tuple[str, ...]]
    long_prompts: tuple[int, ...]
    think_prefilled: bool
    verdicts: Mapping[Verdict, int]
    samples: tuple[Sample, ...]
    rewards: tuple[RewardSummary, ...]
    flat_groups: float
    """Share of rows whose completions all got the same total."""
    truncated: float
    problems: tuple[str, ...] = field(default=())


def check_rewards(
    rows: Sequence[Mapping[str, Any]],
    rewards: Sequence[Reward],
    *,
    weights: Sequence[float] | None = None,
    rendered_prompts: Sequence[str] | None = None,
    prompt_tokens: Sequence[int] | None = None,
    max_prompt_tokens: int | None = None,
    completions: Sequence[Sequence[Completion]] | None = None,
    grader: Grader | None = None,
) -> CheckReport:
    """Check dataset rows, and completions when there are some, against the rewards of a run.

    Args:
        rows: N dataset rows, columns already mapped.
        rewards: from `get_reward_funcs`.
        weights: weight of each reward, for the total.
        rendered_prompts: N prompts after the chat template; tell whether it ends in `<think>`.
        prompt_tokens, max_prompt_tokens: N prompt lengths and what the context leaves for them.
        completions: for each of the first rows a group of sampled completions.

    Raises:
        RecipeError: a reward returned another number of values than it was given completions.
        EnvironmentProblem: a reward needs what this machine does not have (math-verify, a sandbox).
    """
    grader = grader or shared_grader()
    missing = _missing_columns(rows, rewards)
    column = next((c for c in GOLD if rows and c in rows[0]), None)
    needs_gold = any(GOLD in r.columns for r in rewards)
    golds = _gold_problems(rows, column, grader) if needs_gold and column else ()
    long = tuple(
        i
        for i, n in enumerate(prompt_tokens or ())
        if max_prompt_tokens is not None and n > max_prompt_tokens
    )
    prefilled = any(p.rstrip().endswith("<think>") for p in rendered_prompts or ())
    groups = [list(g) for g in completions or ()]
    usable = [r for r in rewards if groups and r.name not in missing]
    graded = _grade(rows, column, groups, prefilled, grader) if needs_gold and column else []
    values = {r.name: _score(r, rows, groups, prefilled, rendered_prompts) for r in usable}
    texts = [text_of(c.text) or "" for g in groups for c in g]
    summaries = tuple(_summary(name, v, groups, graded, texts) for name, v in values.items())
    report = CheckReport(
        rows=len(rows),
        gold_column=column if needs_gold else None,
        gold_problems=golds,
        missing_columns=missing,
        long_prompts=long,
        think_prefilled=prefilled,
        verdicts=Counter(g.verdict for g in graded),
        samples=_samples(groups, texts, graded, values),
        rewards=summaries,
        flat_groups=_flat(_totals([values[r.name] for r in usable], usable, rewards, weights), groups),
        truncated=_truncated(groups, graded),
    )
    return CheckReport(**{**report.__dict__, "problems": tuple(_problems(report))})


def probe_rewards(rewards: Sequence[Reward], rows: Sequence[Mapping[str, Any]]) -> None:
    """Call plug-in rewards once on empty answers to `rows`, so that they fail now and not in step one.

    Raises:
        RecipeError: a plug-in raised, or returned another number of values than completions.
    """
    rows = rows[:2]
    columns = {key: [row.get(key) for row in rows] for key in (rows[0] if rows else {})}
    for reward in rewards:
        if reward.columns or not reward.plugin:
            continue
        completions = [[{"role": "assistant", "content": ""}] for _ in rows]
        try:
            reward(
                completions, completion_ids=[[] for _ in rows], prompts=columns.pop("prompt", None), **columns
            )
        except OpenR1Error:
            raise
        except Exception as problem:
            raise RecipeError(
                f"reward {reward.name} raised {type(problem).__name__}: {problem}",
                where=place_of(reward.func),
                fix="it is called with completions, and with the dataset's columns as keyword lists",
            ) from problem


def _missing_columns(
    rows: Sequence[Mapping[str, Any]], rewards: Sequence[Reward]
) -> dict[str, tuple[str, ...]]:
    have = set(rows[0]) if rows else set()
    found: dict[str, tuple[str, ...]] = {}
    for reward in rewards:
        lacking = tuple(" or ".join(choice) for choice in reward.columns if not have & set(choice))
        if lacking:
            found[reward.name] = lacking
    return found


def _gold_problems(rows: Sequence[Mapping[str, Any]], column: str, grader: Grader) -> tuple[GoldProblem, ...]:
    golds = [row.get(column) for row in rows]
    reasons = grader.check_golds(golds)
    return tuple(
        GoldProblem(i, str(gold)[:200], reason)
        for i, (gold, reason) in enumerate(zip(golds, reasons, strict=True))
        if reason
    )


def _grade(
    rows: Sequence[Mapping[str, Any]],
    column: str,
    groups: Sequence[Sequence[Completion]],
    prefilled: bool,
    grader: Grader,
) -> list[Graded]:
    items = [
        Item(rows[i].get(column), text_of(c.text), c.finish_reason, prefilled)
        for i, group in enumerate(groups)
        for c in group
    ]
    return grader.grade(items)


def _score(
    reward: Reward,
    rows: Sequence[Mapping[str, Any]],
    groups: Sequence[Sequence[Completion]],
    prefilled: bool,
    rendered: Sequence[str] | None,
) -> list[float | None]:
    """Values of one reward for all completions, called as a trainer would."""
    where = [i for i, group in enumerate(groups) for _ in group]
    flat = [c for group in groups for c in group]
    columns: dict[str, Any] = {
        key: [rows[i].get(key) for i in where]
        for key in (rows[0] if rows else {})
        if key not in ("prompt", "completion", "completion_ids")
    }
    if all(c.token_ids is not None for c in flat):
        columns["completion_ids"] = [c.token_ids for c in flat]
    columns["prompts"] = [rendered[i] if rendered is not None else rows[i].get("prompt") for i in where]
    return reward([c.text for c in flat], **columns)


def _summary(
    name: str,
    values: Sequence[float | None],
    groups: Sequence[Sequence[Completion]],
    graded: Sequence[Graded],
    texts: Sequence[str],
) -> RewardSummary:
    known = [v for v in values if v is not None]
    constant = len(known) > 1 and len(set(known)) == 1
    zero = bool(known) and not any(known)
    return RewardSummary(
        name=name,
        mean=sum(known) / len(known) if known else None,
        unjudged=len(values) - len(known),
        constant=constant,
        always_zero=zero,
        flat_groups=_flat(values, groups),
        why=_why(name, graded, texts) if zero or not known else "",
    )


def _why(name: str, graded: Sequence[Graded], texts: Sequence[str]) -> str:
    """The likeliest cause of a reward that never leaves 0; none is made up for a person's own reward."""
    causes: list[str] = []
    if name not in REGISTRY:
        return ""
    if name in ("format", "tag_count", "code_format"):
        never = [tag for tag in TAGS[:4] if not any(tag in text for text in texts)]
        if never:
            causes.append(f"never produced: {', '.join(never)}")
    counts = Counter(g.verdict for g in graded)
    if counts[Verdict.right]:  # then it is not the answers
        return "; ".join(causes)
    total = len(graded)
    for verdict in (
        Verdict.truncated,
        Verdict.no_answer,
        Verdict.gold_unparsable,
        Verdict.timeout,
        Verdict.error,
    ):
        if counts[verdict]:
            causes.append(f"{counts[verdict]} of {total} {verdict.value}")
    if not causes and counts[Verdict.wrong]:
        causes.append(f"all {counts[Verdict.wrong]} answers are wrong")
    return "; ".join(causes)


def _flat(values: Sequence[float | None], groups: Sequence[Sequence[Completion]]) -> float:
    """Share of groups of at least two in which all values are one."""
    flat = several = position = 0
    for group in groups:
        mine = values[position : position + len(group)]
        position += len(group)
        if len(group) > 1 and len(mine) == len(group):
            several += 1
            flat += len(set(mine)) == 1
    return flat / several if several else 0.0


def _totals(
    values: Sequence[Sequence[float | None]],
    usable: Sequence[Reward],
    rewards: Sequence[Reward],
    weights: Sequence[float] | None,
) -> list[float | None]:
    """Weighted sum per completion, leaving out what could not be judged, as the trainer does."""
    weight = {r.name: w for r, w in zip(rewards, weights or [1.0] * len(rewards), strict=True)}
    return [
        sum(weight[r.name] * v for r, v in zip(usable, row, strict=True) if v is not None)
        for row in zip(*values, strict=True)
    ]


def _truncated(groups: Sequence[Sequence[Completion]], graded: Sequence[Graded]) -> float:
    flat = [c for group in groups for c in group]
    cut = sum(
        c.finish_reason == "length" or (i < len(graded) and graded[i].verdict is Verdict.truncated)
        for i, c in enumerate(flat)
    )
    return cut / len(flat) if flat else 0.0


def _samples(
    groups: Sequence[Sequence[Completion]],
    texts: Sequence[str],
    graded: Sequence[Graded],
    values: Mapping[str, Sequence[float | None]],
) -> tuple[Sample, ...]:
    where = [i for i, group in enumerate(groups) for _ in group]
    return tuple(
        Sample(
            row=row,
            text=texts[n],
            verdict=graded[n].verdict if graded else None,
            extracted=graded[n].extracted if graded else None,
            rewards={name: v[n] for name, v in values.items()},
        )
        for n, row in enumerate(where)
    )


def _problems(report: CheckReport) -> list[str]:
    """The report's findings as sentences, worst first."""
    said = [
        f"reward {name} needs a column named {', '.join(columns)}"
        for name, columns in report.missing_columns.items()
    ]
    if report.gold_problems:
        shown = ", ".join(str(p.row + 1) for p in report.gold_problems[:10])
        more = ", …" if len(report.gold_problems) > 10 else ""
        said.append(
            f"{len(report.gold_problems)} of {report.rows} golds do not parse (rows {shown}{more}): "
            f"{report.gold_problems[0].reason}"
        )
    if report.long_prompts:
        shown = ", ".join(str(row + 1) for row in report.long_prompts[:10])
        said.append(
            f"{len(report.long_prompts)} prompts are longer than the context leaves room for (rows {shown})"
        )
    for reward in report.rewards:
        because = f": {reward.why}" if reward.why else ""
        if reward.mean is None:
            said.append(f"reward {reward.name} could judge none of the completions{because}")
        elif reward.always_zero:
            said.append(f"reward {reward.name} is always 0{because}")
        elif reward.constant:
            said.append(f"reward {reward.name} is the same for every completion ({reward.mean:g})")
    if report.rewards and report.flat_groups == 1.0:
        said.append("no group has any spread: there is nothing to learn from")
    if report.truncated > 0.5:
        said.append(f"{report.truncated:.0%} of the completions were cut before their end")
    return said
