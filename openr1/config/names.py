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
    "gpus": "--gpus (a flag, not a recipe key)",
}


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
        new = RENAMED[key]
        return f"it is called {new if new.startswith('--') else f'`{new}`'} now"
    if key in GONE:
        new_key = next((rule.to for rule in GONE[key] if rule.to), None)
        return f"it is called `{new_key}` now" if new_key else f"remove it: {GONE[key][-1].says}"
    near = nearest(key, known)
    if near:
        return f"did you mean `{near}`?"
    if stage is None or stage in TRAINING_STAGES:
        lists = f"openr1 {stage or 'sft'} RECIPE --dry-run lists them"
        return f"remove it; keys are TRL's and transformers' own names, and openr1's ({lists})"
    return f"remove it; {stage} sections know: {', '.join(sorted(known))}"
