"""Decoding that drops the rows that have ended.

transformers' `generate` feeds every row until the longest has ended; the others cost as much and yield
padding. On a CPU, where a decoding step costs in proportion to its rows, that is half of the time or more. A
GPU's step costs the same with fewer rows, and asking which have ended would make it wait.

The distribution of the completions is the same. The draws are others from the first drop on, because the
random numbers of a step are dealt to fewer rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

DROP_SHARE = 1 / 8
"""Rows are dropped when so many of the batch have ended: a drop copies the cache once, as every step does."""


BY_ROW = {"attention_mask", "position_ids"}  # the model's arguments that this loop knows to have a row each


@contextlib.contextmanager
def dropping_finished_rows(model: Any) -> Iterator[None]:
    """Within it, `model.generate` decodes with `sample`."""
    generate, before = model.generate, vars(model).get("generate")

    def with_drops(*args: Any, **kwargs: Any) -> Any:
        return generate(*args, custom_generate=sample, **kwargs)

    model.generate = with_drops  # of this object only
    try:
        yield
    finally:
        if before is None:
            del model.generate
        else:
            model.generate = before


def sample(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    synced_gpus: bool = False,
    streamer: Any = None,
    **model_kwargs: Any,
) -> Any:
    """`GenerationMixin._sample` for plain decoding; whatever else is asked for goes there.

    Returns:
        Token ids (rows, prompt + longest completion); after a row's end, padding.
    """
    arguments = (input_ids, logits_processor, stopping_criteria, generation_config)
    if not _plain(model, generation_config, model_kwargs, synced_gpus, streamer):
        return type(model)._sample(
            model, *arguments, synced_gpus=synced_gpus, streamer=streamer, **model_kwargs
        )
    prompt = input_ids.shape[1]
    places = torch.arange(len(input_ids), device=input_ids.device)  # of the rows still here
    padding = generation_config._pad_token_tensor
    done = torch.full(
        (len(input_ids), stopping_criteria.max_length),
        int(padding),
        dtype=input_ids.dtype,
        device=input_ids.device,
    )
    done[:, :prompt] = input_ids
    ended = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
    outputs = model._prefill(input_ids, generation_config, model_kwargs, is_first_iteration=True)
    while True:
        model_kwargs = model._update_model_kwargs_for_generation(
            outputs, model_kwargs, is_encoder_decoder=False
        )
        logits = outputs.logits[:, -1].to(copy=True, dtype=torch.float32)
        scores = logits_processor(input_ids, logits)
        if generation_config.do_sample:
            tokens = torch.multinomial(scores.softmax(dim=-1), num_samples=1).squeeze(1)
        else:
            tokens = scores.argmax(dim=-1)
        tokens = torch.where(ended, padding, tokens)
        input_ids = torch.cat([input_ids, tokens[:, None]], dim=1)
        done[places, input_ids.shape[1] - 1] = tokens
        ended = ended | stopping_criteria(input_ids, None)
        number = int(ended.sum())
        if number == len(ended):
            return done[:, : input_ids.shape[1]]
        if number >= DROP_SHARE * len(ended):
            kept = (~ended).nonzero().squeeze(1)
            places, input_ids, ended = places[kept], input_ids[kept], ended[kept]
            model_kwargs = {key: _rows(value, kept) for key, value in model_kwargs.items()}
        inputs = model.prepare_inputs_for_generation(input_ids, next_sequence_length=1, **model_kwargs)
        outputs = model(**inputs, return_dict=True)


def _plain(model: Any, config: Any, model_kwargs: dict[str, Any], synced_gpus: bool, streamer: Any) -> bool:
    cache = model_kwargs.get("past_key_values")
    tensors = {key: value for key, value in model_kwargs.items() if isinstance(value, torch.Tensor)}
    return (
        all(key in BY_ROW and value.dim() == 2 for key, value in tensors.items())
        and not (synced_gpus or streamer or config.return_dict_in_generate or model.config.is_encoder_decoder)
        and config._pad_token_tensor is not None
        and bool(model_kwargs.get("use_cache"))
        and isinstance(cache, DynamicCache)
        and all(type(layer) is DynamicLayer for layer in cache.layers)
    )


def _rows(value: Any, kept: torch.Tensor) -> Any:
    """The kept rows of an argument of the model: of its cache, in place; of what has a row per completion."""
    if isinstance(value, DynamicCache):
        value.batch_select_indices(kept)
    elif isinstance(value, torch.Tensor):
        return value[kept]
    return value
