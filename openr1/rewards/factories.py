"""Our rewards under upstream's factory names, for code written against open-r1."""

from __future__ import annotations

from .form import code_format_reward
from .mathematics import cosine_reward
from .registry import Reward
from .repetition import check_settings, repetition_penalty_reward, soft_overlong_reward


def get_cosine_scaled_reward(
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    max_len: int = 1000,
) -> Reward:
    """`cosine_reward` with its parameters; lengths are tokens."""
    settings = {
        "min_value_wrong": min_value_wrong,
        "max_value_wrong": max_value_wrong,
        "min_value_correct": min_value_correct,
        "max_value_correct": max_value_correct,
        "max_len": max_len,
    }
    return Reward("cosine_scaled_reward", cosine_reward, settings)


def get_repetition_penalty_reward(ngram_size: int, max_penalty: float, language: str = "en") -> Reward:
    """`repetition_penalty_reward` with its parameters.

    Raises:
        RecipeError: they cannot work.
    """
    settings = {"ngram_size": ngram_size, "max_penalty": max_penalty, "language": language}
    check_settings(settings)
    return Reward("repetition_penalty_reward", repetition_penalty_reward, settings)


def get_soft_overlong_punishment(max_completion_len: int, soft_punish_cache: int) -> Reward:
    """`soft_overlong_reward` with its parameters."""
    settings = {"max_completion_len": max_completion_len, "soft_punish_cache": soft_punish_cache}
    return Reward("soft_overlong_punishment_reward", soft_overlong_reward, settings)


def get_code_format_reward(language: str = "python") -> Reward:
    """`code_format_reward` for a language."""
    return Reward("code_format_reward", code_format_reward, {"code_language": language})
