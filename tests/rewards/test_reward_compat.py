"""open-r1's values to the last digit, defects included: upstream-open-r1.md section 5."""

from __future__ import annotations

import math
import types

import pytest

from openr1.errors import RecipeError
from openr1.rewards import compat


def chats(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"content": text}] for text in texts]


# (gold, completion, value); the values are those measured of upstream
ACCURACY = [
    (r"\frac{63}{400}", r"\boxed{\frac{63}{400}}", 1.0),
    (r"\frac{63}{400}", r"\boxed{\frac{64}{400}}", 0.0),
    ("6", "6", 0.0),
    ("6", "$6$", 0.0),
    ("6", "The answer is 6", 0.0),
    ("6", r"\boxed 6", 0.0),
    ("6", "the final answer is $6$", 1.0),
    ("6", "<answer>6</answer>", 0.0),
    ("6", r"\boxed{6", 0.0),
    ("0.5", r"\boxed{\frac{1}{2}}", 1.0),
    ("x=5", r"\boxed{5}", 1.0),
    ("10", r"\boxed{10 \text{ cm}}", 1.0),
    (r"\frac{1}{3}", r"\boxed{0.333333}", 1.0),
    ("A", r"\boxed{A}", None),
    ("$A$", r"\boxed{A}", 1.0),
    ("6", r"<think>\boxed{5}</think> so in the end \boxed{6}", 1.0),
]


@pytest.fixture(scope="module", autouse=True)
def needs_math_verify() -> None:
    pytest.importorskip("math_verify")


def test_accuracy() -> None:
    golds, texts, values = zip(*ACCURACY, strict=True)
    assert compat.accuracy_reward(chats(*texts), list(golds)) == list(values)


def test_accuracy_is_math_verify_called_as_upstream_calls_it() -> None:
    """The same in this process, on its main thread: no difference but the process."""
    from openr1.grading.upstream import verdict

    golds, texts, _ = zip(*ACCURACY, strict=True)
    value = {"right": 1.0, "wrong": 0.0}
    direct = [value.get(verdict(g, t, False)[0]) for g, t in zip(golds, texts, strict=True)]
    assert compat.accuracy_reward(chats(*texts), list(golds)) == direct


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>\na\n</think>\n<answer>\nb\n</answer>", 1.0),
        ("<think>\na\n</think>\n<answer>\nb\n</answer>\nmore", 1.0),
        ("<think>\na\n</think>\n<answer>\nb\n</answer> more", 0.0),
        (" <think>\na\n</think>\n<answer>\nb\n</answer>", 0.0),
        ("<think>\na\n</think>\n\n<answer>\nb\n</answer>", 0.0),
        ("<think>a</think><answer>b</answer>", 0.0),
        ("<think>\n<think>\na\n</think>\n</think>\n<answer>\nb\n</answer>", 1.0),
        ("<think>\n\n</think>\n<answer>\n\n</answer>", 1.0),
    ],
)
def test_format(text: str, value: float) -> None:
    assert compat.format_reward(chats(text)) == [value]


def test_tag_count() -> None:
    full = "<think>\na\n</think>\n<answer>\nb\n</answer>"
    texts = [
        full,
        full[8:],
        full.replace("\n</think>", ""),
        full + "\n</answer>",
        "<think>a</think><answer>b</answer>",
    ]
    assert compat.tag_count_reward(chats(*texts)) == [1.0, 0.75, 0.75, 0.75, 0.0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Step 1: a\nStep 2: b\nStep 3: c", 1.0),
        ("1.\n2.\n3.", 1 / 3),
        ("- a\n- b", 1 / 3),
        ("First, a\nFinally, b", 2 / 3),
        ("Third, a", 0.0),
    ],
)
def test_reasoning_steps(text: str, value: float) -> None:
    assert compat.reasoning_steps_reward(chats(text)) == [value]


def test_cosine() -> None:
    reward = compat.get_cosine_scaled_reward(max_len=100)
    right, wrong, gold = r"\boxed{\frac{63}{400}}", r"\boxed{\frac{64}{400}}", r"\frac{63}{400}"
    for text, low, high in ((right, 0.5, 1.0), (wrong, -0.5, -1.0)):
        for size in (22, 80, 200):
            expected = low + 0.5 * (high - low) * (1.0 + math.cos(size / 100 * math.pi))
            assert reward(chats(text.ljust(size)), [gold]) == [expected]
    # characters, not clamped: twice the length is worth what no length is; a bare gold is "unreadable"
    assert reward(chats(right.ljust(200), wrong.ljust(200)), [gold] * 2) == [1.0, -1.0]
    assert reward(chats(r"\boxed{7}"), ["6"]) == [1.0]


def test_length() -> None:
    right, wrong, gold = r"\boxed{\frac{63}{400}}", r"\boxed{\frac{64}{400}}", r"\frac{63}{400}"
    assert compat.len_reward(chats(right, wrong), [gold] * 2) == [0.0, 0.0]
    texts = [right, right.ljust(32), wrong, wrong.ljust(32)]
    assert compat.len_reward(chats(*texts), [gold] * 4) == [0.5, -0.5, 0.0, -0.5]
    assert (
        compat.len_reward(chats(r"\boxed{answer}", r"\boxed{answer} xxxxx"), ["unparseable_latex"] * 2)[0]
        == 0.5
    )


def test_repetition() -> None:
    with pytest.raises(ValueError, match=r"max_penalty 1.5 should not be positive"):
        compat.get_repetition_penalty_reward(ngram_size=2, max_penalty=1.5)
    with pytest.raises(ValueError, match="fr"):
        compat.get_repetition_penalty_reward(ngram_size=2, max_penalty=-1.0, language="fr")
    reward = compat.get_repetition_penalty_reward(ngram_size=3, max_penalty=-1.0)
    texts = ["", "two words", "word word word word", "A B C A B C", "A B C D E F"]
    assert reward(chats(*texts)) == [0.0, 0.0, -0.5, -0.25, 0.0]


def test_overlong() -> None:
    reward = compat.get_soft_overlong_punishment(max_completion_len=100, soft_punish_cache=20)
    assert reward(completion_ids=[[1] * n for n in (50, 90, 100, 110)]) == [0.0, -0.5, -1.0, -1.0]
    step = compat.get_soft_overlong_punishment(max_completion_len=100, soft_punish_cache=0)
    assert step(completion_ids=[[1] * 100, [1] * 101]) == [0.0, -1.0]


def test_code_format() -> None:
    text = "<think>\na\n</think>\n<answer>\n```{}\nx\n```\n</answer>"
    reward = compat.get_code_format_reward(language="python")
    assert reward(chats(*(text.format(n) for n in ("python", "python3", "javascript")))) == [1.0, 1.0, 0.0]
    assert reward(chats(text.format("cpp")), language=["cpp"]) == [1.0]
    assert compat.extract_code("```python\na\n```\n```python\nb\n```") == "b\n"
    assert compat.extract_code("```cpp\na\n```") == compat.extract_code("x", None) == ""


def test_get_reward_funcs() -> None:
    names = [
        "accuracy",
        "format",
        "reasoning_steps",
        "cosine",
        "repetition_penalty",
        "length",
        "tag_count",
        "code",
        "ioi_code",
        "code_format",
        "binary_code",
        "soft_overlong_punishment",
        "cf_code",
    ]
    functions = [
        "accuracy_reward",
        "format_reward",
        "reasoning_steps_reward",
        "cosine_scaled_reward",
        "repetition_penalty_reward",
        "len_reward",
        "tag_count_reward",
        "code_reward",
        "ioi_code_reward",
        "code_format_reward",
        "binary_code_reward",
        "soft_overlong_punishment_reward",
        "cf_code_reward",
    ]
    rewards = compat.get_reward_funcs(types.SimpleNamespace(reward_funcs=names))
    assert [r.__name__ for r in rewards] == functions
    # the script's default for a short wrong answer is 0.0, the function's is -1.0
    assert rewards[3](chats(""), ["$6$"]) == [0.0]
    with pytest.raises(RecipeError, match="no reward"):
        compat.get_reward_funcs(types.SimpleNamespace(reward_funcs=["nope"]))


def test_off_the_main_thread_nothing_changes() -> None:
    import threading

    seen: list[list[float | None]] = []
    thread = threading.Thread(
        target=lambda: seen.append(compat.accuracy_reward(chats(r"\boxed{\frac{1}{2}}"), ["0.5"]))
    )
    thread.start()
    thread.join()
    assert seen == [[1.0]]
