"""Sampling with vLLM in this process: the one file that knows vLLM (0.22 and newer; child processes only)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from openr1.data.model_source import check_loadable
from openr1.errors import EnvironmentProblem, RecipeError
from openr1.extras import install
from openr1.sampling.backend import Engine
from openr1.sampling.prompts import Prompt, Prompts
from openr1.sampling.requests import Completion, Failure, Request, SamplingParams, Unit, ends_in_think
from openr1.sampling.weights import model_fingerprint

IN_FLIGHT = 256
"""Requests the engine knows at once: more than it runs, so that a free place is filled at once."""
CPU_KV_GIB = 1  # where the person says nothing; vLLM's own choice is a share of the machine's memory


class VllmSampler:
    """One vLLM engine, driven step by step, so that every answer is handed on as it ends."""

    def __init__(self, engine: Engine) -> None:
        """Start the engine.

        Raises:
            EnvironmentProblem: vLLM is not installed or does not start.
            RecipeError: no such model, or it does not fit what was asked for.
        """
        import torch

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        kwargs: dict[str, Any] = {}
        dtype: Any = engine.dtype
        if self.device == "cpu":
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(CPU_KV_GIB))
            # One process: nothing is left behind when this one is killed.
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
            # Bound to cores, several engines would all take the first ones.
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
            kwargs["enforce_eager"] = True
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        try:
            import vllm
        except ImportError as error:
            raise EnvironmentProblem(
                f"vLLM cannot be imported: {error}",
                fix=f"{install('vllm')}, or --backend transformers",
            ) from error
        config = check_loadable(
            engine.source, revision=engine.revision, trust_remote_code=engine.trust_remote_code
        )
        if dtype == "auto" and self.device == "cpu":
            dtype = "float32"
        try:
            self.llm: Any = vllm.LLM(
                model=engine.source,
                revision=engine.revision,
                tokenizer_revision=engine.revision,
                trust_remote_code=engine.trust_remote_code,
                dtype=dtype,
                seed=engine.seed,
                tensor_parallel_size=engine.tensor_parallel,
                max_model_len=engine.max_model_length,
                gpu_memory_utilization=engine.gpu_memory_utilization,
                max_num_seqs=engine.batch_size or IN_FLIGHT,
                **kwargs,
            )
        except (ValueError, RuntimeError, NotImplementedError) as error:
            raise _explain(error, engine.source) from error
        self.tokenizer = self.llm.get_tokenizer()
        self.prompts = Prompts(self.tokenizer, engine.source, engine.chat_template)
        self.fingerprint = model_fingerprint(engine.source, getattr(config, "_commit_hash", None))
        self.unit_size = 1

    @property
    def context(self) -> int | None:
        return int(self.llm.llm_engine.model_config.max_model_len)

    def prompt_lengths(self, requests: Sequence[Request]) -> list[int]:
        return [len(ids) for ids in self.prompts.ids(requests)]

    def run(
        self, units: Iterable[Unit | None], params: SamplingParams
    ) -> Iterator[tuple[Unit, list[Completion | Failure]]]:
        """Keep the engine full; every unit is one request with a seed of its own."""
        engine = self.llm.llm_engine
        source = iter(units)
        waiting: dict[str, tuple[Unit, Prompt]] = {}
        more = True
        try:
            while more or waiting:
                while more and len(waiting) < IN_FLIGHT:
                    unit = next(source, StopIteration)
                    if unit is StopIteration:
                        more = False
                    elif unit is None:
                        break
                    else:
                        assert isinstance(unit, Unit)
                        prompt = self._add(unit, params)
                        if isinstance(prompt, Failure):
                            yield unit, [prompt]
                        else:
                            waiting[str(unit.number)] = (unit, prompt)
                if not waiting:
                    continue
                for output in engine.step():
                    if output.finished:
                        unit, prompt = waiting.pop(output.request_id)
                        yield unit, [self._completion(output, prompt, params)]
        finally:
            if waiting:
                engine.abort_request(list(waiting))

    def close(self) -> None:
        """Free the cards for the next engine."""
        engine = getattr(self.llm, "llm_engine", None)
        core = getattr(engine, "engine_core", None)
        if core is not None:
            core.shutdown()

    def _add(self, unit: Unit, params: SamplingParams) -> Prompt | Failure:
        """Hand a request to the engine, or say why it cannot be asked."""
        from vllm import SamplingParams as VllmParams
        from vllm.sampling_params import RequestOutputKind

        (request,) = unit.requests
        prompt = self.prompts.fitted(request, params.max_new_tokens, self.context)
        if isinstance(prompt, Failure):
            return prompt
        how = VllmParams(
            temperature=params.temperature,
            top_p=params.top_p if params.temperature > 0 else 1.0,
            top_k=(params.top_k or 0) if params.temperature > 0 else 0,
            max_tokens=prompt.limit,
            seed=request.seed(params) if params.temperature > 0 else None,
            stop=list(request.stop) or None,
            detokenize=bool(request.stop),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        try:
            self.llm.llm_engine.add_request(str(unit.number), {"prompt_token_ids": prompt.ids}, how)
        except ValueError as error:  # of this prompt: nothing has been drawn for it
            return Failure("refused", f"vLLM refuses the prompt: {error}", 1, self.prompts.source)
        return prompt

    def _completion(self, output: Any, prompt: Prompt, params: SamplingParams) -> Completion | Failure:
        (found,) = output.outputs
        if found.finish_reason not in ("stop", "length"):
            said = f"vLLM ended the answer with `{found.finish_reason}`"
            return Failure("bad answer", said, 1, self.prompts.source)
        ids = list(found.token_ids)
        stopped = isinstance(found.stop_reason, str)
        return Completion(
            text=found.text if stopped else str(self.tokenizer.decode(ids, skip_special_tokens=True)),
            tokens=len(ids),
            finish_reason=found.finish_reason,
            think_prefilled=ends_in_think(prompt.text),
            limit=prompt.shortened(params.max_new_tokens),
        )


def _explain(error: Exception, source: str) -> Exception:
    """What vLLM says when it cannot start, as what a person can do about it."""
    text = " ".join(str(error).split())
    if "max_model_len" in text or "max seq len" in text or "KV cache" in text:
        return RecipeError(
            f"vLLM has no room for the model's context: {text[:300]}",
            where=source,
            fix="--max_model_length N, or more memory with --gpu_memory_utilization",
        )
    if "head size" in text.lower() or "head_dim" in text.lower() or "head_size" in text.lower():
        return RecipeError(
            f"vLLM has no attention kernel for this model here: {text[:300]}",
            where=source,
            fix="--backend transformers",
        )
    return EnvironmentProblem(
        f"vLLM does not start: {text[:300]}",
        where=source,
        fix="--backend transformers; the log has the traceback",
    )
