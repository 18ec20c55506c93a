"""Grading against the stock tool: a serial math-verify loop and our pool, side by side in one run.

    python benchmarks/grading.py [--golds FILE.jsonl ...] [--pairs 1200] [--workers 2] [--json OUT]

All pairs are distinct and the cache is off. Part 1 is clean data: real golds with right, wrong and
malformed answers. Part 2 is the same with 2 % pathological answers, every kind in turn. The serial
loop is what a reward function without a pool does: parse the gold, parse the completion, verify, on one
main thread with math-verify's own timers. A pair that holds it for longer than `--give-up` is
counted with that time, so ratios of part 2 are lower bounds.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

LIMIT_S = 5.0
TARGET_CLEAN, TARGET_PATHOLOGICAL, TARGET_OVERSHOOT_S = 1.8, 10.0, 0.5

# Golds as they stand in MATH and GSM8K, used when no file is given.
GOLDS = r"""
\left( 3, \frac{\pi}{2} \right) | p - q | \frac{14}{3} | 9 | \text{Evelyn} | 42 | 27 | 90^\circ | 3\sqrt{13}
4 | 2220 | \frac{3}{56} | 284 | 5 | \sqrt{51} | 6 - 5i | -50 | \pi | 28 | 3 | 6+9i | 13535 | 3r+s | 120^\circ
x=5 | 1 \pm \sqrt{19} | (2,\infty) | 10\% | 2k | \frac{2}{21} | \frac{9}{19} | 15\text{ cm} | \frac{35}{64}
1,-2 | \begin{pmatrix} -7 \\ 16 \\ 5 \end{pmatrix} | [-2,7] | \text{even} | 70 \sqrt{2} | 11\sqrt2
y = 2x + 3 | -\frac{1}{4} | x^3 + 3x - 6 | (-\infty, 2) \cup (3, \infty) | 58,500 | 2 \cos^2 x - 1
\frac{\sqrt{3}}{3} | 18 | 70000 | 540 | 20 | 64 | 260 | 160 | 45 | 460 | 366 | 694 | 13 | 60 | 125 | 230
57500 | 7 | 6 | 15 | 14
"""

PATHOLOGICAL: dict[str, tuple[str, str]] = {
    "tower of tens": ("7", r"\boxed{10^{10^{10}}}"),
    "tower of nines": ("7", r"\boxed{9^{9^9}}"),
    "power modulo": ("12", r"\boxed{7^{10^9} \bmod 13}"),
    "factorial": ("7", r"\boxed{1000000!}"),
    "factorial of factorials": ("7", r"\boxed{((100!)!)!}"),
    "binomial": ("7", r"\boxed{\binom{10^9}{5 \cdot 10^8}}"),
    "log of a tower": ("7", r"\boxed{\log(10^{10^9})}"),
    "same tower twice": ("9^{9^{9}}", r"\boxed{9^{9^{9}}}"),
    "negative tower": ("7", r"\boxed{2^{-10^{10}}}"),
    "50 nested fractions": ("7", r"\boxed{" + r"\frac{1}{1+" * 50 + "x" + "}" * 50 + "}"),
    "500 nested fractions": ("7", r"\boxed{" + r"\frac{1}{1+" * 500 + "x" + "}" * 500 + "}"),
    "2,000 parentheses": ("7", r"\boxed{" + "(" * 2_000 + "x" + ")" * 2_000 + "}"),
    "symbolic determinant": (
        "7",
        r"\boxed{\det\begin{pmatrix}"
        + r"\\".join("&".join(f"a_{{{i}{j}}}" for j in range(8)) for i in range(8))
        + r"\end{pmatrix}}",
    ),
    "3,000 elements": ("7", r"\boxed{\{" + ",".join(map(str, range(3_000))) + r"\}}"),
    "integral": ("7", r"\boxed{\int_0^1 \frac{\sin(x^3) e^{x^2}}{\ln(2+x^5)} dx}"),
    "sum of 10^9 terms": ("7", r"\boxed{\sum_{k=1}^{10^9} \frac{1}{k^2+\sin k}}"),
    "product of 10^5 terms": ("7", r"\boxed{\prod_{k=1}^{100000} (1+\frac{x}{k})}"),
    "dollars and spaces": ("7", "$ " * 50_000),
    "digits and spaces": ("7", "1 " * 100_000),
    "a million digits": ("7", r"\boxed{" + "7" * 1_000_000 + "}"),
    "punctuation": ("7", r"\{}^_$&#%~[]()" * 7_000),
    "unclosed boxes": ("7", r"\boxed{" * 5_000),
    "control characters": ("7", "\\boxed{7\x00\x07\x1b\u202e\u0663}"),
    "lone surrogate": ("7", "\\boxed{\ud800 7}"),
}

# The stock loop, in a process of its own: one pair per line in, one line per verdict out.
SERIAL = """
import json, sys, os
out = os.fdopen(os.dup(1), "w"); os.dup2(2, 1)
from math_verify import parse, verify
print("ready", file=out, flush=True)
for line in sys.stdin:
    gold, completion = json.loads(line)
    try:
        result = verify(parse("\\\\boxed{" + gold + "}"), parse(completion))
    except Exception:
        result = None
    print(result, file=out, flush=True)
"""


def golds_of(files: list[str]) -> list[str]:
    """Distinct golds from JSONL files (column `answer`, GSM8K's after `####`), or the built-in ones."""
    found: list[str] = []
    for name in files:
        for line in Path(name).read_text(encoding="utf-8").splitlines():
            found.append(str(json.loads(line)["answer"]).rsplit("####", 1)[-1].strip())
    found = found or [g.strip() for g in GOLDS.replace("\n", "|").split("|")]
    return sorted({g for g in found if g})


def clean_pairs(golds: list[str], count: int, seed: int) -> list[tuple[str, str]]:
    """Distinct pairs: half right (written another way), three tenths wrong, the rest malformed."""
    generator = random.Random(seed)
    pairs: dict[tuple[str, str], None] = {}
    while len(pairs) < count:
        gold, kind = generator.choice(golds), generator.random()
        if kind < 0.5:
            answer = gold.replace(r"\frac", r"\dfrac").replace(" ", "") if kind < 0.25 else gold
            ending = rf"so the answer is $\boxed{{{answer}}}$."
        elif kind < 0.8:
            ending = rf"so the answer is $\boxed{{{generator.choice(golds)}}}$."
        else:
            ending = generator.choice(
                [rf"thus \boxed{{{gold}", "and I do not know.", rf"giving \frac{{{gold}", ""]
            )
        steps = " ".join(
            f"Step {i}: we get {generator.randrange(10**6)}." for i in range(generator.randrange(3, 40))
        )
        pairs[gold, f"<think>\n{steps}\n</think>\n{steps[:80]} {ending}"] = None
    return list(pairs)


def with_pathological(pairs: list[tuple[str, str]], share: float) -> list[tuple[str, str]]:
    """`pairs` with every 1/share-th replaced by a pathological one, all kinds in turn, each one distinct."""
    mixed, kinds = list(pairs), list(PATHOLOGICAL.values())
    step = round(1 / share)
    for n, position in enumerate(range(step // 2, len(mixed), step)):
        gold, completion = kinds[n % len(kinds)]
        mixed[position] = (gold, f"<think>{n}</think>\n{completion}")
    return mixed


def run_serial(pairs: list[tuple[str, str]], give_up: float) -> tuple[float, int]:
    """Seconds of the stock loop over all pairs, and how many held it until it was given up."""
    import selectors

    total, given_up, position = 0.0, 0, 0
    while position < len(pairs):
        child = subprocess.Popen(
            [sys.executable, "-c", SERIAL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdin is not None and child.stdout is not None
        child.stdout.readline()
        selector = selectors.DefaultSelector()
        selector.register(child.stdout, selectors.EVENT_READ)
        while position < len(pairs):
            started = time.perf_counter()
            child.stdin.write((json.dumps(pairs[position]) + "\n").encode("ascii"))
            child.stdin.flush()
            answered = selector.select(give_up)
            line = child.stdout.readline() if answered else b""
            total += time.perf_counter() - started
            position += 1
            if not line:
                given_up += 1
                break
        child.kill()
        child.wait()
    return total, given_up


def run_ours(pairs: list[tuple[str, str]], workers: int) -> tuple[float, float, Counter[str]]:
    """Seconds of our grader from a cold start, the slowest single answer, and the verdicts."""
    from openr1.grading import Grader, Item

    started = time.perf_counter()
    with Grader(workers=workers, limit=LIMIT_S, cache=False) as grader:
        graded = grader.grade([Item(g, c) for g, c in pairs])
        seconds = time.perf_counter() - started
    return seconds, max(g.seconds for g in graded), Counter(g.verdict.value for g in graded)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--golds", nargs="*", default=[], help="JSONL files with a column `answer`")
    parser.add_argument("--pairs", type=int, default=1_200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--give-up", type=float, default=60.0, help="seconds after which the stock loop is cut"
    )
    parser.add_argument("--share", type=float, default=0.02, help="share of pathological pairs in part 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()

    clean = clean_pairs(golds_of(options.golds), options.pairs, options.seed)
    figures: dict[str, object] = {"pairs": len(clean), "workers": options.workers}
    passed = True
    for name, pairs, target in (
        ("clean", clean, TARGET_CLEAN),
        ("pathological", with_pathological(clean, options.share), TARGET_PATHOLOGICAL),
    ):
        ours, slowest, verdicts = run_ours(pairs, options.workers)
        serial, given_up = run_serial(pairs, options.give_up)
        ratio = serial / ours
        good = ratio >= target and slowest <= LIMIT_S + TARGET_OVERSHOOT_S
        passed &= good
        figures[name] = {
            "serial_s": serial,
            "ours_s": ours,
            "ratio": ratio,
            "slowest_s": slowest,
            "given_up": given_up,
        }
        print(
            f"{name:>13}: serial math-verify {serial:7.2f} s ({given_up} given up), "
            f"ours {ours:6.2f} s with start, "
            f"ratio {ratio:.1f}x (target {target}x), slowest answer {slowest:.2f} s, {dict(verdicts)}"
            f"  {'ok' if good else 'MISSED'}"
        )
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
