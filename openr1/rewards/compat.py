"""open-r1's rewards to the last digit, under its names and with its call convention.

For comparing with published runs and for running upstream's own tests; `reward_compat: open-r1` in a
recipe uses them. Completions are lists of messages, lengths are characters, and every known defect is
kept on purpose (docs/rewards.md lists them). For anything else use `openr1.rewards`.

Two things differ: the mathematics runs in worker processes, so that values do not change off the main
thread and no answer can hang the run (after 30 s: None), and programs run in our sandbox.
"""

from __future__ import annotations

import atexit
import functools
import math
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import RecipeError
from ..grading import Verdict, default_workers
from ..grading.pool import WorkerPool
from . import codeforces, olympiad
from .sandbox import Limits, run_python, walls

Rewards = list["float | None"]
Completions = Sequence[Sequence[dict[str, Any]]]

PAIR_LIMIT_S = 30.0
"""math-verify's own timers end a pair after some 3 s for each thing it tries."""
_MODES = re.DOTALL | re.MULTILINE
_STEPS = re.compile(r"Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,")
_lock = threading.Lock()
_CODE_TIMEOUT_S = 5.0


def _first(completions: Completions) -> list[str]:
    return [messages[0]["content"] for messages in completions]


@functools.cache
def _pool() -> WorkerPool:
    pool = WorkerPool(default_workers(), PAIR_LIMIT_S)
    atexit.register(pool.close)
    return pool


def _verdicts(judge: str, contents: Sequence[str], solution: Sequence[str]) -> list[Verdict]:
    pairs = list(zip(solution, contents, strict=False))  # upstream pairs as far as both go
    with _lock:
        return [judged.verdict for judged in _pool().run(pairs, judge)]


def accuracy_reward(completions: Completions, solution: Sequence[str], **kwargs: Any) -> Rewards:
    """1.0 or 0.0 by math-verify on the whole completion; None for a gold it cannot read."""
    values = {Verdict.right: 1.0, Verdict.wrong: 0.0}
    return [values.get(v) for v in _verdicts("open-r1 accuracy", _first(completions), solution)]


def format_reward(completions: Completions, **kwargs: Any) -> list[float]:
    """1.0 when the text begins with the two blocks, each tag on a line of its own."""
    shape = re.compile(r"^<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>$", _MODES)
    return [float(shape.match(text) is not None) for text in _first(completions)]


def tag_count_reward(completions: Completions, **kwargs: Any) -> list[float]:
    """A quarter for each tag that is there once with the line breaks that belong to it."""
    tags = ("<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>")
    return [sum(0.25 for tag in tags if text.count(tag) == 1) for text in _first(completions)]


def reasoning_steps_reward(completions: Completions, **kwargs: Any) -> list[float]:
    """A third for each sign of a step, at most 1.0; of numbered lists only a number that begins the text."""
    return [min(1.0, len(_STEPS.findall(text)) / 3) for text in _first(completions)]


def len_reward(completions: Completions, solution: Sequence[str], **kwargs: Any) -> Rewards:
    """Kimi's length reward over the whole call, in characters; an unreadable gold counts as right."""
    contents = _first(completions)
    verdicts = _verdicts("open-r1 length", contents, solution)
    sizes = [len(text) for text in contents]
    shortest, longest = min(sizes), max(sizes)
    if shortest == longest:
        return [0.0] * len(completions)
    rewards: Rewards = []
    for size, verdict in zip(sizes, verdicts, strict=False):
        value = 0.5 - (size - shortest) / (longest - shortest)
        if verdict in (Verdict.timeout, Verdict.error):
            rewards.append(None)
        else:
            rewards.append(value if verdict is not Verdict.wrong else float(min(0, value)))
    return rewards


def get_cosine_scaled_reward(
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    max_len: int = 1000,
) -> Callable[..., Rewards]:
    """The cosine reward in characters, not clamped beyond `max_len`; 1.0 for an unreadable gold."""

    def cosine_scaled_reward(completions: Completions, solution: Sequence[str], **kwargs: Any) -> Rewards:
        contents = _first(completions)
        rewards: Rewards = []
        for text, verdict in zip(contents, _verdicts("open-r1 length", contents, solution), strict=False):
            if verdict is Verdict.gold_unparsable:
                rewards.append(1.0)
                continue
            if verdict in (Verdict.timeout, Verdict.error):
                rewards.append(None)
                continue
            low, high = (
                (min_value_correct, max_value_correct)
                if verdict is Verdict.right
                else (max_value_wrong, min_value_wrong)
            )
            wave = math.cos(len(text) / max_len * math.pi)
            rewards.append(float(low + 0.5 * (high - low) * (1.0 + wave)))
        return rewards

    return cosine_scaled_reward


def get_repetition_penalty_reward(
    ngram_size: int, max_penalty: float, language: str = "en"
) -> Callable[..., list[float]]:
    """The n-gram penalty.

    Raises:
        ValueError: a positive penalty, another language than en or zh, or zh without jieba.
    """
    if max_penalty > 0:
        raise ValueError(f"max_penalty {max_penalty} should not be positive")
    if language not in ("en", "zh"):
        raise ValueError(f"no word splitting for language `{language}`")
    if language == "zh":
        try:
            import jieba
        except ImportError as problem:
            raise ValueError("language zh needs jieba: pip install jieba") from problem

    def split(text: str) -> list[str]:
        return list(jieba.cut(text)) if language == "zh" else text.lower().split()

    def repetition_penalty_reward(completions: Completions, **kwargs: Any) -> list[float]:
        rewards = []
        for text in _first(completions):
            tokens = split(text)
            total = len(tokens) - ngram_size + 1
            if not text or total < 1:
                rewards.append(0.0)
                continue
            distinct = {tuple(tokens[i : i + ngram_size]) for i in range(total)}
            rewards.append((1 - len(distinct) / total) * max_penalty)
        return rewards

    return repetition_penalty_reward


def get_soft_overlong_punishment(
    max_completion_len: int, soft_punish_cache: int
) -> Callable[..., list[float]]:
    """DAPO's penalty on the number of token ids."""

    def soft_overlong_punishment_reward(
        completion_ids: Sequence[Sequence[int]], **kwargs: Any
    ) -> list[float]:
        free = max_completion_len - soft_punish_cache
        rewards = []
        for ids in completion_ids:
            if len(ids) <= free:
                rewards.append(0.0)
            elif len(ids) <= max_completion_len:
                rewards.append((free - len(ids)) / soft_punish_cache)
            else:
                rewards.append(-1.0)
        return rewards

    return soft_overlong_punishment_reward


def get_code_format_reward(language: str = "python") -> Callable[..., list[float]]:
    """The format reward with a code fence somewhere in the answer; a `language` column wins per row."""

    def code_format_reward(completions: Completions, **kwargs: Any) -> list[float]:
        contents = _first(completions)
        rewards = []
        for text, name in zip(contents, kwargs.get("language", [language] * len(contents)), strict=False):
            shape = rf"^<think>\n.*?\n</think>\n<answer>\n.*?```{name}.*?```.*?\n</answer>$"
            rewards.append(float(re.match(shape, text, _MODES) is not None))
        return rewards

    return code_format_reward


def extract_code(completion: str, language: str | None = "python") -> str:
    """The last block fenced exactly with the language, or an empty string."""
    if language is None:
        return ""
    blocks = re.findall(rf"```{language}\n(.*?)```", completion, re.DOTALL)
    return blocks[-1] if blocks else ""


def code_reward(
    completions: Completions,
    num_parallel: int = 2,
    provider_type: str = "e2b",
    enforce_same_language: bool = False,
    **kwargs: Any,
) -> Rewards:
    """Share of tests passed; output lines are compared as far as both go, one timeout makes it all 0.0."""
    walls()
    info = kwargs["verification_info"]
    if enforce_same_language and len({row["language"] for row in info}) > 1:
        raise ValueError("All verification_info must have the same language", info)
    return [
        _share_passed(extract_code(messages[-1]["content"]), row["test_cases"])
        for messages, row in zip(completions, info, strict=False)
    ]


def _share_passed(code: str, cases: Sequence[dict[str, Any]]) -> float | None:
    passed = 0
    for case in cases:
        ran = run_python(code, case["input"], Limits(wall_s=_CODE_TIMEOUT_S))
        if ran.failed_setup:
            return None
        if ran.reason == "timeout":
            return 0.0
        if ran.ok:
            lines = zip(ran.stdout.strip().split("\n"), case["output"].split("\n"), strict=False)
            passed += all(ours.strip() == theirs.strip() for ours, theirs in lines)
    return passed / len(cases)


def binary_code_reward(
    completions: Completions,
    num_parallel: int = 2,
    provider_type: str = "e2b",
    enforce_same_language: bool = False,
    **kwargs: Any,
) -> Rewards:
    """1.0 where `code_reward` is above 0.99, else 0.0; None stays None."""
    shares = code_reward(completions, num_parallel, provider_type, enforce_same_language, **kwargs)
    return [None if s is None else float(s > 0.99) for s in shares]


def ioi_code_reward(
    completions: Completions, test_batch_size: int = 1, provider_type: str = "piston", **kwargs: Any
) -> Rewards:
    """`olympiad.ioi_code_reward` on the block fenced exactly with cpp; batch size -1 runs no test: 0.0."""
    if test_batch_size < 1:
        return [0.0] * len(completions)
    return olympiad.ioi_code_reward(completions, extract=extract_code, **kwargs)


def cf_code_reward(
    completions: Completions,
    test_batch_size: int = 1,
    patch_code: bool = False,
    scoring_mode: str = "weighted_sum",
    **kwargs: Any,
) -> Rewards:
    """`codeforces.cf_code_reward` on the block fenced exactly with the row's language; none: no program.

    Raises:
        RecipeError: `patch_code`, which open-r1's recipes never set.
    """
    if patch_code:
        raise RecipeError("patch_code is not here", fix="leave it out: programs are judged as they are")
    languages = kwargs.get("language") or [None] * len(completions)
    fenced = [
        messages if language else [{"role": "assistant", "content": ""}]
        for messages, language in zip(completions, languages, strict=False)
    ]
    return codeforces.cf_code_reward(fenced, scoring_mode=scoring_mode, extract=extract_code, **kwargs)


def _with(func: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    """`func` with settings, under its own name."""
    return functools.update_wrapper(functools.partial(func, **settings), func)


def get_reward_funcs(args: Any) -> list[Callable[..., Any]]:
    """The rewards that `args.reward_funcs` names, with the parameters found on `args`.

    Args:
        args: any object with open-r1's script arguments as attributes; what is missing has upstream's
            default.

    Raises:
        RecipeError: a name that upstream does not have.
    """

    def setting(name: str, default: Any) -> Any:
        return getattr(args, name, default)

    code_settings = {
        "num_parallel": setting("parallel_code_exec_per_proc", 2),
        "provider_type": setting("code_provider", "e2b"),
        "enforce_same_language": setting("enforce_same_language", False),
    }
    makers: dict[str, Callable[[], Callable[..., Any]]] = {
        "accuracy": lambda: accuracy_reward,
        "format": lambda: format_reward,
        "reasoning_steps": lambda: reasoning_steps_reward,
        "cosine": lambda: get_cosine_scaled_reward(
            min_value_wrong=setting("cosine_min_value_wrong", 0.0),
            max_value_wrong=setting("cosine_max_value_wrong", -0.5),
            min_value_correct=setting("cosine_min_value_correct", 0.5),
            max_value_correct=setting("cosine_max_value_correct", 1.0),
            max_len=setting("cosine_max_len", 1000),
        ),
        "repetition_penalty": lambda: get_repetition_penalty_reward(
            ngram_size=setting("repetition_n_grams", 3), max_penalty=setting("repetition_max_penalty", -1.0)
        ),
        "length": lambda: len_reward,
        "code": lambda: _with(code_reward, **code_settings),
        "binary_code": lambda: _with(binary_code_reward, **code_settings),
        "ioi_code": lambda: _with(
            ioi_code_reward, test_batch_size=setting("code_eval_test_batch_size", 1), provider_type="piston"
        ),
        "cf_code": lambda: _with(
            cf_code_reward,
            test_batch_size=setting("code_eval_test_batch_size", 1),
            scoring_mode=setting("code_eval_scoring_mode", "weighted_sum"),
        ),
        "code_format": lambda: get_code_format_reward(language=setting("code_language", "python")),
        "tag_count": lambda: tag_count_reward,
        "soft_overlong_punishment": lambda: get_soft_overlong_punishment(
            max_completion_len=setting("max_completion_len", 16384),
            soft_punish_cache=setting("soft_punish_cache", 4096),
        ),
    }
    unknown = [name for name in args.reward_funcs if name not in makers]
    if unknown:
        raise RecipeError(f"open-r1 has no reward {unknown[0]!r}", fix="it has: " + ", ".join(makers))
    return [makers[name]() for name in args.reward_funcs]
