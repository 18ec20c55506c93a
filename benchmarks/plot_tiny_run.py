"""Draw docs/tiny-run.png: accuracy and completion length over the GRPO steps of a tiny run.

    python benchmarks/plot_tiny_run.py runs/tiny-cpu-27cdd97a docs/tiny-run.png

Takes a pipeline's run folder (or the GRPO section's own) and reads its metrics.jsonl. Needs matplotlib,
which is not among openr1's dependencies: `pip install matplotlib`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

BLUE, ORANGE, GREY = "#1f6fb2", "#c8641e", "#6b6b6b"


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """The rows of the GRPO section's metrics.jsonl; SystemExit when there are none."""
    for folder in (run / "grpo", run):
        file = folder / "metrics.jsonl"
        if file.exists():
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            found = [row for row in rows if "rewards/accuracy/mean" in row]
            if found:
                return found
    raise SystemExit(f"{run}: no metrics.jsonl with the accuracy reward of a GRPO run")


def draw(rows: list[dict[str, Any]], picture: Path, title: str) -> None:
    """Two panels over the same steps: share of right answers, mean completion length."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    steps = [row["step"] for row in rows]
    right = [100 * row["rewards/accuracy/mean"] for row in rows]
    length = [row["completions/mean_length"] for row in rows]

    figure, (left, other) = plt.subplots(1, 2, figsize=(9.6, 3.8), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=12)
    left.plot(steps, right, color=BLUE, marker="o", markersize=3, linewidth=1.6)
    left.axhline(10, color=GREY, linewidth=1, linestyle=":")
    left.text(steps[-1], 11.5, "guessing a digit", ha="right", va="bottom", color=GREY, fontsize=9)
    left.set(ylim=(0, 103), title="Right answers", ylabel="% of the step's completions", xlabel="GRPO step")
    other.plot(steps, length, color=ORANGE, marker="o", markersize=3, linewidth=1.6)
    for tokens, name in ((32, "a worked solution: 32"), (11, "a direct guess: 11")):
        other.axhline(tokens, color=GREY, linewidth=1, linestyle=":")
        other.text(steps[-1], tokens + 0.5, name, ha="right", va="bottom", color=GREY, fontsize=9)
    other.set(ylim=(0, 36), title="Completion length", ylabel="tokens, mean of the step", xlabel="GRPO step")
    for axis in (left, other):
        axis.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.set_xlim(0, steps[-1] + 1)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.06, rect=(0, 0, 0.995, 1))
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy and completion length over GRPO steps.")
    parser.add_argument("run", type=Path, help="run folder of `openr1 pipeline tiny-cpu`")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument(
        "--title", default="openr1 pipeline tiny-cpu, 128 completions per step at temperature 1"
    )
    asked = parser.parse_args()
    draw(metrics_of(asked.run), asked.picture, asked.title)


if __name__ == "__main__":
    main()
