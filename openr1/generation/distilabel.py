"""distilabel with our engine: an LLM for any of its pipelines. The only file that knows distilabel (1.5).

    from openr1.generation.distilabel import OpenR1LLM

    llm = OpenR1LLM(
        model="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        ledger="runs/traces/ledger.jsonl",
        generation_kwargs={"temperature": 0.6, "max_new_tokens": 8192},
    )

What it does that distilabel's own classes do not: every sample is in the ledger as soon as its batch is
drawn, so that a pipeline that was interrupted goes on with what is missing (run it with `use_cache=False`:
distilabel's own cache hangs after an interruption, distilabel#1065); a prompt that fails is one None, not a
batch of them; finish reasons and whether the reasoning is complete are in `distilabel_metadata`; tokens are
each sample's own.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from distilabel.models.llms.base import LLM
from distilabel.models.llms.utils import prepare_output
from pydantic import Field, PrivateAttr, validate_call

from openr1.errors import ComponentFailed, OpenR1Error
from openr1.generation.reasoning import is_complete, restored
from openr1.sampling.requests import Request, SamplingParams

Place = tuple[int, int]


class OpenR1LLM(LLM):
    """A model that answers through openr1's sampling room.

    Attributes:
        model: hub id, local folder, or builtin:NAME.
        revision: branch, tag or commit of a hub model.
        dtype: number format of the weights.
        trust_remote_code: run code that the repository brings.
        batch_size: completions side by side; chosen from the machine when not given.
        seed: seed of the sampling.
        ledger: file of finished samples; one pipeline, one file.
        tokenizer: as in distilabel's vLLM class; only the model's own is known.
        extra_kwargs: as in distilabel's vLLM class, whose engine takes them; transformers takes none.
    """

    model: str
    revision: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    batch_size: int | None = None
    seed: int = 42
    ledger: str = "runs/distilabel/ledger.jsonl"
    tokenizer: str | None = None
    extra_kwargs: dict[str, Any] = Field(default_factory=dict)

    _sampler: Any = PrivateAttr(None)
    _seen: Counter[str] = PrivateAttr(default_factory=Counter)

    @property
    def model_name(self) -> str:
        return self.model

    def load(self) -> None:
        """Load the model; distilabel calls this in the process of the step."""
        super().load()
        from openr1.data.model_source import model_files
        from openr1.sampling.transformers_backend import TransformersSampler

        if self.tokenizer not in (None, self.model):
            self._logger.warning(f"tokenizer={self.tokenizer} is not used: the model's own is")
        if self.extra_kwargs:
            self._logger.warning(f"not used by this backend: {', '.join(self.extra_kwargs)}")
        self._sampler = TransformersSampler(
            model_files(self.model, self.seed, Path(self.ledger).parent),
            dtype=self.dtype,
            revision=self.revision,
            trust_remote_code=self.trust_remote_code,
            batch_size=self.batch_size,
        )

    def unload(self) -> None:
        """Let the model go."""
        self._sampler = None
        super().unload()

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
            inputs: conversations, as lists of messages with role and content.
            num_generations: answers to each.
            max_new_tokens: the longest answer, in tokens.
            temperature: sampling temperature; 0 is greedy.
            top_p: nucleus sampling's probability mass.
            top_k: keep the k most likely tokens only; 0 is off.

        Returns:
            One entry per conversation: generations (None where one failed), and statistics with input_tokens,
            output_tokens, finish_reason and is_reasoning_complete of each.
        """
        requests = self._requests(inputs, num_generations)
        params = SamplingParams(temperature, top_p, top_k or None, max_new_tokens, self._seed_of(requests))
        drawn = self._draw(requests, params)
        starts = range(0, len(requests), num_generations)
        groups = [requests[at : at + num_generations] for at in starts]
        return [self._output([drawn.get((r.row, r.index)) for r in group], group) for group in groups]

    def _requests(self, inputs: Sequence[Any], count: int) -> list[Request]:
        """A request per answer. Its `row` names the conversation and how often it came: twins differ."""
        requests = []
        for conversation in inputs:
            messages = tuple({"role": m["role"], "content": m["content"]} for m in conversation)
            name = json.dumps(messages, sort_keys=True)
            row = _number(f"{self._seen[name]}/{name}")
            requests += [Request(row, index, messages) for index in range(count)]
            self._seen[name] += 1
        return requests

    def _seed_of(self, requests: Sequence[Request]) -> int:
        """A seed per batch, by what is in it: an interrupted pipeline draws what it would have drawn."""
        return _number(json.dumps([self.seed, *(r.row for r in requests)]))

    def _draw(self, requests: Sequence[Request], params: SamplingParams) -> dict[Place, dict[str, Any]]:
        """Samples by row and index; where a batch fails, its requests are tried one by one."""
        from openr1.sampling.draw import draw
        from openr1.sampling.ledger import Ledger

        try:
            ledger = Ledger(Path(self.ledger))
            drawn = draw(self._sampler, requests, params, ledger, on_batch=lambda *progress: None)
        except OpenR1Error:
            raise
        except Exception as error:
            if len(requests) == 1:
                self._logger.warning(f"a sample failed: {type(error).__name__}: {error}")
                return {}
            found: dict[Place, dict[str, Any]] = {}
            for request in requests:
                found |= self._draw([request], params)
            return found
        return {(row["row"], row["index"]): row for row in drawn.rows}

    def _output(self, samples: Sequence[dict[str, Any] | None], group: Sequence[Request]) -> Any:
        """What distilabel expects of one conversation."""
        prompt = self._sampler.prompt_text(group[0].messages)
        length = len(self._sampler.tokenizer(prompt, add_special_tokens=False)["input_ids"])
        texts = [restored(s["text"], s["think_prefilled"]) if s else None for s in samples]
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
        return output


def _number(text: str) -> int:
    """31 bits of a hash."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) & 0x7FFFFFFF


def run_pipeline(
    sent: Sequence[Sequence[dict[str, str]]],
    llm: OpenR1LLM,
    *,
    num_generations: int,
    batch_size: int,
    cache: Path,
) -> list[dict[str, Any]]:
    """The seed's pipeline over conversations: load, generate; its rows as the rows of a ledger.

    Args:
        sent: what the model is given for each row.
        batch_size: conversations per batch of the pipeline.
        cache: folder for what distilabel keeps on the disk.

    Raises:
        ComponentFailed: the pipeline ended without rows.
    """
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import ChatGeneration

    with Pipeline(name="openr1", cache_dir=str(cache)) as pipeline:
        rows = [{"row": number, "messages": list(messages)} for number, messages in enumerate(sent)]
        source = LoadDataFromDicts(data=rows, batch_size=batch_size)
        task = ChatGeneration(
            name="generation", llm=llm, num_generations=num_generations, input_batch_size=batch_size
        )
        source >> task
    found = pipeline.run(use_cache=False)
    if "default" not in found:
        raise ComponentFailed("the distilabel pipeline ended without rows", fix="the log has its own words")
    return _as_samples(found["default"]["train"])


def _as_samples(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """distilabel's rows as those of a ledger; failed ones are left out."""
    samples, seen = [], Counter[int]()
    for row in rows:
        index = seen[row["row"]]
        seen[row["row"]] += 1
        if row["generation"] is None:
            continue
        statistics = row["distilabel_metadata"]["statistics_generation"]
        samples.append(
            {
                "row": row["row"],
                "index": index,
                "text": row["generation"],
                "tokens": statistics["output_tokens"],
                "finish_reason": statistics["finish_reason"],
                "prompt_tokens": statistics["input_tokens"],
            }
        )
    return samples
