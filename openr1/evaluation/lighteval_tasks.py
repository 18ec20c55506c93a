"""The R1 tasks for lighteval (0.13), as a custom-tasks module: `openr1 eval lighteval:r1_math_500`.

Also usable with lighteval's own command: `--custom-tasks openr1.evaluation.lighteval_tasks`. Names begin with
`r1_`, because lighteval refuses, or silently replaces, a custom task called like one of its own. Prompts are
those of protocol `open-r1`.
"""

from __future__ import annotations

import random
from typing import Any

from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

from openr1.data.columns import gold_text
from openr1.evaluation.protocol import BOXED_LAST_LINE, LETTER
from openr1.evaluation.tasks import GPQA_WRONG, TASKS, Task

LETTERS = "ABCD"


def _mathematics(task: Task) -> Any:
    question, answer = task.columns

    def prompt(line: dict[str, Any], task_name: str = "") -> Doc:
        query = BOXED_LAST_LINE.format(problem=line[question])
        gold = gold_text(line[answer])
        # In dollars, because lighteval's LaTeX extractor finds nothing outside of them.
        return Doc(task_name=task_name, query=query, choices=[f"${gold}$"], gold_index=0)

    return prompt


def _choices(task: Task) -> Any:
    question, answer = task.columns

    def prompt(line: dict[str, Any], task_name: str = "") -> Doc:
        text = str(line[question]).strip()
        options = [str(line[column]).strip() for column in GPQA_WRONG]
        place = random.Random(f"gpqa/{text}").randrange(len(options) + 1)
        options.insert(place, str(line[answer]).strip())
        query = LETTER.format(problem=text, **dict(zip(LETTERS, options, strict=True)))
        return Doc(task_name=task_name, query=query, choices=list(LETTERS), gold_index=place)

    return prompt


def _config(task: Task) -> LightevalTaskConfig:
    choice = task.kind == "choice"
    metric = Metrics.gpqa_instruct_pass_at_k if choice else Metrics.pass_at_k_math
    return LightevalTaskConfig(
        name=f"r1_{task.name.replace(':', '_')}",
        prompt_function=(_choices if choice else _mathematics)(task),
        hf_repo=str(task.hub),
        hf_subset=task.config or "default",
        hf_revision=task.revision,
        hf_avail_splits=[task.split],
        evaluation_splits=[task.split],
        few_shots_split=None,
        few_shots_select=None,
        generation_size=32768,
        stop_sequence=[],  # left out, it is a tuple, with which lighteval's transformers backend fails
        metrics=[metric(sample_params={"k": 1, "n": 1})],
        version=1,
    )


TASKS_TABLE = [_config(task) for task in TASKS.values()]
