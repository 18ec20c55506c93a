"""distilabel with our engine: an LLM for any of its pipelines. The only file that knows distilabel (1.5).

    from openr1.generation.distilabel import OpenR1LLM

    llm = OpenR1LLM(
        model="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        ledger="runs/traces/ledger.jsonl",
        generation_kwargs={"temperature": 0.6, "max_new_tokens": 8192},
    )

It draws with vLLM or transformers in the process of the step, or from running servers (`server=[URL, …]`).
What it does that distilabel's own classes do not: every sample is in the ledger as soon as it is drawn, so
that a pipeline that was interrupted goes on with what is missing (run it with `use_cache=False`: distilabel's
own cache hangs after an interruption, distilabel#1065); a prompt that fails is one None, not a batch of them,
and `quarantine` says why; finish reasons and whether the reasoning is complete are in `distilabel_metadata`;
tokens are each sample's own. One replica is enough, and a ledger is for one.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from distilabel.models.llms.base import LLM
from distilabel.models.llms.utils import prepare_output
from pydantic import Field, PrivateAttr, validate_call

from openr1.errors import ComponentFailed, OpenR1Error
from openr1.generation.follow import BEGUN
from openr1.generation.loop import sample_of
from openr1.generation.reasoning import is_complete, restored
from openr1.runs.files import write_json
from openr1.sampling.backend import Engine, Sampler
from openr1.sampling.draw import Tally, protocol_name, stream
from openr1.sampling.ledger import Ledger
from openr1.sampling.quarantine import Quarantine
from openr1.sampling.requests import Failure, Request, SamplingParams

Place = tuple[int, int]
OF_VLLM = {
    "tensor_parallel_size": "tensor_parallel",
    "max_model_len": "max_model_length",
    "gpu_memory_utilization": "gpu_memory_utilization",
}
"""vLLM's names, as distilabel's `extra_kwargs` has them, and ours."""


class OpenR1LLM(LLM):
    """A model that answers through openr1's sampling room.

    Attributes:
        model: hub id, local folder, or builtin:NAME.
        revision: branch, tag or commit of a hub model.
        dtype: number format of the weights.
        trust_remote_code: run code that the repository brings.
        backend: "vllm", "transformers", or "auto": vLLM where a GPU and vLLM are there.
        server: addresses of running OpenAI-compatible servers, which draw instead; `model` is the name they
            know, or "" for the one they have.
        batch_size: completions side by side (at each server); chosen from the machine when not given.
        seed: seed of the sampling.
        ledger: file of finished samples; one pipeline, one file.
        quarantine: file that names what failed, with its reason; the log alone when not given.
        failed: what stands for a sample that failed. distilabel 1.5 cannot write a dataset whose first 50
            rows are all None, so a pipeline where that may happen wants "" here.
        tokenizer: as in distilabel's vLLM class; only the model's own is known.
        extra_kwargs: as in distilabel's vLLM class: tensor_parallel_size, max_model_len,
            gpu_memory_utilization. What the backend does not know is named in the log.
    """

    model: str
    revision: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    backend: Literal["auto", "vllm", "transformers"] = "auto"
    server: list[str] = Field(default_factory=list)
    batch_size: int | None = None
    seed: int = 42
    ledger: str = "runs/distilabel/ledger.jsonl"
    quarantine: str | None = None
    failed: str | None = None
    tokenizer: str | None = None
    extra_kwargs: dict[str, Any] = Field(default_factory=dict)

    _sampler: Any = PrivateAttr(None)
    _ledger: Ledger | None = PrivateAttr(None)
    _seen: Counter[str] = PrivateAttr(default_factory=Counter)

    @property
    def model_name(self) -> str:
        return self.model or "served"

    def load(self) -> None:
        """Load the model, or ask the servers; distilabel calls this in the process of the step."""
        super().load()
        if self.tokenizer not in (None, self.model):
            self._logger.warning(f"tokenizer={self.tokenizer} is not used: the model's own is")
        self._sampler = self._open()

    def unload(self) -> None:
        """Let the model go."""
        if self._sampler is not None:
            self._sampler.close()
        if self._ledger is not None:
            self._ledger.close()
        self._sampler = self._ledger = None
        super().unload()

    def _open(self) -> Sampler:
        if self.server:
            from openr1.sampling.server_backend import ServerSampler

            self._say_unused(self.extra_kwargs)
            return ServerSampler(self.server, self.model or None, per_server=self.batch_size)
        from openr1.data.model_source import model_files

        backend = self.backend if self.backend != "auto" else _backend_here()
        known = {OF_VLLM[key]: self.extra_kwargs[key] for key in OF_VLLM if key in self.extra_kwargs}
        known = known if backend == "vllm" else {}
        self._say_unused([key for key in self.extra_kwargs if OF_VLLM.get(key) not in known])
        return Engine(
            backend,
            model_files(self.model, self.seed, Path(self.ledger).parent),
            dtype=self.dtype,
            revision=self.revision,
            trust_remote_code=self.trust_remote_code,
            batch_size=self.batch_size,
            seed=self.seed,
            **known,
        ).open()

    def _say_unused(self, names: Iterable[str]) -> None:
        unused = ", ".join(names)
        if unused:
            self._logger.warning(f"not used by this backend: {unused}")

    @validate_call
    def generate(
        self,
        inputs: list[Any],
        num_generations: int = 1,
        max_new_tokens: int = 8192,
        temperature: float = 0.6,
        top_p: float = 0.95,
        top_k: int = 0,
    ) -> list[Any]:
        """Answers to a batch of conversations.

        Args:
            inputs: conversations, as lists of messages with role and content; the first may hold `row`, the
                conversation's number, by which its samples are known in the ledger.
            num_generations: answers to each.
            max_new_tokens: the longest answer, in tokens.
            temperature: sampling temperature; 0 is greedy.
            top_p: nucleus sampling's probability mass.
            top_k: keep the k most likely tokens only; 0 is off.

        Returns:
            One entry per conversation: generations (`failed` where one did), and statistics with
            input_tokens, output_tokens, finish_reason, is_reasoning_complete and ledger_key of each.
        """
        requests = self._requests(inputs, num_generations)
        params = SamplingParams(temperature, top_p, top_k or None, max_new_tokens, self._seed_of(requests))
        drawn = self._draw(requests, params)
        starts = range(0, len(requests), num_generations)
        groups = [requests[at : at + num_generations] for at in starts]
        return [self._output([drawn.get((r.row, r.index)) for r in group], group) for group in groups]

    def _requests(self, inputs: Sequence[Any], count: int) -> list[Request]:
        """A request per answer. Its `row`, where none is told, is a hash of the conversation and of how often
        it came: twins differ."""
        requests = []
        for conversation in inputs:
            messages = tuple({"role": m["role"], "content": m["content"]} for m in conversation)
            name = json.dumps(messages, sort_keys=True)
            row = conversation[0].get("row", _number(f"{self._seen[name]}/{name}"))
            requests += [Request(row, index, messages) for index in range(count)]
            self._seen[name] += 1
        return requests

    def _seed_of(self, requests: Sequence[Request]) -> int:
        """The one seed, where every sample makes its own of it; else a seed per batch, by what is in it: an
        interrupted pipeline draws what it would have drawn."""
        if self._sampler.unit_size == 1:
            return self.seed
        return _number(json.dumps([self.seed, *(r.row for r in requests)]))

    def _draw(self, requests: Sequence[Request], params: SamplingParams) -> dict[Place, dict[str, Any]]:
        """Samples by row and index; where a batch fails, its requests are tried one by one."""
        if self._ledger is None:
            self._ledger = Ledger(Path(self.ledger))
        ledger = self._ledger
        try:
            for drawn in stream(self._sampler, requests, params, ledger, Tally(), stopped=self._stopped):
                for request, key, outcome in drawn:
                    if isinstance(outcome, Failure):
                        self._set_aside(request, key, outcome)
        except OpenR1Error:
            raise
        except Exception as error:
            if len(requests) == 1:
                said = Failure("bad answer", f"{type(error).__name__}: {error}", 1, self.model_name)
                key = requests[0].key(self._sampler.fingerprint, protocol_name(params))
                self._set_aside(requests[0], key, said)
                return {}
            for request in requests:
                self._draw([request], params)
        ways = [params]
        found = ((r, sample_of(r, ledger, self._sampler.fingerprint, ways)) for r in requests)
        return {(request.row, request.index): row for request, row in found if row}

    def _set_aside(self, request: Request, key: str, failure: Failure) -> None:
        """Say, and write down, that a sample failed."""
        self._logger.warning(f"a sample failed: {failure.kind}: {failure.reason}")
        if self.quarantine:
            Quarantine(Path(self.quarantine)).add(request, key, failure)

    def _stopped(self) -> bool:
        """Whether no more is to be drawn."""
        return False

    def _output(self, samples: Sequence[dict[str, Any] | None], group: Sequence[Request]) -> Any:
        """What distilabel expects of one conversation."""
        told = next((s["prompt_tokens"] for s in samples if s and s.get("prompt_tokens")), None)
        length = told if told is not None else next(iter(self._sampler.prompt_lengths(group[:1])), 0)
        texts = [restored(s["text"], s["think_prefilled"]) if s else self.failed for s in samples]
        output: Any = prepare_output(
            texts,
            input_tokens=[length],
            output_tokens=[s["tokens"] if s else 0 for s in samples],
        )
        reasons = [s["finish_reason"] if s else "error" for s in samples]
        output["statistics"]["finish_reason"] = reasons
        output["statistics"]["is_reasoning_complete"] = [
            is_complete(text or "", reason) for text, reason in zip(texts, reasons, strict=True)
        ]
        output["statistics"]["ledger_key"] = [s["key"] if s else "" for s in samples]
        return output


class PlannedLLM(OpenR1LLM):
    """The class as `openr1 generate --engine distilabel` runs it: it samples where the run's plan says.

    Attributes:
        plan: the plan's `sampling`.
        values: the run's resolved values.
        stop: no more is drawn once this file is there; an error that ends the run is written to it. Beside it
            `follow.BEGUN` says that the model is loaded.
    """

    plan: dict[str, Any]
    values: dict[str, Any]
    stop: str

    def load(self) -> None:
        with self._told():
            super().load()
            write_json(Path(self.stop).with_name(BEGUN), {"fingerprint": self._sampler.fingerprint})

    def _draw(self, requests: Sequence[Request], params: SamplingParams) -> dict[Place, dict[str, Any]]:
        with self._told():
            return super()._draw(requests, params)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """distilabel logs an error and goes on with a batch of None; ours are to end the run."""
        try:
            yield
        except OpenR1Error as error:
            write_json(Path(self.stop), error.as_dict())
            raise

    def _open(self) -> Sampler:
        from openr1.sampling.opening import open_sampler

        scratch = Path(self.ledger).parents[1]
        sampler = open_sampler(self.plan, self.values, self.model, scratch, revision=self.revision)
        if self.plan["backend"] == "transformers" and self.values["threads"]:
            import torch

            torch.set_num_threads(self.values["threads"])
        return sampler

    def _stopped(self) -> bool:
        return Path(self.stop).exists()


def _backend_here() -> str:
    import torch

    return "vllm" if torch.cuda.is_available() and importlib.util.find_spec("vllm") else "transformers"


def _number(text: str) -> int:
    """31 bits of a hash."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) & 0x7FFFFFFF


def run_pipeline(
    sent: Iterable[Sequence[dict[str, str]]],
    llm: OpenR1LLM,
    *,
    num_generations: int,
    batch_size: int,
    cache: Path,
) -> dict[Place, str]:
    """The seed's pipeline over conversations: load, generate.

    Args:
        sent: what the model is given for each row.
        batch_size: conversations per batch of the pipeline.
        cache: folder for what distilabel keeps on the disk.

    Returns:
        The ledger's keys of the samples in its rows, by row and index; failed ones are left out.

    Raises:
        ComponentFailed: the pipeline ended without rows.
    """
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import ChatGeneration

    with Pipeline(name="openr1", cache_dir=str(cache)) as pipeline:
        rows = [
            {"row": number, "messages": [{**turn, "row": number} for turn in messages]}
            for number, messages in enumerate(sent)
        ]
        source = LoadDataFromDicts(data=rows, batch_size=batch_size)
        task = ChatGeneration(
            name="generation", llm=llm, num_generations=num_generations, input_batch_size=batch_size
        )
        source >> task
    found = pipeline.run(use_cache=False)
    if "default" not in found:
        raise ComponentFailed("the distilabel pipeline ended without rows", fix="the log has its own words")
    keys: dict[Place, str] = {}
    seen = Counter[int]()
    for row in found["default"]["train"]:
        index = seen[row["row"]]
        seen[row["row"]] += 1
        key = row["distilabel_metadata"]["statistics_generation"]["ledger_key"]
        if key:
            keys[row["row"], index] = key
    return keys
