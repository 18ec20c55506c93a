"""Training rows of well-known datasets, so that a plan can tell a run's time before anything is fetched.

As their cards on the hub counted them in 2025; three figures where the card rounds. Only a plan leans on
them: a run counts what it has loaded.
"""

from __future__ import annotations

# (dataset, configuration) -> rows of the split "train"; None is the configuration that is loaded by default.
ROWS: dict[tuple[str, str | None], int] = {
    ("AI-MO/NuminaMath-TIR", None): 72_441,
    ("HuggingFaceH4/Bespoke-Stratos-17k", None): 16_600,
    ("bespokelabs/Bespoke-Stratos-17k", None): 16_710,
    ("open-r1/OpenR1-Math-220k", None): 93_733,
    ("open-r1/OpenR1-Math-220k", "default"): 93_733,
    ("open-r1/OpenR1-Math-220k", "extended"): 131_396,
    ("open-r1/OpenR1-Math-220k", "all"): 225_129,
    ("open-r1/Mixture-of-Thoughts", "all"): 349_000,
    ("open-r1/Mixture-of-Thoughts", "math"): 93_700,
    ("open-r1/Mixture-of-Thoughts", "code"): 83_100,
    ("open-r1/Mixture-of-Thoughts", "science"): 173_000,
    ("open-r1/DAPO-Math-17k-Processed", "all"): 17_398,
    ("open-thoughts/OpenThoughts-114k", None): 113_957,
    ("DigitalLearningGmbH/MATH-lighteval", None): 7_500,
}


def known_rows(name: str, config: str | None, split: str) -> int | None:
    """Rows of a dataset of the hub; None for one, or a split, that is not in the table."""
    return ROWS.get((name, config)) if split == "train" else None
