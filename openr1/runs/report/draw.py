"""Curves and intervals as SVG, drawn by matplotlib in colours that the page's style decides.

matplotlib is an extra and is imported here only, when something is drawn. It draws with the few colours
below, which nothing else uses, and they are replaced by CSS variables: one picture serves light and dark.
"""

from __future__ import annotations

import importlib.util
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

from openr1.errors import EnvironmentProblem
from openr1.language import label as translate_label
from openr1.language import translate
from openr1.runs.report.charts import Chart, Line, Picture
from openr1.runs.report.markup import visible
from openr1.runs.series import Curve

INSTALL = 'pip install "openr1[report]"'
COLOURS = {
    "#0a0b00": "var(--ink)",
    "#0a0b01": "var(--muted)",
    "#0a0b02": "var(--grid)",
    "#0a0b03": "var(--alert)",
    **{f"#0a0b1{n}": f"var(--s{n})" for n in range(1, 7)},
}
INK, MUTED, GRID, ALERT = list(COLOURS)[:4]
WIDTH, HEIGHT = 4.0, 2.1  # inches at 72 points: about the size at which a page shows it
NARROW = 3.4  # of intervals: their labels stay readable on a phone, and style.css bounds them on a desk
MARKED_POINTS = 45  # fewer points are shown as such
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.6,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.unicode_minus": True,
    "text.parse_math": False,  # a reward may have a dollar sign in its name
}


def can_draw() -> bool:
    """Whether matplotlib is there; nothing is imported."""
    return importlib.util.find_spec("matplotlib") is not None


def need_drawing() -> None:
    """Raises EnvironmentProblem, with the install command, when matplotlib is not there."""
    if not can_draw():
        raise EnvironmentProblem("curves are drawn by matplotlib, which is not installed", fix=INSTALL)


def curve_svg(picture: Picture) -> str:
    """One chart as an `<svg>` element."""
    import matplotlib
    from matplotlib.figure import Figure

    need_drawing()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": picture.chart.id}):
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axis = figure.add_axes((0.13, 0.16, 0.85, 0.8))
        axis.grid(axis="y", color=GRID, linewidth=0.6)
        axis.set_axisbelow(True)
        for line in picture.lines:
            _draw(axis, line, picture.chart)
        _frame(axis, picture)
        return _svg(figure, _words(picture))


def _draw(axis: Any, line: Line, chart: Chart) -> None:
    colour = f"#0a0b1{line.colour}"
    steps, means, lows, highs = arrays(line.curve, chart.scale)
    if line.band:
        shorter, longer = (arrays(curve, chart.scale)[1] for curve in line.band)
        if len(shorter) == len(longer) == len(steps):
            lows, highs = shorter, longer
    if lows != means or highs != means:
        axis.fill_between(steps, lows, highs, color=colour, alpha=0.18, linewidth=0)
    few = len(steps) <= MARKED_POINTS
    axis.plot(
        steps, means, color=colour, linewidth=1.4, marker="o" if few else None, markersize=2.2, clip_on=False
    )


def arrays(curve: Curve, scale: float) -> tuple[list[float], list[float], list[float], list[float]]:
    """Steps, means, lows and highs of a curve's points; NaN where a point has no finite value."""
    points = curve.points
    finite = [bool(p.values) for p in points]
    return (
        [p.step for p in points],
        [p.mean / scale for p in points],
        [p.low / scale if ok else math.nan for p, ok in zip(points, finite, strict=True)],
        [p.high / scale if ok else math.nan for p, ok in zip(points, finite, strict=True)],
    )


def _frame(axis: Any, picture: Picture) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    chart = picture.chart
    low, high = axis.get_ylim()
    if chart.share:
        low, high = min(0.0, low), max(1.0, high)
        if picture.lines and max(line.curve.high for line in picture.lines) < 0.25:
            high = max(0.02, 1.25 * max(line.curve.high for line in picture.lines))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.3g}%"))
    else:
        axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v)))
    if chart.from_zero:
        low = min(0.0, low)
    for value, label in picture.limits:
        level = value / chart.scale
        if low <= level <= high + 2.5 * (high - low):  # a far limit would flatten the curve
            high = max(high, level * 1.08)
            axis.axhline(level, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
            axis.annotate(
                f"{translate_label(label)} {brief(level)}",
                (1.0, level),
                xycoords=("axes fraction", "data"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="right",
                va="bottom",
                color=MUTED,
                fontsize=7.6,
            )
    axis.set_ylim(low, high)
    for step in picture.marks:
        axis.axvline(step, color=ALERT, linewidth=1.0, linestyle=(0, (2, 2)))
    axis.annotate(
        translate_label("step"),
        (0, 0),
        xycoords="axes fraction",
        xytext=(-3, -12),
        textcoords="offset points",
        ha="right",
        color=MUTED,
        fontsize=7.6,
    )
    steps = [point.step for line in picture.lines for point in line.curve.points]
    if max(steps) > min(steps):
        edge = 0.02 * (max(steps) - min(steps))
        axis.set_xlim(min(steps) - edge, max(steps) + edge)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v)))
    axis.yaxis.set_major_locator(MaxNLocator(5))


def interval_svg(rows: Sequence[tuple[str, float, float, float, int]], name: str) -> str:
    """Scores as points with their intervals.

    Args:
        rows: (label, accuracy, low, high, colour), shares of one, top to bottom.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    need_drawing()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        height = 0.42 + 0.22 * len(rows)
        figure = Figure(figsize=(NARROW, height))
        axis = figure.add_axes((0.25, 0.30 / height, 0.70, 1 - 0.36 / height))
        axis.grid(axis="x", color=GRID, linewidth=0.6)
        axis.set_axisbelow(True)
        for place, (_, accuracy, low, high, colour) in enumerate(rows):
            axis.plot([low, high], [place, place], color=f"#0a0b1{colour}", linewidth=2.4, alpha=0.55)
            axis.plot([accuracy], [place], "o", color=f"#0a0b1{colour}", markersize=5, clip_on=False)
        axis.set_yticks(range(len(rows)), [_fit(visible(row[0]), 12) for row in rows])
        axis.tick_params(axis="y", length=0, pad=7, labelcolor=INK)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlim(0, 1)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f}%"))
        said = "; ".join(f"{r[0]} {100 * r[1]:.1f} % ({100 * r[2]:.1f} to {100 * r[3]:.1f})" for r in rows)
        return _svg(figure, said)


def _fit(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def brief(value: float) -> str:
    """A number for an axis: `0.5`, `12k`, `3e-4`."""
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-3 or size >= 1e9:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for limit, letter in ((1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{value / {'M': 1e6, 'k': 1e3}[letter]:.3g}{letter}"
    return f"{value:.4g}"


def _words(picture: Picture) -> str:
    """What a picture shows, for those who cannot see it."""
    found = [
        f"{line.label} {said(line.curve.first, picture.chart)} → {said(line.curve.last, picture.chart)}"
        for line in picture.lines
    ]
    return f"{translate(picture.chart.title)}: " + "; ".join(found)


def said(value: float, chart: Chart) -> str:
    """A value of a chart in its unit."""
    return f"{100 * value:.3g} %" if chart.share else brief(value / chart.scale)


def _svg(figure: Any, words: str) -> str:
    """The figure as one `<svg>` element of an HTML page: it scales, and says what it shows."""
    import io
    from html import escape

    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    out = io.StringIO()
    figure.patch.set_alpha(0)
    for axis in figure.axes:
        axis.patch.set_alpha(0)
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with warnings.catch_warnings():  # of glyphs its font lacks: the page's font draws them
        warnings.simplefilter("ignore")
        figure.savefig(out, format="svg", metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would hold for the whole page
    used = set(re.findall(r"#([\w.-]+)[\")]", text))
    text = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", text)
    text = re.sub(r"#0a0b[01]\d", lambda found: COLOURS[found[0]], text)
    text = re.sub(r" font-family: [^;\"]*;", "", text)  # the page's
    head, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    label = escape(visible(words), quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box[0] if box else ""} role="img" aria-label="{label}">{rest.strip()}'
    )
