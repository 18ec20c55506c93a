"""Where an answer is found, and when there is none."""

from __future__ import annotations

import pytest

from openr1.grading import Verdict, extract, read_gold


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"\boxed{6}", "6"),
        (r"\boxed 6", "6"),
        (r"\fbox{6}", "6"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"so $\boxed{\text{even}}$.", r"\text{even}"),
        (r"first \boxed{12}, no, or maybe \boxed{13}", "13"),
        (r"\boxed{12} or \boxed{13}", "13"),
        (r"$\boxed{2}$ and $\boxed{-2}$", "2, -2"),
        (r"\boxed{2}, \boxed{3}", "2, 3"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{4} then \boxed{6", "4"),
        (r"<think>\boxed{5}</think>The answer is \boxed{6}", "6"),
        (r"<think>a</think>b</think>\boxed{7}", "7"),
        ("<think>x</think><answer>3/4</answer>", "3/4"),
        ("<think>x</think>\n<answer>\n\\boxed{8}\n</answer>", "8"),
        ("<answer>1</answer> better: <answer>2</answer>", "2"),
        ("<answer>9", "9"),
        (r"<answer>5</answer> \boxed{6}", "5"),
        ("**3/4**", "3/4"),
        ("The answer is **42**.", "42"),
        ("The final answer is $6$", "6"),
        ("Final Answer: 6", "6"),
        ("The answer is: $\\frac{3}{7}$, as claimed.", r"\frac{3}{7}"),
        ("She has 5 apples.\n#### 72", "72"),
        ("所以答案是 12。", "12"),
        ("6", "6"),
        ("We compute.\n\nTherefore\n$$x = 5$$", "x = 5"),
        ("**Answer:** 17", "17"),
        ("The answer is 3.5.", "3.5"),
        ("\\boxed{1\\,000}", "1000"),
    ],
)
def test_found(completion: str, answer: str) -> None:
    found = extract(completion)
    assert (found.verdict, found.text) == (None, answer)


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "   \n",
        "I do not know what to say about this problem, it is far too hard for me.",
        r"\boxed{}",
        r"\boxed{ }",
        r"\boxed{6",
        "<answer></answer>",
    ],
)
def test_no_answer(completion: str) -> None:
    assert extract(completion).verdict is Verdict.no_answer


@pytest.mark.parametrize(
    ("completion", "finish", "prefilled"),
    [
        (r"<think>the result is \boxed{6}", None, False),
        (r"the result is \boxed{6}", None, True),
        (r"<think>a</think> wait <think> \boxed{6}", None, False),
        ("The sum of the first ten", "length", False),
        ("<think>x</think> The answer is 1", "length", False),
        ("<think>x</think> <answer> 1", "length", False),
        ("", "length", True),
    ],
)
def test_truncated(completion: str, finish: str | None, prefilled: bool) -> None:
    assert extract(completion, finish, prefilled).verdict is Verdict.truncated


def test_a_marked_answer_survives_the_token_limit() -> None:
    assert extract(r"<think>x</think> \boxed{6}. Let me also", "length").text == "6"
    assert extract(r"x</think> \boxed{6}", "length", think_prefilled=True).text == "6"


@pytest.mark.parametrize("completion", [None, 6, ["a"], {"content": "6"}])
def test_not_text(completion: object) -> None:
    assert extract(completion).verdict is Verdict.error


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("6", "6"),
        (6, "6"),
        (6.0, "6"),
        (0.5, "0.5"),
        (-3, "-3"),
        (["7"], "7"),
        (r"$\frac12$", r"\frac{1}{2}"),
        ("long solution\nwith steps, so \\boxed{9}.", "9"),
        ("He eats 3.\n#### 1,200", "1,200"),
        (r"\boxed{8}", "8"),
        ("10%", "10%"),
        (r"90^\circ", r"90\degree"),
        ("5!", "5!"),
    ],
)
def test_gold_is_read(gold: object, text: str) -> None:
    assert read_gold(gold)[0] == text


@pytest.mark.parametrize(
    "gold",
    [
        None,
        "",
        "  ",
        [],
        ["1", "2"],
        True,
        {"a": 1},
        float("nan"),
        float("inf"),
        "9" * 5_000,
        pytest.param(10**5_000, id="digits"),
        "$$",
    ],
)
def test_gold_is_refused_with_a_reason(gold: object) -> None:
    text, reason = read_gold(gold)
    assert text is None and reason
