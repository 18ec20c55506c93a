"""From completions to verdicts, and from verdicts to groups of equal answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from openr1.evaluation.problems import LETTERS, Problem
from openr1.evaluation.tasks import Task
from openr1.grading import Grader, Item, Verdict, extract

# A letter that stands for an option: alone, in brackets, or before the option's text. "Answer: A long story"
# is none, nor is the A of "A car".
_LETTER = re.compile(r"^\(?([A-Da-d])\)?\s*(?:$|[).:,\\])")
_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{\s*\(?([A-D])\)?[^}]*\}")


def grade_rows(task: Task, rows: list[dict[str, Any]], problems: Sequence[Problem], grader: Grader) -> None:
    """Add problem, gold, verdict, extracted answer and reason to every row."""
    by_row = {p.row: p for p in problems}
    judge = _choices if task.kind == "choice" else _mathematics
    for row, (verdict, extracted, reason) in zip(rows, judge(rows, by_row, grader), strict=True):
        problem = by_row[row["row"]]
        row |= {
            "problem_id": problem.id,
            "problem": problem.problem,
            "gold": problem.gold,
            "verdict": verdict,
            "extracted": extracted,
            "reason": reason,
        }
        if problem.options:
            row["options"] = list(problem.options)


_Judged = list[tuple[str, str | None, str]]


def _mathematics(rows: list[dict[str, Any]], by_row: dict[int, Problem], grader: Grader) -> _Judged:
    items = [Item(by_row[r["row"]].gold, r["text"], r["finish_reason"], r["think_prefilled"]) for r in rows]
    return [(str(g.verdict), g.extracted, g.reason) for g in grader.grade(items)]


def _choices(rows: list[dict[str, Any]], by_row: dict[int, Problem], grader: Grader) -> _Judged:
    return [judge_choice(by_row[r["row"]], r["text"], r["finish_reason"], r["think_prefilled"]) for r in rows]


def judge_choice(
    problem: Problem, text: str, finish_reason: str | None, think_prefilled: bool
) -> tuple[str, str | None, str]:
    """Verdict, letter and reason of one answer to a question with options.

    A letter counts where an answer is given (a box, "Answer: C", a short last line), never one that merely
    stands somewhere; the text of an option counts as its letter.
    """
    found = extract(text, finish_reason, think_prefilled)
    if found.verdict is not None or found.text is None:
        return str(found.verdict or Verdict.no_answer), None, found.reason
    letter = letter_of(found.text, problem.options)
    if letter is None:
        return str(Verdict.no_answer), None, f"`{found.text[:40]}` names no option"
    right = letter == problem.gold
    return str(Verdict.right if right else Verdict.wrong), letter, "same" if right else "different"


def letter_of(answer: str, options: Sequence[str]) -> str | None:
    """The option an extracted answer names, or None."""
    answer = answer.strip(
        "*^$ \n"
    )  # bold, which reads as a power when only its end is cut out with the answer
    named = _TEXT.match(answer) or _LETTER.match(answer)
    if named:
        return named.group(1).upper()
    same = [LETTERS[i] for i, option in enumerate(options) if _plain(option) == _plain(answer)]
    return same[0] if len(same) == 1 else None


def _plain(text: str) -> str:
    return re.sub(r"[\s$.]+", "", text).lower()


def cluster_rows(
    task: Task, rows: Sequence[dict[str, Any]], grader: Grader
) -> dict[tuple[int, int], str | None]:
    """One name per group of equal answers to a problem, as the grader sees equality: for majority votes.

    Right answers are one group. Wrong ones are compared with each other only where they could outvote the
    right ones, because only then does it matter which of them are the same.

    Returns:
        (row, index) -> the group's name; None for answers without a vote.
    """
    by_problem: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        by_problem.setdefault(row["row"], []).append(row)
    named: dict[tuple[int, int], str | None] = {}
    for answers in by_problem.values():
        right = sum(a["verdict"] == "right" for a in answers)
        wrong = [a for a in answers if a["verdict"] == "wrong" and a["extracted"]]
        groups: dict[str, str] = {a["extracted"]: a["extracted"] for a in wrong}
        if len(wrong) > right and task.kind != "choice" and len(groups) > 1:
            groups = _same(list(groups), grader)
        for answer in answers:
            name = None
            if answer["verdict"] == "right":
                name = "right"
            elif answer["verdict"] == "wrong" and answer["extracted"]:
                name = f"wrong:{groups[answer['extracted']]}"
            named[answer["row"], answer["index"]] = name
    return named


def _same(answers: list[str], grader: Grader) -> dict[str, str]:
    """Each answer -> the first one that says the same."""
    group: dict[str, str] = {}
    for answer in answers:
        heads = list(dict.fromkeys(group.values()))
        graded = grader.grade([Item(head, f"\\boxed{{{answer}}}") for head in heads])
        equal = (head for head, one in zip(heads, graded, strict=True) if one.right)
        group[answer] = next(equal, answer)
    return group
