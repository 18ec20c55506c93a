"""Text that holds mathematics: balanced brackets, splitting, and one spelling for many."""

from __future__ import annotations

import re

OPENING = {"(": ")", "[": "]", "{": "}"}
CLOSING = frozenset(OPENING.values())

# Spacing and sizing commands carry no meaning; longer names first so that none is cut in half.
_NOISE = re.compile(
    r"(?<!\\)\\(?:left|right|bigg?[lr]?|Bigg?[lr]?|displaystyle|textstyle|limits|mathstrut|quad|qquad)(?![A-Za-z])"
    r"|(?<!\\)\\[,;:! ]|~|\u200b|\ufeff"
)
_SPELLING = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:dbinom|tbinom)(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\\(?:mathrm|mathbf|mathit|boldsymbol|mathsf|operatorname)\s*\{\s*([A-Za-z])\s*\}"), r"\1"),
    (re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mbox)\s*\{\s*\}"), ""),
    (re.compile(r"\\(?:leq|leqslant)(?![A-Za-z])|≤"), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![A-Za-z])|≥"), r"\\ge "),
    (re.compile(r"\\l?dots(?![A-Za-z])|\\cdots(?![A-Za-z])|…"), "..."),
    (re.compile(r"\\lbrace(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])"), r"\\}"),
    (re.compile(r"[−–‒﹣－]"), "-"),
    (re.compile(r"×|\\ast(?![A-Za-z])"), r"\\times "),
    (re.compile(r"·|⋅"), r"\\cdot "),
    (re.compile(r"÷|\\div(?![A-Za-z])"), "/"),
    (re.compile(r"±|\\\+-"), r"\\pm "),
    (re.compile(r"∓"), r"\\mp "),
    (re.compile(r"π"), r"\\pi "),
    (re.compile(r"∞"), r"\\infty "),
    (re.compile(r"∪"), r"\\cup "),
    (re.compile(r"√\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*(\d+|[a-z])"), r"\\sqrt{\1}"),
    (re.compile(r"°|\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))"), r"\\degree "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\%|％"), "%"),
    (re.compile(r"，|、"), ","),
    (re.compile(r"：(?=\d)"), ":"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)(?!\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\sqrt\s*(\d)(?!\d)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\\A-Za-z])(pi|infty|sqrt)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<![\\A-Za-z])(sin|cos|tan|log|ln)(?=\s*[(\\^])"), r"\\\1 "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\s*(?:\\text\s*\{\s*)?\b(?:percent|per cent)\b\s*\}?"), "%"),
    (re.compile(r"\\varnothing(?![A-Za-z])|∅"), r"\\emptyset "),
    # An imaginary root reads as a multiple of i, which both sides of a comparison understand.
    (re.compile(r"\\sqrt\{\s*-\s*1\s*\}"), "i"),
    (re.compile(r"\\sqrt\{\s*-\s*(\d+)\s*\}"), r"\\sqrt{\1}i"),
)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPTS = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_MARKDOWN = re.compile(r"^(\*\*|__|\*|`{1,3}|_)(.+)\1$", re.DOTALL)
_MATH_WRAPS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_COMMAND = re.compile(r"\\[A-Za-z]+")
_SPACES = re.compile(r"\s+")


def matching_braces(text: str) -> dict[int, int]:
    """Where each `{` of `text` closes, in one pass; escaped braces and those that never close are absent."""
    closes: dict[int, int] = {}
    open_at: list[int] = []
    i = 0
    while i < len(text):
        c = text[i]
        if c == "\\":
            i += 2
            continue
        if c == "{":
            open_at.append(i)
        elif c == "}" and open_at:
            closes[open_at.pop()] = i
        i += 1
    return closes


def encloses(text: str) -> bool:
    """True when the first character of `text` is a bracket that the last character closes."""
    if len(text) < 2 or text[0] not in OPENING or text[-1] not in CLOSING:
        return False
    depth, i = 0, 0
    while i < len(text):
        c = text[i]
        if c == "\\":
            i += 2
            continue
        depth += (c in OPENING) - (c in CLOSING)
        if depth == 0:
            return i == len(text) - 1
        i += 1
    return False


def split_top(text: str, separator: re.Pattern[str]) -> list[str]:
    """`text` cut at every match of `separator` that stands outside all brackets.

    Half-open intervals such as `[0,1)` count as bracketed: any closing bracket ends any opening one.
    """
    parts, depth, last, i = [], 0, 0, 0
    while i < len(text):
        if depth == 0:
            found = separator.match(text, i)
            if found and found.end() > i:
                parts.append(text[last:i])
                last = i = found.end()
                continue
        two = text[i : i + 2]
        if two in (r"\{", r"\}"):
            depth = max(0, depth + (1 if two == r"\{" else -1))
            i += 2
            continue
        c = text[i]
        if c == "\\":
            word = _COMMAND.match(text, i)
            name = word.group() if word else two
            # \begin{pmatrix} … \end{pmatrix} hides its separators as brackets do
            if name == r"\begin":
                depth += 1
            elif name == r"\end":
                depth = max(0, depth - 1)
            i += len(name)
            continue
        if c in OPENING:
            depth += 1
        elif c in CLOSING:
            depth = max(0, depth - 1)
        i += 1
    parts.append(text[last:])
    return parts


def strip_wrapping(text: str) -> str:
    """`text` without the markdown, dollar signs and end punctuation around it, and none from inside."""
    for _ in range(8):
        before = text
        text = text.strip()
        found = _MARKDOWN.match(text)
        if found and found.group(1) not in found.group(2):
            text = found.group(2)
        for left, right in _MATH_WRAPS:
            inner = text[len(left) : -len(right)]
            wrapped = len(text) > len(left + right) and text.startswith(left) and text.endswith(right)
            if wrapped and left not in inner:
                text = inner
        if not text.endswith("..."):
            text = text.strip().rstrip(".。,，;；:")
        if text == before:
            break
    return text


def normalise(text: str) -> str:
    """One spelling for the many ways to write the same mathematics; meaning is never changed."""
    text = strip_wrapping(text)
    text = _NOISE.sub(lambda m: "" if m.group() in (r"\!", r"\left", r"\right") else " ", text)
    text = _SUPERSCRIPTS.sub(lambda m: "^{" + m.group().translate(_SUPERSCRIPT) + "}", text)
    for pattern, replacement in _SPELLING:
        text = pattern.sub(replacement, text)
    # thousands written with thin spaces: 1 000 000
    text = re.sub(r"(?<![\d.])\d{1,3}(?: \d{3})+(?![\d])", lambda m: m.group().replace(" ", ""), text)
    text = _SPACES.sub(" ", strip_wrapping(text))
    return text if text.strip("$ ") else ""


_NEEDLESS_BRACES = re.compile(r"([\^_])\{(\w)\}")


def squeeze(text: str) -> str:
    """`text` for comparing spellings: without spaces, and `x^{2}` as `x^2`."""
    return _NEEDLESS_BRACES.sub(r"\1\2", text.replace(" ", ""))
