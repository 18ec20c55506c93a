"""The verdict table: what math-verify gets wrong, and what is right. Runs on 0.5.2 and on 0.9 (nox)."""

from __future__ import annotations

import pytest

from openr1.grading import Grader, Item, Verdict

R, W = Verdict.right, Verdict.wrong

# evaluation.md 5.4, in the spellings that occur
TABLE = [
    ("n=2,3,4", "n=1,2,3", W),
    ("D=(0,1)", "D=(0,1.5)", W),
    ("19, 46, and 82", "21, 36, and 82", W),
    ("12:00", "1:00", W),
    (r"\pm2021", "2021", W),
    ("±2021", "2021", W),
    (r"1-\frac{1}{\mathrm{e}}", r"1+\frac{1}{\mathrm{e}}", W),
    (r"1-\frac{1}{e}", r"1+\frac{1}{e}", W),
    ("1/2^{99}", "1/2^{98}", W),
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}", W),
    ("1/10^7", "0.0", W),
    (r"\{1,2\}", "(1,2)", W),
    (r"1,2,\ldots,n", r"1,3,5,\ldots,2n-1", W),
    ("1,2,…,n", "1,3,5,…,2n−1", W),
    ("10:30", "10:30 a.m.", R),
    ("5 cm", "5 m", W),
    (r"5\text{ cm}", r"5\text{ m}", W),
    (r"50\%", "50", R),
    (r"\frac{\pi}{4}", "0.785398", R),
    (r"\sqrt{2}", "1.414214", R),
    ("[0,1)", r"0\le x<1", R),
    (r"0\le x<1", "[0,1)", R),
    ("east", "East", R),
    (r"\pm 2", "2,-2", R),
    (r"1\,000\,000", "1000000", R),
    (r"6.02\times 10^{23}", "6.02e23", R),
    ("i", r"\sqrt{-1}", R),
    ("Friday", "Friday", R),
]

# the decisions of docs/rewards.md, and what must go on working
MORE = [
    (r"\$32,000", "32000", R),
    ("1234", r"1,234\text{ cm}", R),
    ("100,200", "{100,200}", R),
    ("50%", "50 percent", R),
    ("3.5", r"\frac{7}{2} = 3.5", R),
    ("3.6", r"\frac{7}{2} = 3.5", W),
    (r"\frac{22}{7}", r"\frac{22}{7} \approx 3.14", R),
    (r"\tan 45^\circ", "1", R),
    (r"\frac{1}{2}", r"\cos 60^\circ", R),
    (r"e^{i\pi}", "-1", R),
    ("x^2+y^2=4", "2x^2+2y^2=8", R),
    ("x^2+y^2=4", "x^2+y^2=5", W),
    ("C", r"\textbf{(C) } 5", R),
    ("C", r"\text{(B) } 5", W),
    (r"\emptyset", r"\varnothing", R),
    ("3 hours", "180 minutes", W),
    (r"x \in [-2,7]", r"x \in [-3,7]", W),
    ("6", "6", R),
    ("6", "7", W),
    ("6", "6.0", R),
    ("6", "six", W),
    ("x=5", "5", R),
    ("5", "x=5", R),
    ("{1,2}", "1,2", R),
    ("1,2", "2,1", R),
    ("(1,2)", "(2,1)", W),
    ("(1,2)", "1,2", R),
    ("1,2", "(1,2)", R),
    ("[0,1]", "[0,1)", W),
    ("(0,1)", "[0,1]", W),
    (r"\{1,2\}", r"\{2,1\}", R),
    (r"\{1,2\}", "1,2", R),
    ("1,2,3", "1,2", W),
    ("1,1,2", "1,2,2", W),
    ("2", "2,3", W),
    ("2,3", "2", W),
    (r"\frac{1}{3}", "0.333333", R),
    (r"\frac{1}{3}", "0.33", W),
    (r"\sqrt{2}", "1.41", W),
    (r"\pi", "3.14", W),
    (r"\sqrt{8}", r"2\sqrt{2}", R),
    ("x^2+2x+1", "(x+1)^2", R),
    (r"\sin^2 x+\cos^2 x", "1", R),
    ("2x+3", "2y+3", W),
    ("y=2x+3", "2x-y+3=0", R),
    ("y=2x+3", "y=2x+4", W),
    ("y=2x+3", "2x+3", R),
    (r"(-\infty,1)\cup(2,\infty)", r"(2,\infty)\cup(-\infty,1)", R),
    ("(1,2),(3,4)", "(3,4),(1,2)", R),
    (r"1\pm\sqrt{19}", r"1+\sqrt{19},1-\sqrt{19}", R),
    (r"1\pm\sqrt{19}", r"1+\sqrt{19}", W),
    (r"\begin{pmatrix}-7\\16\\5\end{pmatrix}", r"\begin{pmatrix} -7 \\ 16 \\ 5 \end{pmatrix}", R),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\3\end{pmatrix}", W),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", "17", W),
    (r"\begin{pmatrix}2\\4\end{pmatrix}", r"2\begin{pmatrix}1\\2\end{pmatrix}", R),
    (r"2\frac{1}{2}", "2.5", R),
    ("58,500", "58500", R),
    ("100,200", "200, 100", R),
    (r"90^\circ", "90", R),
    (r"90^\circ", r"90 \text{ degrees}", R),
    ("10", r"10\text{ cm}", R),
    (r"\$18", "18", R),
    ("18", "$18$", R),
    ("15 square meters", r"15\text{ m}^2", R),
    ("15 m", r"15\text{ m}^2", W),
    ("3:00 p.m.", "3:00 a.m.", W),
    ("A", "(A)", R),
    ("A", r"\text{A}", R),
    ("A", "B", W),
    (r"\text{Evelyn}", "evelyn", R),
    ("even", "odd", W),
    (r"\text{even}", "2", W),
    ("yes", r"\text{Yes}", R),
    (r"\infty", r"-\infty", W),
    (r"x \in [-2,7]", "[-2,7]", R),
    ("p-q", "q-p", W),
    ("6-5i", "-5i+6", R),
    ("e^{2}", r"\mathrm{e}^2", R),
    ("3(x+1)", "3x+3", R),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", R),
    (r"\log_2 8", "3", R),
    ("10^{-7}", "0.0000001", R),
    ("2^{100}", "4^{50}", R),
    (r"\binom{10}{3}", "120", R),
    ("0.5x", r"\frac{x}{2}", R),
    ("x<5", "x>5", W),
    ("x<5", "5>x", R),
    ("9^{9^{9}}", "9^{9^9}", R),
    (r"\frac{1}{2},-1", r"-1,\frac12", R),
]


def test_table(grader: Grader) -> None:
    """All pairs at once, so that two workers share them; every pair is named when it fails."""
    pairs = TABLE + MORE
    graded = grader.grade([Item(gold, rf"\boxed{{{answer}}}") for gold, answer, _ in pairs])
    wrong = [
        f"{gold!r} against {answer!r}: {g.verdict}, should be {should} ({g.reason})"
        for (gold, answer, should), g in zip(pairs, graded, strict=True)
        if g.verdict is not should
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "completion", ["<answer>3/4</answer>", "**3/4**", "3/4", r"$\frac{3}{4}$", "It is **3/4**."]
)
def test_tags_and_markdown_are_no_obstacle(grader: Grader, completion: str) -> None:
    assert grader.grade_one("3/4", completion).verdict is R


def test_bare_word(grader: Grader) -> None:
    assert grader.grade_one("Friday", "Friday").verdict is R
    assert grader.grade_one("Friday", "The answer is Monday.").verdict is W


def test_last_box_wins(grader: Grader) -> None:
    assert grader.grade_one("13", r"boxed \boxed{12} … or maybe \boxed{13}").verdict is R
    assert grader.grade_one("7", r"\boxed{6} then \boxed{7}").verdict is R
    assert grader.grade_one("6", r"\boxed{6} then \boxed{7}").verdict is W


@pytest.mark.parametrize(
    "gold",
    [
        "The function grows without bound on the whole line",
        r"\frac{1}{",
        "^^^",
        r"\begin{pmatrix} 1 &",
        None,
        "",
        [],
        ["1", "2"],
    ],
)
def test_gold_that_cannot_be_understood(grader: Grader, gold: object) -> None:
    graded = grader.grade_one(gold, r"\boxed{42}")
    assert graded.verdict is Verdict.gold_unparsable and graded.reason


def test_gold_prose_still_equals_itself(grader: Grader) -> None:
    prose = "The function grows without bound"
    assert grader.grade_one(prose, rf"\boxed{{\text{{{prose}}}}}").verdict in (R, Verdict.gold_unparsable)
    assert grader.grade_one(prose, rf"\boxed{{{prose}}}").verdict is R


def test_check_golds(grader: Grader) -> None:
    reasons = grader.check_golds(
        ["6", r"\frac12", "1,2", r"\{x, y\}", "Friday", "12:00", None, r"\frac{1}{", "x" * 3_000]
    )
    assert [bool(r) for r in reasons] == [False] * 6 + [True] * 3
