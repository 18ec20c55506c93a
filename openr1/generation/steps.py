"""Which steps follow the sampling. Needs nothing heavy: the parent reads it too."""

from __future__ import annotations

from typing import Any

STEPS = ("verify", "filter", "decontaminate", "export")
STEP_OF = {
    **dict.fromkeys(("solution_column", "reward_funcs"), "verify"),
    **dict.fromkeys(
        ("keep", "complete", "choose", "truncated_as", "pass_rate_min", "pass_rate_max"), "filter"
    ),
    **dict.fromkeys(("min_completion_tokens", "max_completion_tokens"), "filter"),
    **dict.fromkeys(("against", "ngram_size", "match"), "decontaminate"),
    **dict.fromkeys(("layouts", "messages_prompt", "hub_dataset_id", "private"), "export"),
}
"""Keys that mean something to one step only."""


def asked_steps(values: dict[str, Any], *, can_verify: bool) -> list[str]:
    """The steps to do, in order: those of `only`, else all for which there is something to do.

    Args:
        can_verify: the dataset has a gold answer or tests; rewards by name are verified without, too.
    """
    if values["only"] is not None:
        return [step for step in STEPS if step in values["only"]]
    skipped = set() if can_verify or values["reward_funcs"] else {"verify"}
    skipped |= set() if values["against"] else {"decontaminate"}
    return [step for step in STEPS if step not in skipped]
