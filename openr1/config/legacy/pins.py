"""What a file of 2025 left to its defaults, where today's are others: a table by program, month and stage.

Sources: TRL b9df810 (2025-02-09) and 0.18.0 (2025-05-28, open-r1's last pin), transformers of the same days,
open-r1 9be2e9a and 1416fa0. Of what came after 0.18.0: packing by best fit, first called `ffd`, is trl#3521
(June 2025; before, `packing: true` cut the stream of tokens into blocks); the mean over all ranks' tokens is
trl#3538 (June 2025) and transformers#39395 (July 2025); the KL term's policy ratio is DeepSeek-V3.2's
(arXiv:2512.02556). In February TRL's trainer gave `GenerationConfig` a temperature and nothing else: its own
top_k of 50 held.

A pin holds what is learnt; what only says how a machine does it (checkpointing, optimizer kernels, logging,
how many checkpoints are kept) is left to the plan and to today's defaults. A test compares every pin with
the installed TRL: one that has become today's default is no longer needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Pin:
    """A default of its time.

    Args:
        why: what it was, for the origin; a reader of `resolved.yaml` sees it.
        needs: whether it matters for a file with these (translated) values.
    """

    key: str
    value: Any
    why: str
    needs: Callable[[Values], bool] = lambda values: True


def _packs(values: Values) -> bool:
    return bool(values.get("packing"))


def _without_vllm(values: Values) -> bool:
    return not values.get("use_vllm")  # off was the default


def _with_vllm(values: Values) -> bool:
    return values.get("use_vllm") is not False  # where the file says nothing, the plan may take it


def _rewards(name: str, default: bool = False) -> Callable[[Values], bool]:
    """Whether a reward is asked for; `default`: it is among those of a file that names none."""
    return lambda values: name in values["reward_funcs"] if values.get("reward_funcs") else default


def _trained_with_kl(values: Values) -> bool:
    return values.get("beta", 0.04) != 0


_SFT = (
    Pin("average_tokens_across_devices", False, "every rank's loss was the mean over its own tokens"),
    Pin("packing_strategy", "wrapped", "packing cut the stream of tokens anywhere", _packs),
)
_GRPO = (
    Pin("beta", 0.04, "TRL's KL weight then"),
    Pin("max_completion_length", 256, "TRL's default then"),
    Pin("max_prompt_length", 512, "TRL's default then"),
    Pin("use_bias_correction_kl", False, "the KL term had no policy ratio", _trained_with_kl),
    Pin(
        "vllm_importance_sampling_correction",
        False,
        "vLLM's probabilities were trusted",
        _with_vllm,
    ),
)

TRL: dict[tuple[str, str], tuple[Pin, ...]] = {
    ("2025-02", "sft"): _SFT,
    ("2025-02", "grpo"): (
        *_GRPO,
        Pin("temperature", 0.9, "TRL's default then"),
        Pin("loss_type", "grpo", "the mean over each completion's tokens, then over completions"),
        Pin("top_k", 50, "what transformers' generate kept by itself", _without_vllm),
    ),
    ("2025-07", "sft"): _SFT,
    ("2025-07", "grpo"): (*_GRPO, Pin("loss_type", "bnpo", "the mean over a micro-batch's tokens")),
}

SYSTEM_PROMPT_2025_02 = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
    "assistant first thinks about the reasoning process in the mind and then provides the user with the "
    "answer. The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> "
    "tags, respectively, i.e., <think> reasoning process here </think><answer> answer here </answer>"
)


def _cosine(default: bool) -> tuple[Pin, ...]:
    why, asked = "open-r1's script default", _rewards("cosine", default)
    return (Pin("cosine_min_value_wrong", 0.0, why, asked),)


OPEN_R1: dict[tuple[str, str], tuple[Pin, ...]] = {
    ("2025-02", "grpo"): (
        Pin(
            "reward_funcs",
            ["accuracy", "format", "reasoning_steps", "cosine"],
            "open-r1's default rewards then",
        ),
        Pin("system_prompt", SYSTEM_PROMPT_2025_02, "open-r1's script put it before every problem"),
        *_cosine(default=True),
    ),
    ("2025-07", "grpo"): (
        Pin("reward_funcs", ["accuracy", "format", "tag_count"], "open-r1's default rewards then"),
        *_cosine(default=False),
        Pin("max_completion_len", 16384, "open-r1's script default", _rewards("soft_overlong_punishment")),
    ),
}


def pins_of(program: str, month: str, stage: str, values: Values) -> dict[str, Pin]:
    """The pins of a file: of keys it does not set itself, where they matter."""
    found = TRL[month, stage] + (OPEN_R1.get((month, stage), ()) if program == "open-r1" else ())
    return {pin.key: pin for pin in found if pin.key not in values and pin.needs(values)}
