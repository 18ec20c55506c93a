"""Sampling: rows in, completions into the ledger, `samples.jsonl` out. Only this file loads a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from openr1.data.model_source import model_files
from openr1.evaluation.run import completion_limit
from openr1.generation.samples import OURS, Problem, SampleSet, problem_of
from openr1.generation.source import Source, backspaces, conversations, open_source
from openr1.generation.template import PromptTemplate
from openr1.runs import manifest
from openr1.runs.child import Child
from openr1.sampling.backend import Sampler
from openr1.sampling.draw import choose_threads, draw
from openr1.sampling.ledger import Ledger
from openr1.sampling.opening import open_sampler
from openr1.sampling.requests import Request, SamplingParams
from openr1.sampling.transformers_backend import TransformersSampler
from openr1.sampling.weights import model_fingerprint

Samples = list[dict[str, Any]]
DISTILABEL_BATCH = 50  # distilabel's own default


def sample(child: Child) -> SampleSet:
    """Draw what is missing and write everything down.

    Raises:
        OpenR1Error: see `open_source`, `conversations` and the backend.
    """
    values = child.values
    made = SampleSet(child.run.path)
    if made.path.exists():  # only the steps behind it were interrupted
        return made
    child.events.send("phase", name="loading data")
    source = open_source(values)
    template = PromptTemplate(values["prompt_template"]) if values["prompt_template"] else None
    sent = conversations(source, template, values["system_prompt"])
    _say_what_is_odd(child, source, sent)
    child.check_stop()
    if values["engine"] == "distilabel":
        return _through_distilabel(child, made, source, template, sent)
    requests = [
        Request(number, index, tuple(messages))
        for number, messages in enumerate(sent)
        for index in range(values["num_generations"])
    ]
    sampler = _load(child)
    if isinstance(sampler, TransformersSampler):  # engines of a pool have their share of the cores
        choose_threads(sampler, requests, child.run.path, values["threads"], child.config["plan"]["cores"])
    limit = _limit(child, sampler, requests, values["max_new_tokens"])
    params = SamplingParams(values["temperature"], values["top_p"], values["top_k"], limit, values["seed"])
    drawn = _draw(child, sampler, requests, params)
    by_request = {(s["row"], s["index"]): s for s in drawn}
    if values["truncated"] == "retry":
        by_request |= _retried(child, sampler, requests, by_request, params)
    facts = _facts(values, source, template, sampler.fingerprint, params)
    facts["model"] = facts["model"] or getattr(sampler, "model", None)  # servers say what they serve
    sampler.close()
    made.write(_problems(source, sent, by_request, values["num_generations"]), facts)
    return made


def _through_distilabel(
    child: Child,
    made: SampleSet,
    source: Source,
    template: PromptTemplate | None,
    sent: Sequence[list[dict[str, str]]],
) -> SampleSet:
    """The same rows by way of a distilabel pipeline, whose step draws from our engine."""
    from openr1.generation.distilabel import OpenR1LLM, run_pipeline

    values = child.values
    limit = values["max_new_tokens"]
    params = SamplingParams(values["temperature"], values["top_p"], values["top_k"], limit, values["seed"])
    model = model_files(child.config["plan"]["model"], values["seed"], child.run.path)
    llm = OpenR1LLM(
        model=model,
        revision=values["model_revision"],
        dtype=values["dtype"],
        trust_remote_code=values["trust_remote_code"],
        batch_size=values["batch_size"],
        seed=values["seed"],
        ledger=str(child.run.samples / "ledger.jsonl"),
        generation_kwargs={
            "max_new_tokens": limit,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k or 0,
        },
    )
    child.events.send("phase", name="sampling in a distilabel pipeline")
    drawn = run_pipeline(
        sent,
        llm,
        num_generations=values["num_generations"],
        batch_size=values["batch_size"] or DISTILABEL_BATCH,
        cache=child.run.path / "distilabel",
    )
    lost = len(sent) * values["num_generations"] - len(drawn)
    if lost:
        child.events.send("notice", text=f"{lost:,} samples failed; the log says why")
    by_request = {(s["row"], s["index"]): s for s in drawn}
    facts = _facts(values, source, template, model_fingerprint(model), params)
    made.write(_problems(source, sent, by_request, values["num_generations"]), facts)
    return made


def _load(child: Child) -> Sampler:
    """The sampler, as the plan says: in this process, in several, or servers."""
    values, plan = child.values, child.config["plan"]
    served = plan["sampling"]["backend"] == "server"
    child.events.send("phase", name="asking the servers what they serve" if served else "loading the model")
    return open_sampler(
        plan["sampling"], values, plan["model"] or "", child.run.path, revision=values["model_revision"]
    )


def _draw(child: Child, sampler: Any, requests: Sequence[Request], params: SamplingParams) -> Samples:
    """Samples of the requests, those that the ledger holds included."""
    child.events.send("start", total=len(requests), done=0, unit="sample")

    def on_batch(done: int, tokens: int, seconds: float) -> None:
        child.events.send("progress", done=done, tokens=tokens, seconds=seconds)
        child.check_stop()

    return draw(
        sampler,
        requests,
        params,
        Ledger(child.run.samples / "ledger.jsonl"),
        on_batch=on_batch,
    ).rows


def _limit(child: Child, sampler: Any, requests: list[Request], asked: int) -> int:
    """What the context leaves for a completion; a server knows it itself, and says so per prompt."""
    return asked if sampler.device == "server" else completion_limit(child, sampler, requests, asked)


def _retried(
    child: Child,
    sampler: Any,
    requests: Sequence[Request],
    samples: dict[tuple[int, int], dict[str, Any]],
    params: SamplingParams,
) -> dict[tuple[int, int], dict[str, Any]]:
    """The samples that were cut off, drawn once more with a larger budget."""
    cut = [r for r in requests if samples.get((r.row, r.index), {}).get("finish_reason") == "length"]
    budget = child.values["retry_max_new_tokens"] or 2 * child.values["max_new_tokens"]
    if not cut:
        return {}
    budget = _limit(child, sampler, cut, budget)
    if budget <= params.max_new_tokens:
        return {}
    child.events.send(
        "notice", text=f"{len(cut)} samples were cut off; they are drawn again with {budget} new tokens"
    )
    drawn = _draw(child, sampler, cut, replace(params, max_new_tokens=budget))
    return {(s["row"], s["index"]): s for s in drawn}


def _problems(
    source: Source,
    sent: Sequence[Sequence[dict[str, str]]],
    samples: dict[tuple[int, int], dict[str, Any]],
    count: int,
) -> Iterator[Problem]:
    for number, row in enumerate(source.rows):
        mine = [samples[number, index] for index in range(count) if (number, index) in samples]
        yield problem_of(number, row, sent[number], mine)


def _say_what_is_odd(child: Child, source: Source, sent: list[list[dict[str, str]]]) -> None:
    damaged = backspaces(sent)
    if damaged:
        child.events.send(
            "notice",
            text=f"{damaged:,} of {len(sent):,} prompts hold a backspace: `\\b` of a \\boxed in a string "
            "that is not raw; they are sent as they are",
        )
    hidden = [name for name in source.columns if name in OURS]
    if hidden:
        child.events.send("notice", text=f"columns of the dataset that give way to ours: {', '.join(hidden)}")


def _facts(
    values: dict[str, Any],
    source: Source,
    template: PromptTemplate | None,
    fingerprint: str,
    params: SamplingParams,
) -> dict[str, Any]:
    keys = ("model_revision", "system_prompt", "num_generations", "truncated")
    return {
        "model": values["model_name_or_path"],
        "fingerprint": fingerprint,
        "dataset": source.name,
        "dataset_config": values["dataset_config"],
        "dataset_split": values["dataset_split"],
        "columns": [name for name in source.columns if name not in OURS],
        "prompt_column": source.prompt_column,
        "prompt_template": template.text if template else None,
        **{key: values[key] for key in keys},
        "sampling": {
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k,
            "max_new_tokens": params.max_new_tokens,
            "seed": params.seed,
        },
        "versions": manifest.versions(),
    }
