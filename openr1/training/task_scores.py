"""The recipe's eval tasks on the weights of the moment, every so many steps (`eval_tasks_steps`)."""

from __future__ import annotations

import json
import time
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from openr1.evaluation.grade import grade_rows
from openr1.evaluation.problems import ProblemSet, problems_of
from openr1.evaluation.protocol import Conditions, conditions_of
from openr1.evaluation.run import completion_limit, requests_of
from openr1.evaluation.score import score_rows
from openr1.evaluation.tasks import Task, task_named
from openr1.grading import Grader
from openr1.runs.child import Child
from openr1.runs.files import append_line, write_whole
from openr1.sampling.requests import SamplingParams, completed, units_of
from openr1.sampling.transformers_backend import TransformersSampler
from openr1.training.callbacks import Reporter
from openr1.training.ranks import any_of


class TaskScores(TrainerCallback):
    """Samples, grades and counts in this process; the training's own random draws are not touched.

    A row of metrics.jsonl per evaluated step: `tasks/TASK/accuracy`, `/low`, `/high` (95 % interval),
    `/truncated`, `/mean_tokens`. The graded answers are in `samples/tasks-step-STEP.jsonl`.
    """

    def __init__(self, child: Child, trainer: Any, reporter: Reporter, asked: dict[str, Any]) -> None:
        """Load the problems.

        Args:
            asked: values of the recipe's eval section, and `every`, in optimizer steps.

        Raises:
            OpenR1Error: a task's problems cannot be had.
        """
        self.child, self.trainer, self.reporter, self.asked = child, trainer, reporter, asked
        self.every = int(asked["every"])
        tasks = [task_named(name) for name in asked["tasks"]]
        self.tasks: list[tuple[Task, Conditions, ProblemSet]] = []
        for task in tasks:
            conditions = conditions_of(task, asked)
            self.tasks.append((task, conditions, problems_of(task, tasks, asked, conditions.prompt)))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self.every:
            return
        begun = time.perf_counter()
        if self.child.first:
            self._score(state.global_step)
            any_of(self.child, False)
        else:
            # The first rank says now and then that it is at work: no wait is longer than one unit of samples.
            while any_of(self.child, False):
                pass
        self.reporter.paused(time.perf_counter() - begun)

    def _score(self, step: int) -> None:
        trainer = self.trainer
        model = trainer.accelerator.unwrap_model(trainer.model)
        training, cards = model.training, [model.device] if model.device.type == "cuda" else []
        model.eval()
        row: dict[str, Any] = {"step": step, "time": round(time.time(), 3)}
        lines: list[dict[str, Any]] = []
        try:
            with torch.random.fork_rng(devices=cards), Grader() as grader:
                sampler = TransformersSampler.around(
                    model,
                    trainer.processing_class,
                    name=f"step {step}",
                    chat_template=self.asked["chat_template"],
                    batch_size=self.asked["batch_size"],
                )
                for task, conditions, found in self.tasks:
                    rows, limit = self._draw(sampler, task, conditions, found)
                    grade_rows(task, rows, found.problems, grader)
                    score = score_rows(rows, conditions.num_samples, self.asked["seed"], None)
                    lines += [{"task": task.name, **line} for line in rows]
                    row |= self._numbers(task.name, score)
                    self._say(step, task.name, score, conditions.id(limit))
        finally:
            model.train(training)
        path = self.child.run.samples / f"tasks-step-{step}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        append_line(self.child.run.metrics, row)
        self.child.events.send("progress", done=step, metrics=row)

    def _draw(
        self, sampler: TransformersSampler, task: Task, asked: Conditions, found: ProblemSet
    ) -> tuple[list[dict[str, Any]], int]:
        """Every answer of one task, and the completion limit in force, in tokens."""
        requests = requests_of(task, found, asked)
        limit = completion_limit(self.child, sampler, requests, asked.max_new_tokens)
        params = SamplingParams(asked.temperature, asked.top_p, asked.top_k, limit, self.asked["seed"])
        rows = []
        for unit, completions in sampler.run(units_of(requests, sampler.unit_size), params):
            any_of(self.child, True)
            rows += [
                {"row": request.row, "index": request.index, **completion.as_dict()}
                for request, completion in zip(unit.requests, completed(completions), strict=True)
            ]
        return rows, limit

    @staticmethod
    def _numbers(task: str, score: dict[str, Any]) -> dict[str, float]:
        low, high = score["interval"]
        found = {"accuracy": score["accuracy"], "low": low, "high": high}
        found |= {key: score[key] for key in ("truncated", "mean_tokens")}
        return {f"tasks/{task}/{key}": round(value, 4) for key, value in found.items()}

    def _say(self, step: int, task: str, score: dict[str, Any], protocol: str) -> None:
        low, high = (100 * end for end in score["interval"])
        self.child.events.send(
            "notice",
            text=f"step {step}: {task} {100 * score['accuracy']:.1f} % [{low:.1f} – {high:.1f}] of "
            f"{score['problems']:,} problems, {100 * score['truncated']:.1f} % cut off ({protocol})",
        )
