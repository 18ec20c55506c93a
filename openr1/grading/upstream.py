"""open-r1's way of calling math-verify, in a worker: for exact comparisons with its runs only.

Differs from ours in everything that ours fixes: the whole completion is parsed, only LaTeX counts as an
answer, and a timeout is a wrong answer. math-verify's own timers are on, as they are there.
"""

from __future__ import annotations

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

_COMPLETION = {
    # boxed: accuracy asks for "all", the length rewards for True
    boxed: [
        LatexExtractionConfig(
            normalization_config=NormalizationConfig(
                nits=False,
                malformed_operators=False,
                basic_latex=True,
                equations=True,
                boxed=boxed,
                units=True,
            ),
            boxed_match_priority=0,
            try_extract_without_anchor=False,
        )
    ]
    for boxed in ("all", True)
}


def verdict(gold: str, completion: str, latex_gold_only: bool) -> tuple[str, str]:
    """Verdict and reason as open-r1's accuracy reward (or, `latex_gold_only`, its length rewards) sees it.

    The accuracy reward reads golds with all extractors and gives the gold first; cosine and length
    read LaTeX only and give the answer first.
    """
    if latex_gold_only:
        reference = parse(gold, extraction_mode="first_match", extraction_config=[LatexExtractionConfig()])
    else:
        reference = parse(gold, extraction_mode="first_match")
    if not reference:
        return "gold_unparsable", "math-verify finds nothing in the gold"
    answer = parse(
        completion,
        extraction_config=_COMPLETION[True if latex_gold_only else "all"],
        extraction_mode="first_match",
    )
    try:
        same = verify(answer, reference) if latex_gold_only else verify(reference, answer)
    except Exception as problem:
        return "error", f"{type(problem).__name__}: {problem}"[:200]
    return ("right", "") if same else ("wrong", "")
