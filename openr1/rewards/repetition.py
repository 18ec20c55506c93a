"""Rewards against running on: repeated phrases and completions near the token limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import EnvironmentProblem, RecipeError
from .messages import texts_of

Rewards = list["float | None"]
MAX_WORDS = 200_000
"""Words of a completion that are looked at."""


def words(text: str, language: str = "en") -> list[str]:
    """`text` as words: at white space for English, with jieba for Chinese.

    Raises:
        EnvironmentProblem: Chinese without jieba.
        RecipeError: another language.
    """
    if language == "en":
        return text.lower().split()[:MAX_WORDS]
    if language == "zh":
        try:
            import jieba
        except ImportError as problem:
            raise EnvironmentProblem(
                "repetition_penalty in Chinese needs jieba", fix="pip install jieba"
            ) from problem
        return [w for w in jieba.cut(text) if w.strip()][:MAX_WORDS]
    raise RecipeError(f"no word splitting for language {language!r}", fix="language: en, or zh")


def repeated_share(tokens: Sequence[str], n: int) -> float:
    """1 − distinct n-grams / all n-grams; 0 for a text shorter than `n`."""
    total = len(tokens) - n + 1
    if total <= 0:
        return 0.0
    return 1.0 - len({tuple(tokens[i : i + n]) for i in range(total)}) / total


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises RecipeError for a positive penalty, an n-gram below 1 or a language without word splitting."""
    if settings.get("max_penalty", -1.0) > 0:
        raise RecipeError(f"max_penalty {settings['max_penalty']} should not be positive")
    if settings.get("ngram_size", 1) < 1:
        raise RecipeError(f"ngram_size must be at least 1, got {settings['ngram_size']}")
    words("", settings.get("language", "en"))


def repetition_penalty_reward(
    completions: Sequence[Any],
    *,
    ngram_size: int = 3,
    max_penalty: float = -1.0,
    language: str = "en",
    **columns: Any,
) -> Rewards:
    """`max_penalty` times the share of n-grams that were there before: 0 without repetition.

    Raises:
        RecipeError: `max_penalty` is positive or `ngram_size` below 1.
    """
    del columns
    check_settings({"max_penalty": max_penalty, "ngram_size": ngram_size})
    shares = [repeated_share(words(text or "", language), ngram_size) for text in texts_of(completions)]
    return [share * max_penalty if share else 0.0 for share in shares]


def overlong_penalty(length: int, limit: int, cache: int) -> float:
    """DAPO's soft overlong punishment (eq. 13): 0 up to limit − cache, then down to −1 at the limit."""
    if length <= limit - cache:
        return 0.0
    if length <= limit:
        return (limit - cache - length) / cache
    return -1.0


def soft_overlong_reward(
    completions: Sequence[Any] | None = None,
    *,
    completion_ids: Sequence[Sequence[int]] | None = None,
    max_completion_len: int | None = None,
    max_completion_length: int | None = None,
    soft_punish_cache: int = 4096,
    **columns: Any,
) -> Rewards:
    """Punish completions that come near `max_completion_len` tokens (default: the run's own limit).

    Raises:
        RecipeError: no token ids, or no limit.
    """
    del columns
    limit = max_completion_len if max_completion_len is not None else max_completion_length
    if limit is None:
        raise RecipeError("soft_overlong_punishment needs max_completion_len")
    if completion_ids is None:
        raise RecipeError(
            "soft_overlong_punishment needs token ids (completion_ids), as a trainer gives them"
        )
    if completions is not None and len(completions) != len(completion_ids):
        return [None] * len(completions)
    return [overlong_penalty(len(ids), limit, soft_punish_cache) for ids in completion_ids]
