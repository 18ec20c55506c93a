"""One generation, top to bottom: rows in, completions into a ledger, `samples.jsonl` out."""

from __future__ import annotations

import json
from typing import Any

from openr1.data import tiny_task
from openr1.data.columns import PROMPT_NAMES, as_messages, find_column
from openr1.data.model_source import model_files
from openr1.data.sources import rows_of
from openr1.errors import RecipeError
from openr1.runs.child import Child
from openr1.runs.files import write_whole
from openr1.sampling.draw import choose_threads, draw
from openr1.sampling.ledger import Ledger
from openr1.sampling.requests import Request, SamplingParams
from openr1.sampling.transformers_backend import TransformersSampler

BUILTIN_ROWS = 100


def generate(child: Child) -> dict[str, Any]:
    """Sample what resolved.yaml names; every row with its completions goes to `samples.jsonl`.

    Returns:
        rows, samples, mean_tokens, truncated (share), and the file.
    """
    values = child.values
    child.interruptible = False
    child.events.send("phase", name="loading data")
    rows, column = source_rows(values)
    requests = [
        Request(number, index, tuple(as_messages(row[column], values["system_prompt"])))
        for number, row in enumerate(rows)
        for index in range(values["num_generations"])
    ]
    child.check_stop()
    child.events.send("phase", name="loading the model")
    source = model_files(child.config["plan"]["model"], values["seed"], child.run.path)
    sampler = TransformersSampler(
        source,
        dtype=values["dtype"],
        revision=values["model_revision"],
        trust_remote_code=values["trust_remote_code"],
        batch_size=values["batch_size"],
    )
    child.events.send("start", total=len(requests), done=0, unit="sample")

    def on_batch(done: int, tokens: int, seconds: float) -> None:
        child.events.send("progress", done=done, tokens=tokens, seconds=seconds)
        child.check_stop()

    choose_threads(sampler, requests, child.run.path, values["threads"], child.config["plan"]["cores"])
    limit = min(values["max_new_tokens"], (sampler.context or values["max_new_tokens"] + 1) - 1)
    drawn = draw(
        sampler,
        requests,
        SamplingParams(values["temperature"], values["top_p"], values["top_k"], limit, values["seed"]),
        Ledger(child.run.samples / "ledger.jsonl"),
        on_batch=on_batch,
    )
    return _export(child, rows, drawn.rows)


def source_rows(values: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The dataset's rows, and the column that holds the prompt."""
    name, limit = values["dataset_name"], values["limit"]
    if tiny_task.is_builtin(name):
        spec = tiny_task.parse_task(name)
        return list(tiny_task.grpo_rows(spec, values["seed"], limit or BUILTIN_ROWS)), "prompt"
    raw = rows_of(name, values["dataset_config"], values["dataset_split"])
    if len(raw) == 0:
        raise RecipeError("the dataset is empty", where=name)
    try:
        column = find_column(
            raw.column_names, PROMPT_NAMES, values["prompt_column"], "prompt", "prompt_column"
        )
    except RecipeError as error:
        error.where = name
        raise
    return list(raw.select(range(min(limit or len(raw), len(raw))))), column


def _export(child: Child, rows: list[dict[str, Any]], samples: list[dict[str, Any]]) -> dict[str, Any]:
    by_row: dict[int, list[dict[str, Any]]] = {}
    for sample in samples:
        by_row.setdefault(sample["row"], []).append(sample)
    target = child.run.path / "samples.jsonl"
    lines = [
        {
            **row,
            "generations": [s["text"] for s in by_row[number]],
            "finish_reasons": [s["finish_reason"] for s in by_row[number]],
            "tokens": [s["tokens"] for s in by_row[number]],
        }
        for number, row in enumerate(rows)
    ]
    write_whole(target, "".join(json.dumps(x, ensure_ascii=False, default=str) + "\n" for x in lines))
    return {
        "rows": len(rows),
        "samples": len(samples),
        "mean_tokens": sum(s["tokens"] for s in samples) / len(samples),
        "truncated": sum(s["finish_reason"] == "length" for s in samples) / len(samples),
        "file": str(target),
    }
