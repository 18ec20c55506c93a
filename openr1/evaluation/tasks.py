"""The tasks `openr1 eval` knows: where their problems are, and which copy of them is the known one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openr1.config.names import nearest
from openr1.data.tiny_task import is_builtin, parse_task
from openr1.errors import UsageError

LIGHTEVAL = "lighteval:"
BUILTIN_PROBLEMS = 500

Kind = Literal["math", "choice", "plain"]


@dataclass(frozen=True)
class Task:
    """One benchmark.

    Args:
        hub, config, split, revision: the dataset on the hub, or a local file as `hub`; `revision` is the
            commit that is read.
        columns: (problem, gold answer).
        kind: "math" (an expression), "choice" (a letter, options in more columns), "plain" (asked as it is).
        rows: the published size.
        fingerprint: of the known problems and answers (`problems.data_fingerprint`); None where no copy was
            at hand to take it from.
        answers: of the gold answers alone (`problems.answers_fingerprint`), where those are known and the
            problems' text is not.
        gated: its owners want their terms accepted first.
    """

    name: str
    hub: str | None
    config: str | None = None
    split: str = "test"
    revision: str | None = None
    columns: tuple[str, str] = ("problem", "answer")
    kind: Kind = "math"
    rows: int | None = None
    fingerprint: str | None = None
    answers: str | None = None
    gated: bool = False


GPQA_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")

TASKS = {
    task.name: task
    for task in (
        Task(
            "math_500",
            "HuggingFaceH4/MATH-500",
            None,
            "test",
            "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
            ("problem", "answer"),
            "math",
            500,
            "9b34dbfc465f",
        ),
        Task(
            "aime24",
            "HuggingFaceH4/aime_2024",
            None,
            "train",
            "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
            ("problem", "answer"),
            "math",
            30,
            # Of the official answers, 15 of AIME I and 15 of AIME II (AoPS wiki, the two answer keys).
            answers="26b2e319e14b",
        ),
        Task(
            "aime25",
            "yentinglin/aime_2025",
            None,
            "train",
            "6f71d77b0b89b9dabe07ab466c51df33f514df7f",
            ("problem", "answer"),
            "math",
            30,
            answers="a02393161511",  # 2025 AIME I and II, as above
        ),
        Task(
            "gpqa:diamond",
            "Idavidrein/gpqa",
            "gpqa_diamond",
            "train",
            # Gated. HELM pins this commit (stanford-crfm/helm, scenarios/gpqa_scenario.py), and others wrote
            # it down as what the hub gave in 2024 and 2025, when the published numbers were taken.
            "90b8e5be2b1d3d2dbfe016cdab47981150600c4a",
            ("Question", "Correct Answer"),
            "choice",
            198,
            gated=True,
        ),
        Task(
            "gsm8k",
            "openai/gsm8k",
            "main",
            "test",
            "740312add88f781978c0658806c59bc2815b9866",
            ("question", "answer"),
            "math",
            1319,
            "99a2698dc959",
        ),
    )
}
ALIASES = {
    "gpqa": "gpqa:diamond",
    "gpqa_diamond": "gpqa:diamond",
    "math500": "math_500",
    "MATH-500": "math_500",
}
# Published columns that nothing here runs.
NOT_RUN = ("livecodebench", "lcb", "lcb_v4")
WHY_NOT = "LiveCodeBench executes programs against hidden tests; only its published numbers are shown"


def task_named(name: str) -> Task:
    """The task of that name or alias, a built-in one with its options, `file.py:NAME`, or `lighteval:TASK`.

    Raises:
        UsageError: no such task; names the nearest.
        RecipeError: a built-in task's options are wrong, or a file holds no such task.
    """
    if is_builtin(name):
        parse_task(name)
        return Task(name, None, None, "test", None, ("problem", "answer"), "plain", None)
    if name.partition(":")[0].endswith(".py"):
        from openr1.evaluation.task_file import task_from

        return task_from(name)
    if name.startswith(LIGHTEVAL) and name != LIGHTEVAL:
        return Task(name, None, None, "test", None, ("", ""), "plain", None)
    known = ALIASES.get(name, name)
    if known in TASKS:
        return TASKS[known]
    base = name.partition(":")[0]
    if base in NOT_RUN:
        raise UsageError(
            f"`{name}` is not run here: {WHY_NOT}", fix="openr1 bench --benchmarks livecodebench"
        )
    near = nearest(name, [*TASKS, *ALIASES])
    guess = f"did you mean {ALIASES.get(near, near)}? " if near else ""
    raise UsageError(
        f"unknown task `{name}`",
        fix=f"{guess}tasks: {', '.join(TASKS)}, builtin:chain-sum, file.py:NAME, lighteval:TASK",
    )
