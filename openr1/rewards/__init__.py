"""Reward functions for GRPO, with the call convention of TRL: `func(completions, **columns) -> values`."""

from __future__ import annotations

from .check import CheckReport, Completion, check_rewards, probe_rewards
from .code import binary_code_reward, code_reward, extract_code
from .codeforces import cf_code_reward
from .factories import (
    get_code_format_reward,
    get_cosine_scaled_reward,
    get_repetition_penalty_reward,
    get_soft_overlong_punishment,
)
from .form import code_format_reward, format_reward, reasoning_steps_reward, tag_count_reward
from .mathematics import accuracy_reward, cosine_reward, len_reward
from .olympiad import ioi_code_reward
from .registry import (
    REGISTRY,
    Reward,
    RewardFunc,
    RewardSpec,
    check_reward_funcs,
    get_reward_funcs,
    reward_names,
)
from .repetition import repetition_penalty_reward, soft_overlong_reward

__all__ = [
    "REGISTRY",
    "CheckReport",
    "Completion",
    "Reward",
    "RewardFunc",
    "RewardSpec",
    "accuracy_reward",
    "binary_code_reward",
    "cf_code_reward",
    "check_reward_funcs",
    "check_rewards",
    "code_format_reward",
    "code_reward",
    "cosine_reward",
    "extract_code",
    "format_reward",
    "get_code_format_reward",
    "get_cosine_scaled_reward",
    "get_repetition_penalty_reward",
    "get_reward_funcs",
    "get_soft_overlong_punishment",
    "ioi_code_reward",
    "len_reward",
    "probe_rewards",
    "reasoning_steps_reward",
    "repetition_penalty_reward",
    "reward_names",
    "soft_overlong_reward",
    "tag_count_reward",
]
