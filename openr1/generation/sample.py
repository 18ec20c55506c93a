"""Sampling: rows in, completions into the ledger, `samples.jsonl` out. Only this file loads a model."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from openr1.data.columns import Row
from openr1.errors import from_dict
from openr1.generation.follow import Follower
from openr1.generation.loop import Loop, cut_off, quarantine_of, sample_of, too_many
from openr1.generation.samples import OURS, Problem, SampleSet, problem_of
from openr1.generation.source import Source, conversations, has_backspace, open_source
from openr1.generation.template import PromptTemplate
from openr1.generation.verify import VERDICTS
from openr1.runs import manifest
from openr1.runs.child import Child, forks_end_with_us
from openr1.runs.files import keep_rows
from openr1.sampling.backend import Sampler
from openr1.sampling.draw import PROBE_ROWS, choose_threads
from openr1.sampling.ledger import Ledger
from openr1.sampling.opening import open_sampler
from openr1.sampling.quarantine import Quarantine, in_words
from openr1.sampling.requests import Request, SamplingParams
from openr1.sampling.transformers_backend import TransformersSampler

PROMPTS_AT_ONCE = 256
DISTILABEL_BATCH = 50  # distilabel's own default


def sample(child: Child, check: Callable[[list[str], str], None]) -> SampleSet:
    """Draw what is missing and write everything down. Nothing is held in memory that grows with the texts.

    Samples that failed are tried again by every call, those of a run that went on without them too.

    Args:
        check: given the dataset's columns and its name before anything is sampled; raises where the steps
            after sampling cannot work.

    Raises:
        OpenR1Error: see `open_source`, `conversations`, `Loop.draw` and the backend.
    """
    values = child.values
    made, quarantine = SampleSet(child.run.path), quarantine_of(child)
    if made.path.exists():
        if not quarantine:  # only the steps behind it were interrupted
            check(made.facts["columns"], str(made.facts["dataset"]))
            return made
        _forget_verdicts(child, quarantine.rows())
        made.path.unlink()
    child.events.send("phase", name="loading data")
    source = open_source(values)
    check([name for name in source.columns if name not in OURS], source.name)
    template = PromptTemplate(values["prompt_template"]) if values["prompt_template"] else None

    def sent() -> Iterator[list[dict[str, str]]]:
        return conversations(source, template, values["system_prompt"])

    def requests() -> Iterator[Request]:
        for number, messages in enumerate(sent()):
            for index in range(values["num_generations"]):
                yield Request(number, index, tuple(messages))

    rows = _check_prompts(child, source, sent())
    if values["engine"] == "distilabel":
        return _through_distilabel(child, made, source, template, sent, rows)
    sampler = _load(child)
    first = list(islice(requests(), PROBE_ROWS))
    if isinstance(sampler, TransformersSampler):  # engines of a pool have their share of the cores
        choose_threads(sampler, first, child.run.path, values["threads"], child.config["plan"]["cores"])
    _say_context(child, sampler, values["max_new_tokens"])
    params = _params(values)
    loop = Loop(child, sampler, source.rows, source.columns)
    try:
        failed = loop.draw(requests(), rows * values["num_generations"], params)
        ways = [params]
        if values["truncated"] == "retry":
            ways = [*_redrawn(child, loop, requests, params), params]
    finally:
        loop.close()
    loop.quarantine.settle()
    _say_failed(child, loop.quarantine, failed)
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
    sent: Callable[[], Iterator[list[dict[str, str]]]],
    rows: int,
) -> SampleSet:
    """The same rows by way of a distilabel pipeline, whose step draws from our engine into our ledger.

    Raises:
        Interrupted: a stop was asked for; what was in flight is in the ledger.
        ComponentFailed: more failed than `max_failed` allows, or the pipeline itself.
    """
    from openr1.generation.distilabel import PlannedLLM, run_pipeline

    values, plan, count = child.values, child.config["plan"], child.values["num_generations"]
    ledger_path, quarantine = child.run.samples / "ledger.jsonl", quarantine_of(child)
    params = _params(values)
    cache = child.run.path / "distilabel"
    shutil.rmtree(cache, ignore_errors=True)  # of an attempt that was interrupted
    forks_end_with_us()
    llm = PlannedLLM(
        model=plan["model"] or "",
        plan=plan["sampling"],
        values=values,
        stop=str(cache / "stop"),
        revision=values["model_revision"],
        seed=values["seed"],
        ledger=str(ledger_path),
        quarantine=str(quarantine.path),
        failed="",
        generation_kwargs={
            "max_new_tokens": params.max_new_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k or 0,
        },
    )
    child.events.send("phase", name="sampling in a distilabel pipeline")
    batch = values["batch_size"] or DISTILABEL_BATCH
    stop, seen = Path(llm.stop), (source.rows, source.columns)
    follower = Follower(child, stop, *seen, samples=count, in_flight=batch * count)
    with _error_told(child, stop), follower:
        keys = run_pipeline(sent(), llm, num_generations=count, batch_size=batch, cache=cache)
    shutil.rmtree(cache, ignore_errors=True)
    quarantine.settle()
    failed = rows * count - len(keys)
    if failed > values["max_failed"] * rows * count:
        raise too_many(quarantine, failed, rows * count)
    _say_failed(child, quarantine, failed)
    ledger = Ledger(ledger_path)
    fingerprint = next((row["model"] for row in ledger.rows()), str(plan["model"]))
    facts = _facts(values, source, template, fingerprint, params) | {"failed": failed}
    if not facts["model"]:  # servers say what they serve
        facts["model"] = fingerprint.removeprefix("server:").partition(":")[0]

    def problem(number: int, row: Row, messages: list[dict[str, str]]) -> Problem:
        found = (ledger.get(keys[number, i]) for i in range(count) if (number, i) in keys)
        return problem_of(number, row, messages, [sample for sample in found if sample])

    made.write(
        (problem(number, *pair) for number, pair in enumerate(zip(source.rows, sent(), strict=True))), facts
    )
    ledger.close()
    return made


@contextlib.contextmanager
def _error_told(child: Child, stop: Path) -> Iterator[None]:
    """What ended a pipeline, whose own words are others.

    Raises:
        OpenR1Error: that of its processes, or of the one that follows them; or Interrupted.
    """
    try:
        yield
    except Exception as error:
        _check_told(stop, error)
        raise
    _check_told(stop)
    child.check_stop()


def _check_told(file: Path, cause: Exception | None = None) -> None:
    """Raises the error that a process of the pipeline has written down."""
    if file.exists() and (told := file.read_text(encoding="utf-8")):
        raise from_dict(json.loads(told)) from cause


def _params(values: dict[str, Any]) -> SamplingParams:
    return SamplingParams(
        values["temperature"], values["top_p"], values["top_k"], values["max_new_tokens"], values["seed"]
    )


def _say_failed(child: Child, quarantine: Quarantine, failed: int) -> None:
    if failed:
        child.events.send(
            "notice",
            text=f"{failed:,} samples failed ({in_words(quarantine.reasons())}); {quarantine.path} says why, "
            "and the same command tries them again",
        )


def _load(child: Child) -> Sampler:
    """The sampler, as the plan says: in this process, in several, or servers."""
    values, plan = child.values, child.config["plan"]
    served = plan["sampling"]["backend"] == "server"
    child.events.send("phase", name="asking the servers what they serve" if served else "loading the model")
    return open_sampler(
        plan["sampling"], values, plan["model"] or "", child.run.path, revision=values["model_revision"]
    )


def _say_context(child: Child, sampler: Sampler, asked: int) -> None:
    """Say that no completion can have what was asked for; each has what its own prompt leaves."""
    if sampler.context is not None and sampler.context <= asked:
        child.events.send(
            "notice",
            text=f"the context is {sampler.context:,} tokens, prompt and completion together: a completion "
            f"has what its prompt leaves of it, not {asked:,}",
        )


def _redrawn(
    child: Child, loop: Loop, requests: Callable[[], Iterator[Request]], params: SamplingParams
) -> list[SamplingParams]:
    """The samples that were cut off, drawn once more with a larger budget; returns how, if they were."""
    fingerprint = loop.sampler.fingerprint
    count = sum(1 for _ in cut_off(requests(), loop.ledger, fingerprint, params))
    if not count:
        return []
    budget = child.values["retry_max_new_tokens"] or 2 * child.values["max_new_tokens"]
    budget = min(budget, loop.sampler.context or budget)
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
