"""Where the answer stands in a completion. Pure text work: no mathematics, no guessing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .latex import matching_braces, normalise, strip_wrapping
from .verdict import Verdict

FINAL_CHARS = 20_000
"""Only this much of the end of the final part is searched; an answer stands at the end."""
MAX_ANSWER_CHARS = 2_000
"""A longer "answer" is none: real ones have up to some hundred characters."""
BARE_CHARS, BARE_WORDS = 120, 6
"""A final part this short, on one line, is taken to be the answer itself."""

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BARE_BOX = re.compile(r"-?\d+(?:\.\d+)?|[A-Za-z]\b")
_OPEN_ANSWER = re.compile(r"<answer>", re.IGNORECASE)
_CLOSE_ANSWER = re.compile(r"</answer>", re.IGNORECASE)
_JOINING = re.compile(r"[\s$,;.]+|\\[\[\]()]|\\text\{|\}|\band\b")
# "answer is X", "answer: X", "#### X"; the answer runs to the end of its line or sentence.
_ANCHOR = re.compile(
    r"(?:(?:final\s+)?answer\s*(?:\*\*)?\s*(?:is|:|=|would be)(?:\*\*)?\s*:?|####|答案\s*(?:是|为|：|:))\s*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<!\.)\.(?:\s|$)|[。\n]")
_INLINE_MATH = re.compile(
    r"\$\$(.{1,500}?)\$\$|\$(.{1,500}?)\$|\\\((.{1,500}?)\\\)|\\\[(.{1,500}?)\\\]", re.DOTALL
)
_BOLD = re.compile(r"\*\*(.{1,500}?)\*\*", re.DOTALL)


@dataclass(frozen=True)
class Extraction:
    """An answer, or the verdict that says why there is none."""

    text: str | None
    verdict: Verdict | None = None
    reason: str = ""


def final_part(text: str, think_prefilled: bool = False) -> str | None:
    """What follows the reasoning; None when reasoning was begun and never closed."""
    close = text.rfind("</think>")
    opened = text.rfind("<think>")
    if close < 0:
        return None if opened >= 0 or think_prefilled else text
    return None if opened > close else text[close + len("</think>") :]


def boxes(text: str) -> list[tuple[int, int, str]]:
    r"""Every closed `\boxed{…}` of `text` as (start, end, content), outermost only, in order."""
    found: list[tuple[int, int, str]] = []
    closes = matching_braces(text)
    after = 0
    for match in _BOX.finditer(text):
        if match.start() < after:
            continue
        at = match.end()
        token = _BARE_BOX.match(text, at)
        if at in closes:
            after = closes[at] + 1
            found.append((match.start(), after, text[at + 1 : after - 1]))
        elif token:
            after = token.end()
            found.append((match.start(), after, token.group()))
    return found


def last_box(text: str) -> str | None:
    r"""The last box of `text`; boxes joined by nothing but "and" or a comma are one list."""
    every = boxes(text)
    if not every:
        return None
    joined = [every[-1][2]]
    for (_, end, content), (start, _, _) in zip(reversed(every[:-1]), reversed(every[1:]), strict=True):
        between = text[end:start]
        if len(between) > 40 or "\n\n" in between or _JOINING.sub("", between):
            break
        joined.append(content)
    return ", ".join(_inside(b) for b in reversed(joined) if b.strip())


def _inside(box: str) -> str:
    """The content of a box without further boxes around it."""
    for _ in range(3):
        inner = boxes(box)
        if len(inner) != 1 or inner[0][0] != 0 or inner[0][1] != len(box):
            break
        box = inner[0][2]
    return box


def _anchored(text: str) -> str | None:
    """What follows the last "the answer is", to the end of its line or sentence."""
    matches = list(_ANCHOR.finditer(text))
    for match in reversed(matches):
        rest = text[match.end() : match.end() + MAX_ANSWER_CHARS]
        math = _INLINE_MATH.match(rest.lstrip())
        if math:
            return next(g for g in math.groups() if g is not None)
        end = _SENTENCE_END.search(rest)
        piece = strip_wrapping(rest[: end.start()] if end else rest)
        bold = _BOLD.search(piece)
        piece = bold.group(1) if bold else piece
        if piece:
            return piece
    return None


def _last_line(text: str) -> str | None:
    """The answer of a text without anchors: the text itself when short, else what its last line marks."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return None
    last = lines[-1]
    for pattern in (_BOLD, _INLINE_MATH):
        hits = list(pattern.finditer(last))
        if hits:
            return next(g for g in hits[-1].groups() if g is not None)
    if len(lines) == 1 and len(last) <= BARE_CHARS and len(last.split()) <= BARE_WORDS:
        return strip_wrapping(last) or None
    display = list(_INLINE_MATH.finditer(text))
    if display and display[-1].end() >= len(text.rstrip()) - 2:
        return next(g for g in display[-1].groups() if g is not None)
    return None


def find_answer(text: str) -> tuple[str | None, bool]:
    r"""The answer of a final part, and whether it was marked as one (`<answer>`, a box)."""
    opened = [m.end() for m in _OPEN_ANSWER.finditer(text)]
    if opened:
        closed = [m.start() for m in _CLOSE_ANSWER.finditer(text)]
        # the last block that was closed; when none was, a stop string may have swallowed the tag
        whole = [at for at in opened if closed and at <= closed[-1]]
        start = (whole or opened)[-1]
        inside = text[start : next((at for at in closed if at >= start), None)]
        answer = last_box(inside) or _anchored(inside) or strip_wrapping(inside)
        return (answer or None), bool(whole)
    box = last_box(text)
    if box is not None:
        return (box or None), True
    if _BOX.search(text):
        return None, False  # a box that was begun and not closed is where the answer would stand
    return _anchored(text) or _last_line(text), False


def extract(
    completion: object, finish_reason: str | None = None, think_prefilled: bool = False
) -> Extraction:
    r"""The answer of a completion.

    The final part is what follows the last `</think>`. There the last `<answer>…</answer>` wins, then
    the last box, then "the answer is …", then a short final part itself. Reasoning that never closed
    is `truncated`, whatever stands in it; a completion cut at the token limit keeps an answer only if
    that was marked and closed.
    """
    if not isinstance(completion, str):
        return Extraction(None, Verdict.error, f"completion is {type(completion).__name__}, not text")
    final = final_part(completion, think_prefilled)
    cut = finish_reason == "length"
    if final is None:
        return Extraction(None, Verdict.truncated, "reasoning was never closed")
    answer, marked = find_answer(final[-FINAL_CHARS:])
    if cut and not marked:
        return Extraction(None, Verdict.truncated, "cut at the token limit before an answer")
    if answer is None or not answer.strip():
        return Extraction(None, Verdict.no_answer, "nothing that reads as an answer")
    if len(answer) > MAX_ANSWER_CHARS:
        return Extraction(
            None, Verdict.no_answer, f"answer has {len(answer)} characters, over {MAX_ANSWER_CHARS}"
        )
    text = normalise(answer)
    return Extraction(text, None, "") if text else Extraction(None, Verdict.no_answer, "empty answer")


def read_gold(gold: object) -> tuple[str | None, str]:
    """The reference as normalised text, or None with the reason why it cannot be understood."""
    if isinstance(gold, (list, tuple)):
        if len(gold) != 1:
            return None, f"gold is a list of {len(gold)} items"
        gold = gold[0]
    if gold is None:
        return None, "gold is missing"
    if isinstance(gold, bool) or not isinstance(gold, (str, int, float)):
        return None, f"gold is {type(gold).__name__}, not text or a number"
    if isinstance(gold, float):
        if gold != gold or gold in (float("inf"), float("-inf")):
            return None, f"gold is {gold}"
        gold = int(gold) if gold.is_integer() and abs(gold) < 1e15 else gold
    if isinstance(gold, int):
        if gold.bit_length() > 4 * MAX_ANSWER_CHARS:
            return None, "gold is an integer of too many digits"
        gold = str(gold)
    text = str(gold)
    tail = text[-FINAL_CHARS:]
    answer = last_box(tail)
    if answer is None and "####" in tail:
        answer = tail.rsplit("####", 1)[1]
    if answer is None and len(text) > BARE_CHARS and "\n" in text.strip():
        answer = find_answer(text[-FINAL_CHARS:])[0]  # a whole solution
    answer = text if answer is None else answer
    if len(answer) > MAX_ANSWER_CHARS:
        return None, f"gold has {len(answer)} characters, over {MAX_ANSWER_CHARS}"
    normal = normalise(answer)
    return (normal, "") if normal else (None, "gold is empty")
