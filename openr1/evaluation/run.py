"""One evaluation, top to bottom: models × tasks, sampled into a ledger, graded, counted."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from openr1.errors import RecipeError
from openr1.evaluation.grade import cluster_rows, grade_rows
from openr1.evaluation.problems import ProblemSet, problems_of
from openr1.evaluation.protocol import Conditions, conditions_of
from openr1.evaluation.score import score_rows
from openr1.evaluation.tasks import LIGHTEVAL, Task, task_named
from openr1.grading import Grader
from openr1.runs.child import Child
from openr1.runs.files import write_json, write_whole
from openr1.sampling.backend import Sampler
from openr1.sampling.draw import Drawn, choose_threads, draw
from openr1.sampling.ledger import Ledger
from openr1.sampling.opening import open_sampler
from openr1.sampling.requests import Request, SamplingParams

IN_RESULTS_ONLY = ("problem_scores",)
"""Too long for events and the manifest; in results.json alone."""


def evaluate(child: Child) -> dict[str, Any]:
    """Evaluate what resolved.yaml names; scores go to `results.json`, samples to `samples/`.

    Returns:
        {"scores": [one entry per model and task: model, path, fingerprint, task, protocol, conditions, data,
        what `score.score_rows` gives, tokens_per_second, grading_seconds]}
    """
    values = child.values
    child.interruptible = False  # the ledger is written between two looks at `check_stop`
    every = [task_named(name) for name in values["tasks"]]
    tasks = [task for task in every if not task.name.startswith(LIGHTEVAL)]
    bridged = [task for task in every if task.name.startswith(LIGHTEVAL)]
    asked = {task.name: conditions_of(task, values) for task in tasks}
    child.events.send("phase", name="loading problems")
    sets = {task.name: problems_of(task, tasks, values, asked[task.name].prompt) for task in tasks}
    for task in tasks:
        for text in sets[task.name].notices:
            child.events.send("notice", text=text)
    for doubt in dict.fromkeys(c.protocol.doubt for c in asked.values() if c.protocol.doubt):
        child.events.send("notice", text=f"protocol {values['protocol']}: {doubt}")
    models: list[dict[str, str]] = child.config["plan"]["models"]
    each = sum(len(sets[t.name].problems) * asked[t.name].num_samples for t in tasks)
    child.events.send("start", total=len(models) * each, done=0, unit="sample")
    done = 0
    scores = []
    with Grader() as grader:
        for model in models:
            with _opened(child, model) as sampler:
                for task in tasks:
                    score = _one(child, sampler, model, task, sets[task.name], asked[task.name], grader, done)
                    done += score["problems"] * score["samples"]
                    scores.append(score)
                    child.events.send("progress", done=done, score=_short(score))
                if bridged:
                    from openr1.evaluation.lighteval_bridge import run_tasks

                    scores += run_tasks(child, sampler, model, bridged)
    write_json(child.run.path / "results.json", {"scores": scores, "graded_with": grading_versions()})
    return {"scores": [_short(score) for score in scores]}


def _one(
    child: Child,
    sampler: Sampler,
    model: dict[str, str],
    task: Task,
    found: ProblemSet,
    asked: Conditions,
    grader: Grader,
    before: int,
) -> dict[str, Any]:
    """One model on one task: draw, grade, count."""
    drawn, limit = _sample(child, sampler, model, task, found, asked, before)
    begun = time.perf_counter()
    grade_rows(task, drawn.rows, found.problems, grader)
    several = asked.num_samples > 1
    clusters = cluster_rows(task, drawn.rows, grader) if several else None
    for row in drawn.rows if clusters else ():
        row["group"] = clusters[row["row"], row["index"]] if clusters else None
    graded = time.perf_counter() - begun
    file = write_samples(child, model["label"], task.name, drawn.rows)
    return {
        "model": model["label"],
        "path": model["path"],
        "fingerprint": sampler.fingerprint,
        "task": task.name,
        "protocol": asked.id(limit),
        "conditions": asked.as_dict(limit),
        "asked_tokens": asked.max_new_tokens,  # a short context may have lowered it
        "data": found.facts,
        **score_rows(drawn.rows, asked.num_samples, child.values["seed"], clusters),
        "tokens_per_second": round(drawn.tokens / drawn.seconds, 1) if drawn.tokens else None,
        "tokens_drawn": drawn.tokens,
        "sampling_seconds": round(drawn.seconds, 3),
        "grading_seconds": round(graded, 3),
        "backend": child.config["plan"]["sampling"]["backend"],
        "samples_file": file,
    }


@contextlib.contextmanager
def _opened(child: Child, model: dict[str, str]) -> Iterator[Sampler]:
    """The sampler of one model, as the plan says: in this process, in several, or servers."""
    child.check_stop()
    gc.collect()  # the model before this one, if there was one
    values, plan = child.values, child.config["plan"]["sampling"]
    child.events.send("phase", name=f"loading {model['label']}")
    sampler = open_sampler(
        plan,
        values,
        model["path"],
        child.run.path,
        revision=values["model_revision"] if len(child.config["plan"]["models"]) == 1 else None,
    )
    if values["server"]:
        model["label"] = getattr(sampler, "model", model["label"]).rpartition("/")[2]
    try:
        yield sampler
    finally:
        sampler.close()


def _sample(
    child: Child,
    sampler: Sampler,
    model: dict[str, str],
    task: Task,
    found: ProblemSet,
    asked: Conditions,
    before: int,
) -> tuple[Drawn, int]:
    """Draw what the ledger lacks. Returns the samples and the completion limit in force, in tokens."""
    values = child.values
    requests = requests_of(task, found, asked)
    limit = completion_limit(child, sampler, requests, asked.max_new_tokens)
    if child.config["plan"]["sampling"]["backend"] == "transformers":
        from openr1.sampling.transformers_backend import TransformersSampler

        if isinstance(sampler, TransformersSampler):  # engines of a pool have their share of the cores
            cores = child.config["plan"]["cores"]
            choose_threads(sampler, requests, child.run.path, values["threads"], cores)

    def on_batch(done: int, tokens: int, seconds: float) -> None:
        phase = f"{model['label']} on {task.name}"
        child.events.send("progress", done=before + done, tokens=tokens, seconds=seconds, phase=phase)
        child.check_stop()

    drawn = draw(
        sampler,
        requests,
        SamplingParams(asked.temperature, asked.top_p, asked.top_k, limit, values["seed"]),
        Ledger(child.run.samples / "ledger.jsonl"),
        # More answers of the same kind continue those there are.
        protocol=asked.id(limit, with_samples=False),
        on_batch=on_batch,
    )
    return drawn, limit


def requests_of(task: Task, found: ProblemSet, asked: Conditions) -> list[Request]:
    """Every answer to draw: problem by problem, `num_samples` of each."""
    system = [{"role": "system", "content": asked.system_prompt}] if asked.system_prompt else []
    return [
        Request(
            p.row,
            index,
            (*system, {"role": "user", "content": p.prompt}),
            task=task.name,
            prefill=asked.prefill,
        )
        for p in found.problems
        for index in range(asked.num_samples)
    ]


def completion_limit(child: Child, sampler: Sampler, requests: list[Request], asked: int) -> int:
    """What the context leaves for the completion, when that is less than asked for.

    Raises:
        RecipeError: when the longest prompt alone fills the context.
    """
    if sampler.context is None or not requests:
        return asked
    unique = {(r.messages, r.prompt, r.prefill) if r.prompt else str(r.messages): r for r in requests}
    lengths = sampler.prompt_lengths([replace(r, index=0) for r in unique.values()])
    if not lengths:  # a server that counts no tokens; it will say itself when a prompt is too long
        return asked
    return limit_beside(child, sampler.context, max(lengths), asked)


def limit_beside(child: Child, context: int, longest: int, asked: int) -> int:
    """What a context leaves for the completion beside the longest prompt, in tokens, `asked` at most.

    Raises:
        RecipeError: it leaves nothing.
    """
    room = context - longest
    if room < 1:
        raise RecipeError(
            f"the longest prompt ({longest} tokens) fills the model's context ({context})",
            fix="use a model with a longer context, or --limit to leave that problem out",
        )
    if room < asked:
        child.events.send(
            "notice",
            text=f"completions are limited to {room} tokens instead of {asked}: "
            f"the model's context is {context} and the longest prompt {longest}",
        )
    return min(asked, room)


def write_samples(child: Child, label: str, task: str, rows: list[dict[str, Any]]) -> str:
    """Write the graded samples of one model and task; returns the file's name in the run."""
    name = re.sub(r"[/:?|@]", "_", f"{label}-{task}")
    path = child.run.samples / f"{name}.jsonl"
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path.relative_to(child.run.path))


def grading_versions() -> dict[str, str]:
    """What verdicts depend on."""
    found = {}
    for package in ("openr1", "math-verify", "sympy", "latex2sympy2_extended"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _short(score: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in score.items() if key not in IN_RESULTS_ONLY}
