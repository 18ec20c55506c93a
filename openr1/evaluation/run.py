"""One evaluation, top to bottom: models × tasks, sampled into a ledger, graded, counted."""

from __future__ import annotations

import gc
import json
from typing import Any

from openr1.data.model_source import model_files
from openr1.errors import RecipeError
from openr1.evaluation.problems import Problem, problems_of
from openr1.evaluation.protocol import protocol_id
from openr1.evaluation.score import score_rows
from openr1.evaluation.tasks import Task, task_named
from openr1.grading import Grader, Item
from openr1.runs.child import Child
from openr1.runs.files import write_json, write_whole
from openr1.sampling.draw import Drawn, choose_threads, draw
from openr1.sampling.ledger import Ledger
from openr1.sampling.requests import Request, SamplingParams
from openr1.sampling.transformers_backend import TransformersSampler


def evaluate(child: Child) -> dict[str, Any]:
    """Evaluate what resolved.yaml names; scores go to `results.json`, samples to `samples/`.

    Returns:
        {"scores": [one entry per model and task, see `score.score_rows`]}
    """
    values = child.values
    child.interruptible = False  # the ledger is written between two looks at `check_stop`
    tasks = [task_named(name) for name in values["tasks"]]
    problems = {task.name: problems_of(task, values) for task in tasks}
    models: list[dict[str, str]] = child.config["plan"]["models"]
    _say_sizes(child, tasks, problems, values)
    total = len(models) * sum(map(len, problems.values())) * values["num_samples"]
    child.events.send("start", total=total, done=0, unit="sample")
    done = 0
    scores = []
    with Grader() as grader:
        for model in models:
            sampler = _load(child, model, values)
            for task in tasks:
                drawn, limit = _sample(child, sampler, model, task, problems[task.name], done)
                rows = drawn.rows
                done += len(rows)
                _grade(rows, problems[task.name], grader)
                _write_samples(child, model["label"], task.name, rows)
                score = score_rows(rows, values["num_samples"], values["seed"])
                scores.append(
                    {
                        "model": model["label"],
                        "path": model["path"],
                        "task": task.name,
                        "protocol": protocol_id(values, limit),
                        **score,
                        "tokens_per_second": round(drawn.tokens / drawn.seconds, 1) if drawn.tokens else None,
                    }
                )
                child.events.send("progress", done=done, score=scores[-1])
            del sampler
            gc.collect()
    write_json(child.run.path / "results.json", {"scores": scores})
    return {"scores": scores}


def _say_sizes(
    child: Child, tasks: list[Task], problems: dict[str, list[Problem]], values: dict[str, Any]
) -> None:
    for task in tasks:
        found = len(problems[task.name])
        if task.rows and values["dataset"] and not values["limit"] and found != task.rows:
            child.events.send(
                "notice",
                text=f"{values['dataset']} has {found:,} problems; "
                f"the published {task.name} has {task.rows:,}",
            )


def _load(child: Child, model: dict[str, str], values: dict[str, Any]) -> TransformersSampler:
    child.check_stop()
    child.events.send("phase", name=f"loading {model['label']}")
    source = model_files(model["path"], values["seed"], child.run.path)
    return TransformersSampler(
        source,
        dtype=values["dtype"],
        revision=values["model_revision"] if len(child.config["plan"]["models"]) == 1 else None,
        trust_remote_code=values["trust_remote_code"],
    )


def _sample(
    child: Child,
    sampler: TransformersSampler,
    model: dict[str, str],
    task: Task,
    problems: list[Problem],
    before: int,
) -> tuple[Drawn, int]:
    """Draw what the ledger lacks. Returns the samples and the completion limit in force, in tokens."""
    values = child.values
    system = [{"role": "system", "content": values["system_prompt"]}] if values["system_prompt"] else []
    requests = [
        Request(p.row, index, (*system, {"role": "user", "content": p.prompt}))
        for p in problems
        for index in range(values["num_samples"])
    ]
    choose_threads(sampler, requests, child.run.path, values["threads"], child.config["plan"]["cores"])
    limit = _new_tokens(child, sampler, requests, values["max_new_tokens"])

    def on_batch(done: int, tokens: int, seconds: float) -> None:
        phase = f"{model['label']} on {task.name}"
        child.events.send("progress", done=before + done, tokens=tokens, seconds=seconds, phase=phase)
        child.check_stop()

    drawn = draw(
        sampler,
        requests,
        SamplingParams(values["temperature"], values["top_p"], values["top_k"], limit, values["seed"]),
        Ledger(child.run.samples / "ledger.jsonl"),
        model=sampler.fingerprint,
        batch_size=values["batch_size"],
        on_batch=on_batch,
    )
    return drawn, limit


def _new_tokens(child: Child, sampler: TransformersSampler, requests: list[Request], asked: int) -> int:
    """What the context leaves for the completion, when that is less than asked for.

    Raises:
        RecipeError: when the longest prompt alone fills the context.
    """
    if sampler.context is None or not requests:
        return asked
    texts = {sampler.prompt_text(r.messages) for r in requests}
    longest = max(len(ids) for ids in sampler.tokenizer(list(texts), add_special_tokens=False)["input_ids"])
    room: int = sampler.context - longest
    if room < 1:
        raise RecipeError(
            f"the longest prompt ({longest} tokens) fills the model's context ({sampler.context} tokens)",
            fix="use a model with a longer context, or --limit to leave that problem out",
        )
    if room < asked:
        child.events.send(
            "notice",
            text=f"completions are limited to {room} tokens instead of {asked}: "
            f"the model's context is {sampler.context} and the longest prompt {longest}",
        )
    return min(asked, room)


def _grade(rows: list[dict[str, Any]], problems: list[Problem], grader: Grader) -> None:
    """Add problem, gold, verdict and extracted answer to every row."""
    by_row = {p.row: p for p in problems}
    items = [Item(by_row[r["row"]].gold, r["text"], r["finish_reason"], r["think_prefilled"]) for r in rows]
    for row, graded in zip(rows, grader.grade(items), strict=True):
        problem = by_row[row["row"]]
        row |= {
            "problem": problem.problem,
            "gold": problem.gold,
            "verdict": str(graded.verdict),
            "extracted": graded.extracted,
            "reason": graded.reason,
        }


def _write_samples(child: Child, label: str, task: str, rows: list[dict[str, Any]]) -> None:
    name = f"{label}-{task}".replace("/", "_").replace(":", "_").replace("?", "_")
    path = child.run.samples / f"{name}.jsonl"
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
