"""Sampling: rows in, completions into the ledger, `samples.jsonl` out. Only this file loads a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from openr1.data.model_source import model_files
from openr1.evaluation.run import limit_beside
from openr1.generation.loop import Loop, cut_off, quarantine_of, sample_of
from openr1.generation.samples import OURS, SampleSet, problem_of
from openr1.generation.source import Source, conversations, has_backspace, open_source
from openr1.generation.template import PromptTemplate
from openr1.generation.verify import VERDICTS
from openr1.runs import manifest
from openr1.runs.child import Child
from openr1.runs.files import keep_rows
from openr1.sampling.backend import Sampler
from openr1.sampling.draw import PROBE_ROWS, choose_threads
from openr1.sampling.opening import open_sampler
from openr1.sampling.quarantine import in_words
from openr1.sampling.requests import Failure, Request, SamplingParams
from openr1.sampling.transformers_backend import TransformersSampler
from openr1.sampling.weights import model_fingerprint

PROMPTS_AT_ONCE = 256
DISTILABEL_BATCH = 50  # distilabel's own default


def sample(child: Child) -> SampleSet:
    """Draw what is missing and write everything down. Nothing is held in memory that grows with the texts.

    Samples that failed are tried again by every call, those of a run that went on without them too.

    Raises:
        OpenR1Error: see `open_source`, `conversations`, `Loop.draw` and the backend.
    """
    values = child.values
    made, quarantine = SampleSet(child.run.path), quarantine_of(child)
    if made.path.exists():
        if not quarantine:  # only the steps behind it were interrupted
            return made
        _forget_verdicts(child, quarantine.rows())
        made.path.unlink()
    child.events.send("phase", name="loading data")
    source = open_source(values)
    template = PromptTemplate(values["prompt_template"]) if values["prompt_template"] else None

    def sent() -> Iterator[list[dict[str, str]]]:
        return conversations(source, template, values["system_prompt"])

    def requests() -> Iterator[Request]:
        for number, messages in enumerate(sent()):
            for index in range(values["num_generations"]):
                yield Request(number, index, tuple(messages))

    rows = _check_prompts(child, source, sent())
    if values["engine"] == "distilabel":
        return _through_distilabel(child, made, source, template, list(sent()))
    sampler = _load(child)
    first = list(islice(requests(), PROBE_ROWS))
    if isinstance(sampler, TransformersSampler):  # engines of a pool have their share of the cores
        choose_threads(sampler, first, child.run.path, values["threads"], child.config["plan"]["cores"])
    longest = _longest_prompt(sampler, sent())
    limit = _limit(child, sampler, longest, values["max_new_tokens"])
    params = SamplingParams(values["temperature"], values["top_p"], values["top_k"], limit, values["seed"])
    loop = Loop(child, sampler, source.rows, source.columns)
    try:
        failed = loop.draw(requests(), rows * values["num_generations"], params)
        ways = [params]
        if values["truncated"] == "retry":
            ways = [*_redrawn(child, loop, requests, params, longest), params]
    finally:
        loop.close()
    loop.quarantine.settle()
    if failed:
        reasons = in_words(loop.quarantine.reasons())
        child.events.send(
            "notice",
            text=f"{failed:,} samples failed ({reasons}); {loop.quarantine.path} says why, "
            "and the same command tries them again",
        )
    facts = _facts(values, source, template, sampler.fingerprint, params) | {"failed": failed}
    facts["model"] = facts["model"] or getattr(sampler, "model", None)  # servers say what they serve
    sampler.close()

    def samples_of(number: int, messages: list[dict[str, str]]) -> Iterator[dict[str, Any] | None]:
        for index in range(values["num_generations"]):
            request = Request(number, index, tuple(messages))
            yield sample_of(request, loop.ledger, sampler.fingerprint, ways)

    made.write(
        (
            problem_of(number, row, messages, [s for s in samples_of(number, messages) if s])
            for number, (row, messages) in enumerate(zip(source.rows, sent(), strict=True))
        ),
        facts,
    )
    loop.ledger.close()
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
    model = values["model_name_or_path"] or ""
    if not values["server"]:
        model = model_files(child.config["plan"]["model"], values["seed"], child.run.path)
    llm = OpenR1LLM(
        model=model,
        server=values["server"],
        backend=values.get("backend", "auto"),
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
    by_request = {(s["row"], s["index"]): s for s in drawn}
    quarantine, lost = quarantine_of(child), 0
    count = values["num_generations"]
    for request in (Request(n, i, tuple(m)) for n, m in enumerate(sent) for i in range(count)):
        if (request.row, request.index) not in by_request:
            lost += 1
            said = Failure("distilabel", "the pipeline gave nothing; the log says why", 1, model)
            quarantine.add(request, request.key(model, params.text()), said)
    quarantine.settle()
    if lost:
        child.events.send("notice", text=f"{lost:,} samples failed; the log says why")
    name = f"server:{model}" if values["server"] else model_fingerprint(model)
    facts = _facts(values, source, template, name, params)
    drawn_of = [
        [by_request[n, i] for i in range(values["num_generations"]) if (n, i) in by_request]
        for n in range(len(sent))
    ]
    made.write(
        (problem_of(n, row, sent[n], drawn_of[n]) for n, row in enumerate(source.rows)),
        facts | {"failed": lost},
    )
    return made


def _load(child: Child) -> Sampler:
    """The sampler, as the plan says: in this process, in several, or servers."""
    values, plan = child.values, child.config["plan"]
    served = plan["sampling"]["backend"] == "server"
    child.events.send("phase", name="asking the servers what they serve" if served else "loading the model")
    return open_sampler(
        plan["sampling"], values, plan["model"] or "", child.run.path, revision=values["model_revision"]
    )


def _longest_prompt(sampler: Any, sent: Iterable[Sequence[dict[str, str]]]) -> int:
    """Tokens of the longest prompt; 0 for servers, which know their context and say so per prompt."""
    longest = 0
    if sampler.device == "server" or sampler.context is None:
        return longest
    prompts = (Request(number, 0, tuple(messages)) for number, messages in enumerate(sent))
    while some := list(islice(prompts, PROMPTS_AT_ONCE)):
        longest = max(longest, *sampler.prompt_lengths(some))
    return longest


def _limit(child: Child, sampler: Any, longest: int, asked: int) -> int:
    """What the context leaves for a completion."""
    return limit_beside(child, sampler.context, longest, asked) if longest else asked


def _redrawn(
    child: Child, loop: Loop, requests: Callable[[], Iterator[Request]], params: SamplingParams, longest: int
) -> list[SamplingParams]:
    """The samples that were cut off, drawn once more with a larger budget; returns how, if they were."""
    fingerprint = loop.sampler.fingerprint
    count = sum(1 for _ in cut_off(requests(), loop.ledger, fingerprint, params))
    if not count:
        return []
    budget = child.values["retry_max_new_tokens"] or 2 * child.values["max_new_tokens"]
    budget = _limit(child, loop.sampler, longest, budget)
    if budget <= params.max_new_tokens:
        return []
    child.events.send(
        "notice", text=f"{count:,} samples were cut off; they are drawn again with {budget} new tokens"
    )
    larger = replace(params, max_new_tokens=budget)
    loop.redraw(cut_off(requests(), loop.ledger, fingerprint, params), count, larger)
    return [larger]


def _forget_verdicts(child: Child, rows: set[int]) -> None:
    """Verdicts of problems that are about to get more samples."""
    path = child.run.path / VERDICTS
    if path.exists():
        keep_rows(path, lambda line: line["row"] not in rows)


def _check_prompts(child: Child, source: Source, sent: Iterable[list[dict[str, str]]]) -> int:
    """Make every prompt once before the model is loaded, so that a bad row is not found days later.

    Returns:
        How many there are.

    Raises:
        RecipeError: a row without a prompt, or on which the template fails.
    """
    rows = damaged = 0
    for messages in sent:
        rows += 1
        damaged += has_backspace(messages)
        if rows % PROMPTS_AT_ONCE == 0:
            child.check_stop()
    if damaged:
        child.events.send(
            "notice",
            text=f"{damaged:,} of {rows:,} prompts hold a backspace: `\\b` of a \\boxed in a string "
            "that is not raw; they are sent as they are",
        )
    hidden = [name for name in source.columns if name in OURS]
    if hidden:
        child.events.send("notice", text=f"columns of the dataset that give way to ours: {', '.join(hidden)}")
    return rows


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
