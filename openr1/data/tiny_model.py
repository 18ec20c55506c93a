"""Built-in model `builtin:tiny-qwen2`: a Qwen2 of under a million random weights with its own tokenizer.

API:
    parse_model(name)                -> ModelSpec, RecipeError on anything misspelt; needs no torch
    build_tiny_model(spec, seed, folder) -> writes model and tokenizer into `folder`
    build_tokenizer()                -> the tokenizer alone

Everything downstream sees an ordinary model folder (AutoModelForCausalLM, AutoTokenizer, vLLM).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openr1.data.tiny_task import ADDENDS, LABELS, MULTIPLIERS, PREFIX, read_options
from openr1.errors import RecipeError
from openr1.extras import without

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

MODEL = "tiny-qwen2"
HEAD_DIM = 64  # the smallest head that every attention kernel supports
MAX_TOKENS = 512

# Qwen2Tokenizer insists on an `<|endoftext|>`: it pads, as in Qwen2.5, and another token ends a turn.
PAD, END, SYSTEM, USER, ASSISTANT = "<|endoftext|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"

# Single tokens, but ordinary text: they must survive `skip_special_tokens=True`, because graders read them.
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# What the built-in task repeats, one token each: prompts stay short, and a step needs two look-ups (running
# digit, operation). With `+` and `3` apart it needs three, and after 400 SFT steps of 64 rows 41 % of the
# worked solutions came out right instead of 98 %.
PHRASES = ("Start at ", ", keep the last digit:")
OPERATIONS = (*(f"+{digit}" for digit in ADDENDS), *(f"*{digit}" for digit in MULTIPLIERS))

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{%- elif message['role'] in ('system', 'user') -%}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{%- else -%}"
    "{{ raise_exception('unknown role ' + message['role']) }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)


@dataclass(frozen=True)
class ModelSpec:
    """What `builtin:tiny-qwen2?layers=2&hidden=128` says; the part after `?` is optional."""

    layers: int = 2
    hidden: int = 128  # hidden / 64 attention heads


def parse_model(name: str) -> ModelSpec:
    """Read a model name such as `builtin:tiny-qwen2?layers=2`.

    Raises:
        RecipeError: unknown model, unknown or repeated option, or a size that heads of 64 do not divide.
    """
    model, _, query = name.removeprefix(PREFIX).partition("?")
    if not name.startswith(PREFIX) or model != MODEL:
        raise RecipeError(f"there is no built-in model {name!r}", fix=f"use {PREFIX}{MODEL}")
    sizes = {"layers": ModelSpec.layers, "hidden": ModelSpec.hidden}
    for key, value in read_options(name, query, tuple(sizes)).items():
        if not re.fullmatch("[1-9][0-9]{0,3}", value):
            raise RecipeError(f"{key} must be a whole number from 1 to 9999, not {value!r} (in {name!r})")
        sizes[key] = int(value)
    if sizes["hidden"] % HEAD_DIM:
        raise RecipeError(f"hidden must be a multiple of {HEAD_DIM}, not {sizes['hidden']} (in {name!r})")
    return ModelSpec(**sizes)


def build_tokenizer() -> Qwen2Tokenizer:
    """One byte, one token: any text goes in and comes out unchanged (up to NFC), and digits stay apart.

    The class is Qwen2's because AutoTokenizer rebuilds that one for every Qwen2 model, whatever the folder
    says (transformers 5.19, MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS). Its NFC normalisation comes with it.
    """
    from tokenizers import AddedToken, pre_tokenizers
    from transformers import Qwen2Tokenizer

    symbols = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"Ġ{label}" for label in LABELS)]
    tokenizer = Qwen2Tokenizer(
        vocab={symbol: index for index, symbol in enumerate(symbols)},
        # Ġ is how byte-level BPE writes a space; the argument is annotated as strings but takes pairs
        merges=[("Ġ", label) for label in LABELS],  # type: ignore[misc]
        unk_token=PAD,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    whole = (*TAGS, *PHRASES, *OPERATIONS)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in whole])
    return tokenizer


def build_tiny_model(spec: ModelSpec, seed: int, folder: Path) -> None:
    """Write a randomly initialised model and its tokenizer; equal seeds give equal bytes."""
    import torch

    with without("sklearn"):
        from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    tokenizer = build_tokenizer()
    config = Qwen2Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,  # rounded up to whole kernel tiles
        hidden_size=spec.hidden,
        intermediate_size=4 * spec.hidden,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.hidden // HEAD_DIM,
        num_key_value_heads=spec.hidden // HEAD_DIM,
        max_position_embeddings=MAX_TOKENS,
        initializer_range=0.06,  # so narrow a model starts too flat with the usual 0.02
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},  # sequences are about 50 tokens long
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):  # building a model must not move the caller's random state
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
