"""Which curves a page shows, what each should look like, and which lines belong on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from openr1.language import label, translate
from openr1.runs.report.story import Story
from openr1.runs.series import Curve

LINES = 6  # colours there are
UNPLANNED = "Level after the first steps. No plan says what to expect here."  # of memory


@dataclass(frozen=True)
class Chart:
    """One picture: the metrics on it, and a sentence on how to read it.

    Args:
        metrics: TRL's names; `*` stands for any part.
        expected: by stage, or "" for every stage.
        share: values are shares of one, shown in percent.
        scale: values are divided by it.
    """

    id: str
    title: str
    metrics: tuple[str, ...]
    expected: dict[str, str]
    unit: str = ""
    share: bool = False
    scale: float = 1.0
    from_zero: bool = False


CHARTS = (
    Chart(
        "loss",
        "Loss",
        ("loss", "eval_loss"),
        {
            "sft": "Falls fast, then slowly. A jump: learning rate too high, or an odd row. No rule looks.",
            "grpo": "Says little in GRPO: it hovers around 0 while the model gets better. Watch the reward.",
        },
    ),
    Chart("reward", "Reward", ("reward",), {"": "Rises, unevenly. The sum of the rewards below, by weight."}),
    Chart(
        "rewards",
        "Rewards, one by one",
        ("rewards/*/mean",),
        {"": "The form is learned first, right answers later. One that stays at 0 teaches nothing."},
    ),
    Chart(
        "spread",
        "Reward spread",
        ("reward_std",),
        {"": "Above 0: without a difference between answers there is nothing to prefer."},
        from_zero=True,
    ),
    Chart(
        "equal",
        "Groups without a difference",
        ("frac_reward_zero_std",),
        {"": "Below 80 %; a warning above 90 % while answers are wrong. Such a group teaches nothing."},
        share=True,
    ),
    Chart(
        "verdicts",
        "Verdicts",
        ("verdict/*",),
        {"": "What the grader said of the answers. Only right answers count."},
        share=True,
    ),
    Chart(
        "length",
        "Completion length",
        ("completions/mean_length",),
        {"": "Rises while thinking pays; a warning below half of its start. Band: shortest to longest."},
        unit="tokens",
        from_zero=True,
    ),
    Chart(
        "clipped",
        "Cut off at the limit",
        ("completions/clipped_ratio",),
        {"": "Below 30 %; a warning above 50 %. What is cut off has no answer to pay for."},
        share=True,
    ),
    Chart(
        "entropy",
        "Entropy",
        ("entropy",),
        {
            "grpo": "Falls slowly; a warning below 0.02 while answers are wrong: it has stopped trying.",
            "sft": "Falls with the loss: the model becomes sure of what comes next.",
        },
        unit="nats per token",
        from_zero=True,
    ),
    Chart(
        "kl",
        "KL from the start model",
        ("kl",),
        {"": "Grows slowly, stays below about 0.5; a warning above 2. Measured only when beta is above 0."},
        unit="nats per token",
        from_zero=True,
    ),
    Chart(
        "grad",
        "Gradient norm",
        ("grad_norm",),
        {"": "Without jumps; a warning at 10 times what it was. Before clipping."},
        from_zero=True,
    ),
    Chart(
        "accuracy",
        "Next token right",
        ("mean_token_accuracy",),
        {"": "Rises as the loss falls."},
        share=True,
    ),
    Chart(
        "lr",
        "Learning rate",
        ("learning_rate",),
        {"": "Up during warm-up, then down; it reaches its end with the last step."},
        from_zero=True,
    ),
    Chart(
        "speed",
        "Speed",
        ("tokens_per_second",),
        {"": "Level. A drop is heat, waiting for data, or longer completions. No rule watches it."},
        unit="real tokens per second",
        from_zero=True,
    ),
    Chart(
        "memory",
        "Memory, at most",
        ("memory/peak_bytes",),
        {"": "Below what was planned, and far from what there is. No rule watches it."},
        unit="GiB",
        scale=2**30,
        from_zero=True,
    ),
    Chart(
        "heat",
        "GPU temperature",
        ("gpu/temperature",),
        {"": "Below about 80 °C; above, cards slow themselves down. A warning when they do."},
        unit="°C",
    ),
    Chart(
        "wait",
        "Waiting for data",
        ("data/wait",),
        {"": "Near 0: the next batch is there when it is needed. A warning above 30 %."},
        share=True,
        from_zero=True,
    ),
)


@dataclass(frozen=True)
class Line:
    """One curve on a chart, in the colour of that number (1 to LINES)."""

    label: str
    curve: Curve
    colour: int
    band: tuple[Curve, Curve] | None = None


@dataclass(frozen=True)
class Picture:
    """A chart with what is drawn on it: `limits` are level lines (value, label), `marks` steps."""

    chart: Chart
    lines: tuple[Line, ...]
    expected: str
    limits: tuple[tuple[float, str], ...] = ()
    marks: tuple[float, ...] = field(default=())


def pictures(story: Story) -> list[Picture]:
    """The charts of one run, for the metrics it has."""
    found = []
    for chart in CHARTS:
        lines = tuple(_lines(chart, story))
        if lines:
            names = [name for name in story.series.curves if _fits(name, chart)]
            marks = tuple(f.step for f in story.findings if f.rule.level != "note" and f.metric in names)
            limits = _limits(chart, story)
            expected = UNPLANNED if chart.id == "memory" and not limits else _expected(chart, story.stage)
            found.append(Picture(chart, lines, expected, limits, marks))
    return found


def pictures_of_two(a: Story, b: Story, names: tuple[str, str]) -> list[Picture]:
    """The same chart for two runs, over each other; a chart of several metrics becomes one per metric."""
    found = []
    for chart in CHARTS:
        metrics = [n for n in {**a.series.curves, **b.series.curves} if _fits(n, chart)]
        for metric in metrics:
            drawn = [
                Line(name, story.series.curves[metric], colour)
                for colour, (name, story) in enumerate(zip(names, (a, b), strict=True), start=1)
                if metric in story.series.curves and not _nothing(chart, story.series.curves[metric])
            ]
            if drawn:
                name = translate(chart.title)
                title = name if len(metrics) == 1 else f"{name}: {label(_label(metric))}"
                one = Chart(
                    f"{chart.id}-{_label(metric)}",
                    title,
                    (metric,),
                    chart.expected,
                    chart.unit,
                    chart.share,
                    chart.scale,
                    chart.from_zero,
                )
                found.append(Picture(one, tuple(drawn), _expected(chart, a.stage)))
    return found


def _lines(chart: Chart, story: Story) -> list[Line]:
    curves = story.series.curves
    names = [n for n in curves if _fits(n, chart) and not _nothing(chart, curves[n])]
    if chart.id == "verdicts":  # the most frequent ones, where there are more than colours
        names.sort(key=lambda n: -curves[n].high)
    lines = [Line(_label(n), curves[n], colour) for colour, n in enumerate(names[:LINES], start=1)]
    if chart.id == "length" and lines:
        ends = [curves.get(f"completions/{end}_length") for end in ("min", "max")]
        if ends[0] is not None and ends[1] is not None:
            lines[0] = Line(lines[0].label, lines[0].curve, 1, (ends[0], ends[1]))
    return lines


def _fits(name: str, chart: Chart) -> bool:
    return any(fnmatchcase(name, metric) for metric in chart.metrics)


def _nothing(chart: Chart, curve: Curve) -> bool:
    """A curve without a finite value; or a verdict that never occurred."""
    if curve.count == curve.not_finite:
        return True
    return chart.id == "verdicts" and curve.high == 0


def _label(metric: str) -> str:
    """A metric's own part of its name: `rewards/format/mean` is `format`."""
    return metric.removeprefix("rewards/").removesuffix("/mean").removeprefix("verdict/")


def _expected(chart: Chart, stage: str) -> str:
    return chart.expected.get(stage) or chart.expected.get("", "")


def _limits(chart: Chart, story: Story) -> tuple[tuple[float, str], ...]:
    found: list[tuple[Any, str]] = []
    if chart.id == "length":
        found.append((story.value("max_completion_length"), "limit"))
    if chart.id == "memory":
        found.append((story.predicted_peak, "planned"))
        capacity = story.plan.get("capacity_bytes")
        if story.predicted_peak:
            found.append((capacity, "there is"))
    if chart.id == "heat":
        found.append((story.plan.get("max_gpu_temp"), "pause"))
    return tuple((float(v), label) for v, label in found if isinstance(v, int | float) and v > 0)
