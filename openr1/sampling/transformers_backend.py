"""Sampling with transformers' own `generate`: any machine, no server (child processes only)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from openr1.data.model_source import explain_missing
from openr1.errors import RecipeError
from openr1.sampling.requests import Completion, Request, SamplingParams


class TransformersSampler:
    """A model and its tokenizer, ready to complete conversations in batches."""

    def __init__(
        self,
        source: str,
        *,
        dtype: str = "auto",
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Load a model.

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
        self.model = model.to(self.device).eval()
        if self.tokenizer.chat_template is None:
            raise RecipeError(
                "this model's tokenizer has no chat template",
                where=source,
                fix="use an instruct or trained model",
            )
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        eos = self.model.generation_config.eos_token_id
        listed = eos if isinstance(eos, list) else [eos]
        # Every id that ends a turn, the model's own list included; lighteval and older TRL drop the others.
        self.fingerprint = model_fingerprint(source)
        self.eos = [i for i in dict.fromkeys([*listed, self.tokenizer.eos_token_id]) if i is not None]

    @property
    def context(self) -> int | None:
        """Longest prompt plus completion, in tokens; None where the config does not say."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(limit) if limit else None

    def prompt_text(self, messages: Sequence[dict[str, str]]) -> str:
        text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return str(text)

    def complete(self, requests: Sequence[Request], params: SamplingParams, number: int) -> list[Completion]:
        """One static batch: (batch, longest prompt) tokens in, up to max_new_tokens more out.

        Args:
            number: the batch's place in the whole; with the seed it decides the random draws, so that a run
                that continues draws what one that was never stopped would have drawn.
        """
        prompts = [self.prompt_text(request.messages) for request in requests]
        # The template has written the special tokens; adding them again gives a second BOS (open-r1#462).
        inputs = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs = inputs.to(self.device)
        torch.manual_seed(int(hashlib.sha256(f"{params.seed}/{number}".encode()).hexdigest()[:8], 16))
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                generation_config=self._generation_config(params),
            )
        completions = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._completion(p, ids) for p, ids in zip(prompts, completions, strict=True)]

    def _generation_config(self, params: SamplingParams) -> GenerationConfig:
        """Everything said: a value left out would be taken from the model's own generation_config."""
        sample = params.temperature > 0
        return GenerationConfig(
            max_new_tokens=params.max_new_tokens,
            do_sample=sample,
            temperature=params.temperature if sample else 1.0,
            top_p=params.top_p if sample else 1.0,
            top_k=(params.top_k or 0) if sample else 50,
            repetition_penalty=1.0,
            eos_token_id=self.eos,
            pad_token_id=self.tokenizer.pad_token_id,
        )

    def _completion(self, prompt: str, ids: list[int]) -> Completion:
        end = next((i for i, token in enumerate(ids) if token in self.eos), None)
        kept = ids if end is None else ids[: end + 1]
        return Completion(
            text=str(self.tokenizer.decode(kept, skip_special_tokens=True)),
            tokens=len(kept),
            finish_reason="length" if end is None else "stop",
            think_prefilled=prompt.rstrip().endswith("<think>"),
        )


def model_fingerprint(source: str) -> str:
    """A short name for these weights: a checkpoint overwritten at the same path is a different model."""
    folder = Path(source)
    if not folder.is_dir():
        return source
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:16]
