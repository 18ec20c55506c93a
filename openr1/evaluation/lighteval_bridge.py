"""lighteval's tasks, prompts and metrics on our samplers: the one file that knows lighteval (0.13.0).

lighteval is a bridge here and not the engine; docs/evaluation.md says why. What it gets wrong is worked
around below, each with the place upstream; a test fails when one is no longer needed.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from openr1.config.names import nearest
from openr1.data.sources import accept, refused
from openr1.errors import EnvironmentProblem, OpenR1Error, RecipeError, UsageError
from openr1.evaluation.protocol import conditions_of
from openr1.evaluation.statistics import wilson, z_of
from openr1.evaluation.tasks import LIGHTEVAL, TASKS, Task
from openr1.extras import install
from openr1.grading.extract import final_part
from openr1.runs.child import Child
from openr1.sampling.backend import Sampler
from openr1.sampling.draw import draw
from openr1.sampling.ledger import Ledger
from openr1.sampling.requests import Request, SamplingParams

PACKAGE = "lighteval.tasks.tasks"
# lighteval imports every task module to know one. These three fail: the first downloads a pickle from GitHub
# while it is imported, the others call `list_models(model_name=…)`, which huggingface_hub 2 does not have.
BROKEN_MODULES = ("tiny_benchmarks", "mix_eval.main", "mt_bench.main")
READ_CHARS = 10_000
"""Of a longer final part lighteval's metrics read the end: the time of their extractor grows with the square
of the length, outside of any limit (C16; 24,000 characters of a loop take it seconds, 200,000 minutes)."""


def run_tasks(
    child: Child, sampler: Sampler, model: dict[str, str], tasks: list[Task]
) -> list[dict[str, Any]]:
    """Run `lighteval:NAME` tasks through lighteval's Pipeline, with answers from our sampler.

    Returns:
        One score per task: metrics and errors as lighteval computes them, and accuracy and interval of the
        first metric, so that it can stand in a table.

    Raises:
        UsageError: no such task.
        RecipeError: the task asks for log-likelihoods, or its dataset cannot be read.
    """
    child.events.send("phase", name="loading lighteval")
    with lighteval() as le:
        return [_run_task(le, child, sampler, model, task) for task in tasks]


@contextlib.contextmanager
def lighteval() -> Iterator[Any]:
    """lighteval's parts that are used, imported with the work-arounds and without its side effects.

    On leaving, torch's gradients and the random states are what they were (its Pipeline turns the first off
    and seeds the others).
    """
    import numpy
    import torch

    grad, states = torch.is_grad_enabled(), (random.getstate(), numpy.random.get_state())
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        metadata.version("lighteval")
    except metadata.PackageNotFoundError:
        raise EnvironmentProblem("lighteval is not installed", fix=install("eval")) from None
    for name in BROKEN_MODULES:
        module = f"{PACKAGE}.{name}"
        sys.modules.setdefault(module, types.ModuleType(module))
    try:
        from lighteval.logging import info_loggers
        from lighteval.logging.evaluation_tracker import EvaluationTracker
        from lighteval.models.abstract_model import LightevalModel, ModelConfig
        from lighteval.models.model_output import ModelResponse
        from lighteval.pipeline import ParallelismManager, Pipeline, PipelineParameters
        from lighteval.tasks.prompt_manager import PromptManager
        from lighteval.tasks.registry import Registry

        setattr(info_loggers, "xxhash", _Xxhash())  # noqa: B010
        # it hands text to xxhash 4, which takes bytes
        yield types.SimpleNamespace(
            EvaluationTracker=EvaluationTracker,
            LightevalModel=LightevalModel,
            ModelConfig=ModelConfig,
            ModelResponse=ModelResponse,
            ParallelismManager=ParallelismManager,
            Pipeline=Pipeline,
            PipelineParameters=PipelineParameters,
            PromptManager=PromptManager,
            Registry=Registry,
        )
    finally:
        torch.set_grad_enabled(grad)
        random.setstate(states[0])
        numpy.random.set_state(states[1])


class _Xxhash:
    """xxhash as lighteval calls it: with text."""

    @staticmethod
    def xxh64(data: str | bytes = b"") -> Any:
        import xxhash

        return xxhash.xxh64(data.encode() if isinstance(data, str) else data)


def _run_task(le: Any, child: Child, sampler: Sampler, model: dict[str, str], task: Task) -> dict[str, Any]:
    values, name = child.values, task.name.removeprefix(LIGHTEVAL)
    folder = child.run.path / "lighteval"
    adapter = _adapter(le, child, sampler, model, task)
    with _tasks_of(le, values, name, child.run.path) as repositories:
        tracker = le.EvaluationTracker(
            output_dir=str(folder),
            results_path_template="{output_dir}/results/{model}",
            save_details=True,
        )
        try:
            pipeline = le.Pipeline(
                tasks=name,
                pipeline_parameters=le.PipelineParameters(
                    launcher_type=le.ParallelismManager.NONE,
                    custom_tasks_directory=_custom_tasks(values["custom_tasks"]),
                    max_samples=values["limit"],
                    remove_reasoning_tags=False,  # the adapter hands out the final part alone
                ),
                evaluation_tracker=tracker,
                model=adapter,
            )
            pipeline.evaluate()
        except OpenR1Error:
            raise
        except Exception as error:
            raise _explain(error, name, next(iter(repositories), "")) from error
    pipeline.save_and_push_results()
    _write_answers(child, model, task, adapter, tracker)
    return _score(child, model, sampler, task, adapter, tracker)


def _write_answers(child: Child, model: dict[str, str], task: Task, adapter: Any, tracker: Any) -> None:
    """Every answer with its question, for `openr1 samples`.

    Right or wrong where lighteval's first metric says so of this one answer, else not judged.
    """
    from openr1.evaluation.run import write_samples

    of_doc = {id(one.doc): one.metric for found in tracker.details_logger.details.values() for one in found}
    rows = []
    for row in adapter.rows:
        doc = adapter.docs[row["row"]]
        metrics = of_doc.get(id(doc)) or {}
        name, value = next(iter(metrics.items()), ("", None))
        judged = doc.num_samples == 1 and value in (0, 1)
        gold = doc.gold_index if isinstance(doc.gold_index, list) else [doc.gold_index]
        rows.append(
            row
            | {
                "problem": doc.query,
                "gold": ", ".join(str(doc.choices[i]) for i in gold if 0 <= i < len(doc.choices)),
                "verdict": ("right" if value else "wrong") if judged else None,
                "reason": f"lighteval's {name}" if judged else None,
            }
        )
    write_samples(child, model["label"], task.name, rows)


def _score(
    child: Child, model: dict[str, str], sampler: Sampler, task: Task, adapter: Any, tracker: Any
) -> dict[str, Any]:
    """lighteval's aggregated metrics as a score of ours."""
    found = {
        key: float(value)
        for results in tracker.metrics_logger.metric_aggregated.values()
        for key, value in results.items()
    }
    errors = {key.removesuffix("_stderr"): v for key, v in found.items() if key.endswith("_stderr")}
    metrics = {key: v for key, v in found.items() if not key.endswith("_stderr")}
    first = next(iter(metrics), None)
    value = metrics[first] if first else 0.0
    rows = adapter.rows
    problems = len({row["row"] for row in rows})
    interval, method = _interval(value, errors.get(first) if first else None, problems)
    return {
        "model": model["label"],
        "path": model["path"],
        "fingerprint": sampler.fingerprint,
        "task": task.name,
        "protocol": f"lighteval-{metadata.version('lighteval')} {adapter.said}",
        "metrics": metrics,
        "errors": errors,
        "accuracy": value,
        "interval": interval,
        "interval_method": method,
        "problems": problems,
        "samples": max((row["index"] for row in rows), default=0) + 1,
        "mean_tokens": sum(row["tokens"] for row in rows) / max(1, len(rows)),
        "truncated": sum(row["finish_reason"] == "length" for row in rows) / max(1, len(rows)),
        "lighteval_files": str(child.run.path / "lighteval"),
    }


def _interval(value: float, error: float | None, problems: int) -> tuple[list[float], str]:
    """95 % from lighteval's standard error, which it has from two problems on (C18).

    Without one, or with one of 0 (all alike, which a few problems cannot show), a share gets Wilson's.
    """
    share = 0.0 <= value <= 1.0
    if not error and share and problems:
        found = wilson(value * problems, problems)
        return [found.low, found.high], "Wilson"
    low, high = (value + sign * z_of() * (error or 0.0) for sign in (-1, 1))
    return [max(0.0, low), min(1.0, high)] if share else [low, high], "lighteval's standard error"


def _adapter(le: Any, child: Child, sampler: Sampler, model: dict[str, str], task: Task) -> Any:
    """A LightevalModel whose answers come from our sampler and ledger."""
    values = child.values
    asked = conditions_of(task, values)
    prompts = le.PromptManager(use_chat_template=True, tokenizer=None, system_prompt=asked.system_prompt)
    # A server renders by itself; a base model's tokenizer has no template and gets plain text.
    template = getattr(getattr(sampler, "prompts", None), "template", "server")

    class Adapter(le.LightevalModel):
        is_async = False
        add_special_tokens = False
        tokenizer = None

        def __init__(self) -> None:
            self.config = le.ModelConfig(model_name=_plain(model["label"]))
            self._cache = types.SimpleNamespace(_init_registry=lambda registry: None)
            self.rows: list[dict[str, Any]] = []
            self.docs: list[Any] = []
            self.said = ""

        @property
        def max_length(self) -> int:
            return sampler.context or 2**31 - 1

        def greedy_until(self, docs: list[Any]) -> list[Any]:
            requests = [
                _request(doc, number, index, prompts, task, template)
                for number, doc in enumerate(docs)
                for index in range(doc.num_samples)
            ]
            # lighteval's transformers backend takes max_new_tokens for the prompt's length (C1); here it is
            # the answer's, the task's own limit when nobody set another.
            limit = values["max_new_tokens"] if _is_set(child, "max_new_tokens") else None
            sizes = [doc.generation_size for doc in docs if doc.generation_size]
            from openr1.evaluation.run import completion_limit

            limit = completion_limit(
                child, sampler, requests, limit or max(sizes, default=asked.max_new_tokens)
            )
            now = replace(asked, num_samples=max((d.num_samples for d in docs), default=1))
            self.said = now.id(limit)
            params = SamplingParams(asked.temperature, asked.top_p, asked.top_k, limit, values["seed"])

            def on_batch(done: int, tokens: int, seconds: float) -> None:
                phase = f"{model['label']} on {task.name}"
                child.events.send("progress", done=done, tokens=tokens, seconds=seconds, phase=phase)
                child.check_stop()

            ledger = Ledger(child.run.samples / "ledger.jsonl")
            child.events.send("start", total=len(requests), done=0, unit="sample")
            said = f"lighteval {now.id(limit, with_samples=False)}"
            drawn = draw(sampler, requests, params, ledger, protocol=said, on_batch=on_batch)
            self.rows, self.docs = drawn.rows, docs
            by_doc: dict[int, list[dict[str, Any]]] = {}
            for row in drawn.rows:
                by_doc.setdefault(row["row"], []).append(row)
            return [
                le.ModelResponse(
                    input=str(requests[0].prompt or doc.query),
                    text=[final_text(row) for row in by_doc[number]],
                    output_tokens=[[] for _ in by_doc[number]],
                )
                for number, doc in enumerate(docs)
            ]

        def loglikelihood(self, docs: list[Any]) -> list[Any]:
            raise _not_generative(task.name)

        def loglikelihood_rolling(self, docs: list[Any]) -> list[Any]:
            raise _not_generative(task.name)

    return Adapter()


def final_text(row: dict[str, Any]) -> str:
    """What lighteval's metrics may read: the part after the reasoning; nothing where that never ended.

    lighteval removes reasoning only where both tags stand in the completion (C7), takes any number of it for
    an answer (C8), and removes it for pass@k but not for avg@n (C9).
    """
    return (final_part(row["text"], row["think_prefilled"]) or "")[-READ_CHARS:]


def _request(doc: Any, number: int, index: int, prompts: Any, task: Task, template: object) -> Request:
    """One doc as lighteval would ask it."""
    stop = tuple(doc.stop_sequences or ())
    if template is None:
        return Request(number, index, (), task.name, prompt=prompts._prepare_plain_text(doc), stop=stop)
    messages = prompts._prepare_chat_template(doc, tokenize=False)
    if doc.instruction and not doc.fewshot_samples and doc.query.startswith(doc.instruction):
        # It cuts the instruction off the query and puts it back without the line break between them.
        messages[-1] = {"role": "user", "content": doc.query}
    return Request(number, index, tuple(messages), task.name, stop=stop)


def _is_set(child: Child, key: str) -> bool:
    """Whether a person chose the value, as the plan says."""
    return key in child.config["plan"].get("set_by_person", [])


@contextlib.contextmanager
def _tasks_of(le: Any, values: dict[str, Any], name: str, run: Path) -> Iterator[list[str]]:
    """lighteval's registry with the local dataset in place of the hub's, for the time of one task.

    Yields:
        the datasets that the task reads, once it is loaded.
    """
    original = le.Registry.load_all_task_configs
    repositories: list[str] = []

    def load(custom_tasks: Any = None, load_multilingual: bool = False) -> dict[str, Any]:
        configs: dict[str, Any] = original(custom_tasks=custom_tasks, load_multilingual=load_multilingual)
        base = name.partition("|")[0].partition("@")[0]
        mine = [key for key in configs if key == base or key.startswith(f"{base}:")]
        if not mine:
            near = nearest(base, configs)
            raise UsageError(
                f"lighteval has no task `{base}`",
                where=f"{LIGHTEVAL}{name}",
                fix=f"did you mean {LIGHTEVAL}{near}?" if near else "a file of your own: --custom_tasks FILE",
            )
        if values["dataset"]:
            for key in mine:
                configs[key].hf_repo = str(_folder_of(Path(values["dataset"]), configs[key], run))
                configs[key].hf_subset, configs[key].hf_revision = "default", None
        repositories.extend(configs[key].hf_repo for key in mine)
        return configs

    le.Registry.load_all_task_configs = staticmethod(load)
    try:
        yield repositories
    finally:
        le.Registry.load_all_task_configs = original


def _folder_of(dataset: Path, config: Any, run: Path) -> Path:
    """A folder lighteval can load: files named like its splits; a single file gets such a folder."""
    if dataset.is_dir():
        return dataset
    split = next(iter(config.evaluation_splits))
    folder = run / "lighteval-data" / _plain(config.name)
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / f"{split}{dataset.suffix}"
    if not link.exists():
        link.symlink_to(dataset.resolve())
    return folder


def _custom_tasks(file: str | None) -> types.ModuleType:
    """Our R1 tasks and those of the user's file, as one module.

    Raises:
        RecipeError: the file cannot be imported or has no TASKS_TABLE.
    """
    from openr1.evaluation import lighteval_tasks

    table = list(lighteval_tasks.TASKS_TABLE)
    if file:
        import importlib.util

        spec = importlib.util.spec_from_file_location("openr1_custom_tasks", file)
        if spec is None or spec.loader is None:
            raise RecipeError("this is no Python file", where=file, fix="name a file with lighteval tasks")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            table += list(module.TASKS_TABLE)
        except Exception as error:
            raise RecipeError(
                f"the custom tasks cannot be loaded: {type(error).__name__}: {error}",
                where=file,
                fix="it must be a lighteval 0.13 file with a TASKS_TABLE (older ones with `suite` fail)",
            ) from error
    both = types.ModuleType("openr1_lighteval_tasks")
    both.TASKS_TABLE = table  # type: ignore[attr-defined]
    return both


def _not_generative(name: str) -> OpenR1Error:
    return RecipeError(
        "this task compares log-likelihoods of given answers; only generative tasks run here",
        where=name,
        fix="use lighteval's own command for it",
    )


def _explain(error: Exception, name: str, repository: str) -> OpenR1Error:
    text = " ".join(str(error).split())[:300] or type(error).__name__
    kinds = {cls.__name__ for cls in type(error).__mro__}
    gated = any(task.gated and task.hub == repository for task in TASKS.values())
    no_access = refused(error, repository, gated)
    if no_access is not None:
        return no_access
    if kinds & {"ConnectionError", "OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectError"}:
        return EnvironmentProblem(
            "the task's dataset is not on this machine and the hub cannot be reached"
            + (f"; the dataset {repository} is gated" if gated else ""),
            where=f"{LIGHTEVAL}{name}",
            fix=f"{accept(repository)}, and connect. Or give the data with --dataset FILE"
            if gated
            else "connect, or give the data with --dataset FILE",
        )
    return RecipeError(
        f"lighteval cannot run this task: {type(error).__name__}: {text}",
        where=f"{LIGHTEVAL}{name}",
        fix="the log has the traceback; with --dataset, are its columns those of the task?",
    )


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in text)
