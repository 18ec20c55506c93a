r"""Words of a text, for comparing it with another: upstream's way, and one that sees through its spelling.

`open-r1`  lower case, words between white space, punctuation and LaTeX kept (open-r1's and s1's script).
`strict`   NFKC, lower case, LaTeX's spacing and style commands dropped, every other punctuation a gap; every
           Chinese, Japanese or Korean character a word of its own.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Match = Literal["strict", "open-r1"]

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
# A gap for whatever is neither letter nor digit; one table look-up per character.
_ASCII = {code: " " for code in range(128) if not chr(code).isalnum()}
_WORDS = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
_ONE_CJK = re.compile(f"[{CJK}]")
_STYLE = re.compile(
    r"\\(?:[,;:!]|[dtc](?=frac)|(?:left|right|bigg?[lr]?|displaystyle|textstyle|limits|quad|qquad|text|textbf"
    r"|textit|mathrm|mathbf|mathbb|operatorname|mbox|hspace|vspace)(?![a-z]))"
)
# What LaTeX is written with says nothing about a problem.
_LATEX = """
frac sqrt cdot cdots ldots dots times begin end array pmatrix bmatrix cases aligned alpha beta gamma theta
lambda infty leq geq neq sin cos tan overline underline overrightarrow circ
"""
LATEX_WORDS = frozenset(_LATEX.split())
MIN_WORDS = 3
"""Real words that a strict n-gram must hold; one of nothing but symbols is in many formulas."""


def words(text: str, match: Match) -> list[str]:
    """The words of a text, in order."""
    if match == "open-r1":
        return text.lower().split()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = text.lower()
    if "\\" in text:
        text = _STYLE.sub(" ", text)
    return text.translate(_ASCII).split() if text.isascii() else _WORDS.findall(text)


def is_cjk(found: list[str]) -> bool:
    """Whether most words are single CJK characters."""
    return 2 * sum(len(word) == 1 and bool(_ONE_CJK.match(word)) for word in found) > len(found)


def tells(gram: list[str]) -> bool:
    """Whether an n-gram has enough real words to be told from any other formula."""
    real = sum(bool(_ONE_CJK.match(w)) or (len(w) > 1 and w.isalpha() and w not in LATEX_WORDS) for w in gram)
    return real >= MIN_WORDS
