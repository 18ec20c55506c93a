"""Which keys exist, which a wrong one may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from openr1.config.catalogue import TRAINING_STAGES, fields_of
from openr1.config.legacy.rules import GONE
from openr1.config.schema import STAGES, own_fields

# What people write for a key of today; the spellings of 2025 are in `legacy.rules`.
RENAMED = {
    "model": "model_name_or_path",
    "lr": "learning_rate",
    "batch_size": "global_batch_size",
}
# What a command takes, and a recipe does not.
FLAGS = {
    "gpus",
    "nodes",
    "section",
    "profile",
    "simulate",
    "fresh",
    "fit",
    "force",
    "rehearse",
    "max_gpu_temp",
}
FLAGS |= {"dry_run", "show_samples", "check_rewards", "accelerate_config", "slurm", "json", "quiet", "debug"}


def keys_of(stage: str) -> set[str]:
    """Every key a section of this stage may hold."""
    return set(own_fields(stage)) | set(fields_of(stage))


def all_keys() -> set[str]:
    """Every key of any stage."""
    return set().union(*(keys_of(stage) for stage in STAGES))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word a mistyped one most likely meant, or None."""
    found = difflib.get_close_matches(word.lower().replace("-", "_"), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def explain_unknown(key: str, stage: str | None) -> str:
    """What to do about a key that does not exist here: renamed, misplaced, mistyped, or none of them."""
    known = keys_of(stage) if stage else all_keys()
    if key.startswith("no_") and key.removeprefix("no_") in known:
        positive = key.removeprefix("no_")
        return f"switch it off with `--{positive} false`, or `{positive}: false` in the recipe"
    elsewhere = [s for s in STAGES if s != stage and key in keys_of(s)]
    if elsewhere:
        return f"`{key}` belongs to {' and '.join(elsewhere)} sections; move it there"
    if key in RENAMED:
        return f"it is called `{RENAMED[key]}` now"
    if key in FLAGS:
        return f"`--{key.replace('_', '-')}` is given with the command, not in a recipe"
    if key in GONE:
        new_key = next((rule.to for rule in GONE[key] if rule.to), None)
        stages = [s for s in STAGES if new_key in keys_of(s)]
        if new_key and stage and stage not in stages:
            return f"it is called `{new_key}` now, and belongs to {' and '.join(stages)} sections"
        return f"it is called `{new_key}` now" if new_key else f"remove it: {GONE[key][-1].says}"
    near = nearest(key, known)
    if near:
        return f"did you mean `{near}`?"
    if stage is None or stage in TRAINING_STAGES:
        lists = f"openr1 {stage or 'sft'} RECIPE --all-values lists them"
        return f"remove it; keys are TRL's and transformers' own names, and openr1's ({lists})"
    return f"remove it; {stage} sections know: {', '.join(sorted(known))}"
