"""Sampling with transformers' own `generate`: any machine, no server (child processes only)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from openr1.data.model_source import explain_missing
from openr1.extras import without
from openr1.sampling.backend import Engine
from openr1.sampling.compact import sample
from openr1.sampling.prompts import Prompt, Prompts
from openr1.sampling.requests import Completion, Failure, Request, SamplingParams, Unit, ends_in_think
from openr1.sampling.weights import model_fingerprint

with without("sklearn"):  # two seconds, for a curve of assisted decoding
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        GenerationConfig,
        StoppingCriteriaList,
        StopStringCriteria,
    )

BATCH_ON_CPU = 128
BATCH_ON_GPU = 64


class TransformersSampler:
    """A model and its tokenizer, ready to complete conversations in static batches."""

    def __init__(
        self,
        source: str,
        *,
        dtype: str = "auto",
        revision: str | None = None,
        trust_remote_code: bool = False,
        chat_template: str | None = None,
        batch_size: int | None = None,
        context: int | None = None,
    ) -> None:
        """Load a model.

        Args:
            batch_size: completions side by side; None takes the device's default.
            context: a shorter context than the model's own, in tokens.

        Raises:
            RecipeError, EnvironmentProblem: no such model, no chat template, or the hub cannot be reached.
        """
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if dtype == "auto" and self.device == "cpu":
            dtype = "float32"  # bf16 on a CPU without AMX is slower, and fp32 is what training used
        kwargs: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", **kwargs)
            model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **kwargs)
        except (OSError, ValueError) as error:
            raise explain_missing(error, source) from error
        name = model_fingerprint(source, getattr(model.config, "_commit_hash", None))
        self._hold(model.to(self.device).eval(), source, name, chat_template, batch_size, context)

    @classmethod
    def around(
        cls, model: Any, tokenizer: Any, *, name: str, chat_template: str | None, batch_size: int | None
    ) -> TransformersSampler:
        """A sampler of a model that is in memory already, in evaluation mode; the tokenizer is not changed.

        Args:
            name: stands for the weights, which nobody has fingerprinted.
        """
        made = cls.__new__(cls)
        made.device = model.device.type
        made.tokenizer = copy.deepcopy(tokenizer)
        made.tokenizer.padding_side = "left"
        made._hold(model, name, name, chat_template, batch_size, None)
        return made

    def _hold(
        self,
        model: Any,
        source: str,
        fingerprint: str,
        chat_template: str | None,
        batch_size: int | None,
        context: int | None,
    ) -> None:
        self.model = model
        self.prompts = Prompts(self.tokenizer, source, chat_template)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        eos = self.model.generation_config.eos_token_id
        listed = eos if isinstance(eos, list) else [eos]
        # Every id that ends a turn, the model's own list included; lighteval and older TRL drop the others.
        self.eos = [i for i in dict.fromkeys([*listed, self.tokenizer.eos_token_id]) if i is not None]
        self.fingerprint = fingerprint
        self.unit_size = batch_size or (BATCH_ON_CPU if self.device == "cpu" else BATCH_ON_GPU)
        self._context = context

    @property
    def context(self) -> int | None:
        """Longest prompt plus completion, in tokens; None where the config does not say."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        limits = [int(x) for x in (limit, self._context) if x]
        return min(limits, default=None)

    def prompt_text(self, messages: Sequence[dict[str, str]]) -> str:
        """A conversation as the model reads it."""
        return self.prompts.text(Request(0, 0, tuple(messages)))

    def prompt_lengths(self, requests: Sequence[Request]) -> list[int]:
        return [len(ids) for ids in self.prompts.ids(requests)]

    def run(
        self, units: Iterable[Unit | None], params: SamplingParams
    ) -> Iterator[tuple[Unit, list[Completion | Failure]]]:
        """One static batch after the other."""
        for unit in units:
            if unit is not None:
                yield unit, self.complete(unit.requests, params, unit.number)

    def close(self) -> None:
        """Nothing but memory is held."""

    def complete(
        self, requests: Sequence[Request], params: SamplingParams, number: int
    ) -> list[Completion | Failure]:
        """One static batch: (batch, longest prompt) tokens in, up to max_new_tokens more out.

        On a CPU the rows that have ended are dropped from it (see `compact`). Prompts beside which the
        context leaves less are drawn apart from the others, so that a long one costs nobody else's tokens.

        Args:
            number: the batch's place in the whole; with the seed it decides the random draws, so that a run
                that continues draws what one that was never stopped would have drawn.
        """
        found: dict[int, Completion | Failure] = {}
        batches: dict[int, dict[int, Prompt]] = {}  # by their limit
        for place, request in enumerate(requests):
            prompt = self.prompts.fitted(request, params.max_new_tokens, self.context)
            if isinstance(prompt, Failure):
                found[place] = prompt
            else:
                batches.setdefault(prompt.limit, {})[place] = prompt
        for limit, batch in batches.items():
            name = f"{params.seed}/{number}" + (f"/{limit}" if limit < params.max_new_tokens else "")
            mine = [requests[place] for place in batch]
            found |= zip(batch, self._draw(mine, list(batch.values()), params, name), strict=True)
        return [found[place] for place in range(len(requests))]

    def _draw(
        self, requests: Sequence[Request], prompts: Sequence[Prompt], params: SamplingParams, name: str
    ) -> list[Completion]:
        """Prompts of one limit, side by side; `name` decides the random draws."""
        inputs = self.tokenizer.pad({"input_ids": [p.ids for p in prompts]}, return_tensors="pt")
        inputs = inputs.to(self.device)
        stops = tuple(dict.fromkeys(text for request in requests for text in request.stop))
        torch.manual_seed(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                generation_config=self._generation_config(params, prompts[0].limit),
                # Made here: with a `custom_generate` transformers' own making of it lacks the tokenizer.
                stopping_criteria=StoppingCriteriaList(
                    [StopStringCriteria(self.tokenizer, list(stops))] if stops else []
                ),
                custom_generate=sample if self.device == "cpu" else None,
            )
        completions = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [
            self._completion(prompt, ids, request.stop, params)
            for prompt, ids, request in zip(prompts, completions, requests, strict=True)
        ]

    def _generation_config(self, params: SamplingParams, limit: int) -> GenerationConfig:
        """Everything said: a value left out would be taken from the model's own generation_config."""
        drawn = params.temperature > 0
        return GenerationConfig(
            max_new_tokens=limit,
            do_sample=drawn,
            temperature=params.temperature if drawn else 1.0,
            top_p=params.top_p if drawn else 1.0,
            top_k=(params.top_k or 0) if drawn else 50,
            repetition_penalty=1.0,
            eos_token_id=self.eos,
            pad_token_id=self.tokenizer.pad_token_id,
        )

    def _completion(
        self, prompt: Prompt, ids: list[int], stop: tuple[str, ...], params: SamplingParams
    ) -> Completion:
        end = next((i for i, token in enumerate(ids) if token in self.eos), None)
        kept = ids if end is None else ids[: end + 1]
        text = str(self.tokenizer.decode(kept, skip_special_tokens=True))
        cut = min((at for at in (text.find(s) for s in stop) if at >= 0), default=None)
        if cut is not None and end is None:
            while kept and kept[-1] == self.tokenizer.pad_token_id:
                kept = kept[:-1]  # the batch went on after this one had ended
        return Completion(
            text=text if cut is None else text[:cut],
            tokens=len(kept),
            finish_reason="length" if end is None and cut is None else "stop",
            think_prefilled=ends_in_think(prompt.text),
            limit=prompt.shortened(params.max_new_tokens),
        )


def open_sampler(engine: Engine) -> TransformersSampler:
    """The sampler of an Engine (see `backend.BACKENDS`)."""
    return TransformersSampler(
        engine.source,
        dtype=engine.dtype,
        revision=engine.revision,
        trust_remote_code=engine.trust_remote_code,
        chat_template=engine.chat_template,
        batch_size=engine.batch_size,
        context=engine.max_model_length,
    )
