"""A task's problems: from the hub, a local file, or made on the spot (child processes only)."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from openr1.data import tiny_task
from openr1.data.columns import PROMPT_NAMES, SOLUTION_NAMES, find_column, gold_text
from openr1.data.sources import rows_of
from openr1.errors import RecipeError
from openr1.evaluation.local_data import file_for
from openr1.evaluation.tasks import BUILTIN_PROBLEMS, GPQA_WRONG, Task

LETTERS = "ABCD"
# Other spellings of GPQA's columns, as copies of it have them.
CORRECT_NAMES = ("Correct Answer", "correct_answer")
WRONG_NAMES = (GPQA_WRONG, ("incorrect_answer_1", "incorrect_answer_2", "incorrect_answer_3"))


@dataclass(frozen=True)
class Problem:
    """One problem: its row in the dataset, the user turn that asks it, the gold answer, its options."""

    row: int
    problem: str
    prompt: str
    gold: str
    options: tuple[str, ...] = ()
    id: str = ""
    """Names the problem by its text and answer, wherever it stands in whichever file."""


@dataclass(frozen=True)
class ProblemSet:
    """A task's problems and what is known about the copy they came from."""

    problems: list[Problem]
    facts: dict[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def problems_of(task: Task, tasks: Sequence[Task], values: dict[str, Any], prompt: str) -> ProblemSet:
    """The problems of a task, the first `limit` of them, asked with `prompt`.

    Args:
        tasks: all tasks of the evaluation.
        prompt: the user turn, with {problem} and for choices {A}..{D}.

    Raises:
        RecipeError: the file is empty or lacks the columns.
        EnvironmentProblem: the hub cannot be reached and no local file was given, or the dataset is gated.
    """
    if tiny_task.is_builtin(task.name):
        count = values["limit"] or BUILTIN_PROBLEMS
        made = tiny_task.eval_rows(tiny_task.parse_task(task.name), values["seed"], count)
        problems = [Problem(i, r["problem"], r["problem"], r["answer"]) for i, r in enumerate(made)]
        return ProblemSet(_named(problems), _facts(task, "built in", problems, None))
    if values["dataset"]:
        name, revision = str(file_for(values["dataset"], task, tasks)), None
        raw = rows_of(name, None, task.split)
    else:
        name, revision = str(task.hub), task.revision
        raw = rows_of(name, task.config, task.split, revision=revision, gated=task.gated)
    if len(raw) == 0:
        raise RecipeError("the dataset is empty", where=name, fix="name a file with rows")
    read = _choices if task.kind == "choice" else _open_questions
    problems = read(task, raw, name, values, prompt)
    facts = _facts(task, name, problems, revision)
    return ProblemSet(_named(problems[: values["limit"]]), facts, tuple(_said(task, facts)))


def _named(problems: list[Problem]) -> list[Problem]:
    """With their ids; the same problem a second time gets another one."""
    seen: Counter[str] = Counter()
    named = []
    for problem in problems:
        name = hashlib.sha256(f"{problem.problem.strip()}\n{problem.gold.strip()}".encode()).hexdigest()[:12]
        seen[name] += 1
        named.append(replace(problem, id=name if seen[name] == 1 else f"{name}-{seen[name]}"))
    return named


def _open_questions(task: Task, raw: Any, name: str, values: dict[str, Any], prompt: str) -> list[Problem]:
    asked, gold = task.columns
    question = _column(raw, values["problem_column"], asked, PROMPT_NAMES, "problem", "problem_column", name)
    answer = _column(raw, values["answer_column"], gold, SOLUTION_NAMES, "gold answer", "answer_column", name)
    problems = []
    for index, row in enumerate(raw):
        text, gold_answer = row[question], gold_text(row[answer])
        if text is None or gold_answer is None:
            raise RecipeError(
                f"row {index + 1} lacks its problem or its gold answer",
                where=name,
                fix="mend or remove the row",
            )
        problems.append(Problem(index, str(text), prompt.format(problem=text), gold_answer))
    return problems


def _choices(task: Task, raw: Any, name: str, values: dict[str, Any], prompt: str) -> list[Problem]:
    """Options in an order that is a property of the question alone: nothing else that runs can change it."""
    columns = raw.column_names
    asked, gold = task.columns
    names = (*PROMPT_NAMES, "Question")
    question = _column(raw, values["problem_column"], asked, names, "problem", "problem_column", name)
    correct = _column(
        raw, values["answer_column"], gold, CORRECT_NAMES, "right option", "answer_column", name
    )
    wrong = next((w for w in WRONG_NAMES if set(w) <= set(columns)), None)
    if wrong is None:
        raise RecipeError(
            f"the dataset has no columns for the wrong options ({', '.join(GPQA_WRONG)})",
            where=name,
            fix=f"it has: {', '.join(columns)}; rename them",
        )
    problems = []
    for index, row in enumerate(raw):
        if any(row[column] is None for column in (question, correct, *wrong)):
            raise RecipeError(
                f"row {index + 1} lacks its question or an option", where=name, fix="mend or remove the row"
            )
        text = str(row[question]).strip()
        options = [str(row[column]).strip() for column in wrong]
        place = random.Random(f"gpqa/{text}").randrange(len(options) + 1)
        options.insert(place, str(row[correct]).strip())
        filled = prompt.format(problem=text, **dict(zip(LETTERS, options, strict=True)))
        problems.append(Problem(index, text, filled, LETTERS[place], tuple(options)))
    return problems


def _column(
    raw: Any, asked: str | None, first: str, names: tuple[str, ...], what: str, key: str, where: str
) -> str:
    try:
        return find_column(raw.column_names, (first, *names), asked, what, key)
    except RecipeError as error:
        error.where = where
        raise


def data_fingerprint(pairs: Iterable[tuple[str, str]]) -> str:
    """Twelve hex digits over problems and gold answers, in whatever order they stand."""
    lines = sorted(json.dumps([problem.strip(), gold.strip()]) for problem, gold in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def answers_fingerprint(golds: Iterable[str]) -> str:
    """Twelve hex digits over the gold answers alone, in any order; `045` and `45` are one answer."""
    plain = (gold.strip() for gold in golds)
    lines = sorted(str(int(gold)) if gold.isdecimal() else gold for gold in plain)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _facts(task: Task, name: str, problems: list[Problem], revision: str | None) -> dict[str, Any]:
    pairs = [(p.problem, p.options[LETTERS.index(p.gold)] if p.options else p.gold) for p in problems]
    return {
        "name": name,
        "revision": revision,
        "rows": len(problems),
        "published_rows": task.rows,
        "fingerprint": data_fingerprint(pairs),
        "known_fingerprint": task.fingerprint,
        "answers_fingerprint": answers_fingerprint(gold for _, gold in pairs),
        "known_answers": task.answers,
    }


def _said(task: Task, facts: dict[str, Any]) -> Iterable[str]:
    """What makes this copy of the problems another one than the published, or that nobody can tell."""
    same_answers = task.answers == facts["answers_fingerprint"]
    if task.rows and facts["rows"] != task.rows:
        yield f"{facts['name']} has {facts['rows']:,} problems; the published {task.name} has {task.rows:,}"
    elif task.fingerprint and facts["fingerprint"] != task.fingerprint:
        yield (
            f"{facts['name']} is not the known copy of {task.name}: its problems or answers differ "
            f"(fingerprint {facts['fingerprint']}, known {task.fingerprint})"
        )
    elif task.answers and not same_answers:
        yield (
            f"{facts['name']} is not the known copy of {task.name}: its gold answers differ "
            f"(fingerprint of the answers {facts['answers_fingerprint']}, known {task.answers})"
        )
    elif task.rows and not task.fingerprint:
        yield (
            f"the fingerprint of {task.name} is not known yet; this one: {facts['fingerprint']}, kept with "
            f"the score ({task.rows:,} problems{', and the known gold answers' if task.answers else ''})"
        )
