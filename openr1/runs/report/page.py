"""One HTML file per run: no network, no script, every text of a run escaped and made visible."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openr1 import __version__
from openr1.language import label, language, translate
from openr1.runs import manifest
from openr1.runs.files import write_whole
from openr1.runs.health import Finding, rules
from openr1.runs.listing import Entry
from openr1.runs.report import draw
from openr1.runs.report.charts import Picture, pictures, pictures_of_two
from openr1.runs.report.lineage import PAGE, headline, lineage, link, pipeline_of
from openr1.runs.report.markup import trusted, visible
from openr1.runs.report.rehearsed import rehearsed
from openr1.runs.report.samples import Answer, ByReward, Exchange
from openr1.runs.report.scores import (
    Pair,
    by_section,
    foreign_tables,
    funnel,
    interval,
    pair_row,
    score_tables,
)
from openr1.runs.report.story import Story, command_of
from openr1.runs.words import duration, percent, short

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
VALUE_CHARS = 600  # of one value of the configuration


def write_run(entry: Entry, stories: Sequence[Story], pairs: Sequence[Pair]) -> Path:
    """Write `report.html` into the run's folder; whole or not at all.

    Raises:
        EnvironmentProblem: the folder cannot be written to.
    """
    path = entry.path / PAGE
    write_whole(path, render_run(entry, stories, pairs))
    return path


def render_run(entry: Entry, stories: Sequence[Story], pairs: Sequence[Pair]) -> str:
    """The page of a run, or of a pipeline with its sections."""
    sections = [_section(story) for story in stories]
    running = entry.state == "running"
    first = stories[0].entry.manifest
    return (
        _environment(language())
        .get_template("run.html.j2")
        .render(
            css=_css(),
            lang=language(),
            title=_title(entry),
            state=entry.state,
            state_class=entry.state if entry.state.isalpha() else "",
            running=running,
            subtitle=_subtitle(entry, first),
            pipeline=pipeline_of(entry),
            cards=_cards(entry, stories),
            error=_error(entry),
            problems=[translate(p) for story in stories for p in story.problems],
            nodes=lineage(entry),
            score_tables=score_tables(entry.scores),
            foreign=foreign_tables(entry),
            kept=[(story.name, rows) for story in stories if (rows := funnel(story.result))],
            pairs=[pair_row(p) for p in pairs],
            watched=any(s["rows"] or s["judged"] for s in sections),
            sections=sections,
            commands=_commands(entry, stories),
            versions=_versions(first),
            written=_written(),
        )
    )


def write_two(path: Path, sides: Sequence[tuple[str, Entry, Sequence[Story]]], pairs: Sequence[Pair]) -> None:
    """Write the page that compares two runs.

    Args:
        sides: (name, entry, stories) of the first and of the second.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    write_whole(path, render_two(path.parent, sides, pairs))


def render_two(
    folder: Path, sides: Sequence[tuple[str, Entry, Sequence[Story]]], pairs: Sequence[Pair]
) -> str:
    """Two runs over each other; `folder` is where the page will lie."""
    (first, _, stories_a), (second, _, stories_b) = sides
    matched = match(stories_a, stories_b)
    sections = []
    for one, other in matched:
        if one.series.rows or other.series.rows:
            drawn = pictures_of_two(one, other, (first, second))
            sections.append({"name": one.name, **_drawn(drawn)})
    unmatched = [
        translate(f"{name} has no counterpart of its section {story.name}")
        for name, stories, place in ((first, stories_a, 0), (second, stories_b, 1))
        for story in stories
        if not any(pair[place] is story for pair in matched)
    ]
    findings = [
        (name, [_finding(f) for s in stories for f in s.findings])
        for name, _, stories in sides
        if any(s.series.rows or s.findings for s in stories)
    ]
    scores = [
        {**score, "model": f"{score.get('model')}, {label(which)}", "colour": colour}
        for colour, (which, side) in enumerate(zip(("first", "second"), sides, strict=True), start=1)
        for score in side[1].scores
    ]
    models = list(dict.fromkeys(str(score["model"]).partition(",")[0] for score in scores))
    scores.sort(key=lambda score: models.index(str(score["model"]).partition(",")[0]))
    return (
        _environment(language())
        .get_template("two.html.j2")
        .render(
            css=_css(),
            lang=language(),
            title=f"{first} · {second}",
            sides=[
                {
                    "name": name,
                    "href": link(entry.path, folder),
                    "detail": " · ".join(
                        filter(None, (entry.kind, label(entry.state), translate(headline(entry))))
                    ),
                }
                for name, entry, _ in sides
            ],
            problems=unmatched
            + [translate(p) for _, _, stories in sides for s in stories for p in s.problems],
            score_tables=score_tables(scores),
            foreign=[table for _, entry, _ in sides for table in foreign_tables(entry)],
            pairs=[pair_row(p) for p in pairs],
            differences=[_difference(one, other) for one, other in matched],
            sections=sections,
            findings=findings,
            written=_written(),
        )
    )


def match(a: Sequence[Story], b: Sequence[Story]) -> list[tuple[Story, Story]]:
    """Sections that belong together: of the same name, else of the same stage when each side has one."""
    if len(a) == 1 and len(b) == 1:
        return [(a[0], b[0])]
    by_name = [(x, y) for x in a for y in b if x.name == y.name]
    if by_name:
        return by_name
    stages = {s.stage for s in (*a, *b)}
    found = []
    for stage in stages:
        sides = [[s for s in side if s.stage == stage] for side in (a, b)]
        if all(len(side) == 1 for side in sides):
            found.append((sides[0][0], sides[1][0]))
    return found


def differences(one: Story, other: Story, say: Callable[[str], str] = str) -> list[dict[str, str]]:
    """The values that differ: key, first, second, origins; `say` puts these into the reader's language."""
    left = {v.key: v for v in one.values}
    right = {v.key: v for v in other.values}
    found = []
    for key in sorted({*left, *right}):
        a, b = left.get(key), right.get(key)
        if a and b and a.value == b.value:
            continue
        if (a is None or b is None) and (a or b).kind == "default":  # type: ignore[union-attr]
            continue  # a key that the other's version did not have
        origins = dict.fromkeys(v.origin for v in (a, b) if v)
        found.append(
            {
                "key": key,
                "first": _value(a.value) if a else "–",
                "second": _value(b.value) if b else "–",
                "origins": " / ".join(map(say, origins)),
            }
        )
    return found


def _difference(one: Story, other: Story) -> dict[str, Any]:
    found = differences(one, other, say=translate)
    known = bool(one.values and other.values)
    said = "Every value is the same." if known else "The configuration of one of them is not known."
    return {"name": one.name, "rows": found, "said": translate(said)}


def _written() -> str:
    when = manifest.now().replace("T", " ").removesuffix("+00:00")
    return translate(f"Written by openr1 {__version__} on {when} UTC.")


@functools.cache
def _environment(_language: str) -> Environment:
    """One for each language: jinja puts our words into a template when it compiles it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,  # whatever a run holds is text
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=visible,
    )
    found.filters.update(t=label, say=translate)  # our own words, in the reader's language
    return found


def _css() -> Any:
    return trusted((HERE / "style.css").read_text(encoding="utf-8"))


def _section(story: Story) -> dict[str, Any]:
    trained = story.stage in ("sft", "grpo")
    return {
        "name": story.name,
        "stage": story.stage,
        "trained": trained,
        "judged": _judged(story),
        "rows": f"{story.series.rows:,}" if story.series.rows else "",
        "well": _well(story),
        "summary": _summary(story),
        "findings": [_finding(f) for f in story.findings],
        "warnings": [f for f in story.findings if f.rule.level == "warning"],
        "rehearsal": rehearsed(story.run.path),
        "completions": [_step(group) for group in story.completions],
        "answers": [(task, [_exchange(e) for e in es]) for task, es in story.answers.items() if es],
        "chosen": [_shown_value(v) for v in story.values if v.kind != "default"],
        "defaults": [_shown_value(v) for v in story.values if v.kind == "default"],
        **_drawn(pictures(story) if trained else []),
    }


def _judged(story: Story) -> str:
    """That all is well with an evaluation or a generation that has ended, and what was looked at."""
    if story.stage == "eval" and story.entry.scores:
        return translate(
            f"Nothing unusual in {len(story.entry.scores)} scores: cut-off answers, missing ones, and those "
            "nobody could judge."
        )
    counted = story.stage == "generate" and story.result
    return translate("Nothing unusual in the counts of this generation.") if counted else ""


def _well(story: Story) -> str:
    """What the rules looked at in a training."""
    count = sum(story.stage in rule.stages for rule in rules())
    return translate(
        f"No warning in {story.series.rows:,} rows of metrics, of {count} rules. A curve can leave what its "
        "caption calls well before a rule warns, and not every curve has a rule."
    )


def _drawn(found: list[Picture]) -> dict[str, Any]:
    if not draw.can_draw():
        said = translate(f"Curves are drawn by matplotlib, which is not installed: {draw.INSTALL}")
        return {"pictures": [], "no_curves": said if found else ""}
    return {"pictures": [_picture(p) for p in found], "no_curves": ""}


def _picture(picture: Picture) -> dict[str, Any]:
    bad = [(line.curve.first_bad_step, line.curve.not_finite) for line in picture.lines]
    bad = [b for b in bad if b[1]]
    return {
        "title": translate(picture.chart.title),
        "unit": label(picture.chart.unit),
        "svg": trusted(draw.curve_svg(picture)),
        "expected": translate(picture.expected),
        "bad": translate(f"{bad[0][1]:,} values are no finite numbers, from step {bad[0][0]:g} on.")
        if bad
        else "",
        "lines": [
            {
                "label": label(line.label),
                "colour": line.colour,
                "range": " → ".join(draw.said(v, picture.chart) for v in (line.curve.first, line.curve.last)),
            }
            for line in picture.lines
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    said = {key: translate(str(finding.as_dict()[key])) for key in ("title", "seen", "expected", "advice")}
    return {**finding.as_dict(), **said, "when": translate(finding.when)}


def _step(group: ByReward) -> dict[str, Any]:
    unknown = math.isnan(group.step)
    title = translate("At a step, by reward" if unknown else f"At step {group.step:g}, by reward")
    exchanges = [_exchange(e) for e in group.exchanges]
    places = {1: ["only one"], 2: ["best", "worst"]}.get(len(exchanges), ["best", "middle", "worst"])
    return {"title": title, "exchanges": exchanges, "places": [label(place) for place in places]}


def _exchange(exchange: Exchange) -> dict[str, Any]:
    answers = [(who, _answer(a)) for who, a in exchange.answers]
    return {"prompt": exchange.prompt, "gold": exchange.gold, "answers": answers}


def _answer(answer: Answer) -> dict[str, Any]:
    advantage = answer.advantage
    return {
        "reasoning": answer.reasoning.strip(),
        "answer": _bare(answer.answer.strip()),
        "verdict": answer.verdict,
        "tokens": answer.tokens,
        "rewards": [(name, short(value)) for name, value in answer.rewards.items()],
        "total": short(answer.total),
        "advantage": f"{advantage:+.2f}" if advantage is not None and math.isfinite(advantage) else "",
        "reason": _reason(answer),
    }


def _reason(answer: Answer) -> str:
    """Why an answer is not right: how it was read (the model's own text), and what is wrong with that."""
    why = "not the right answer" if answer.reason in ("different", "not equal") else answer.reason or ""
    if not why or answer.extracted is None:
        return translate(why)
    return f"{label('read as')} {answer.extracted}: {translate(why)}"


def _bare(text: str) -> str:
    """An answer without the tags around it, where nothing stands beside them."""
    inner = text.removeprefix("<answer>").removesuffix("</answer>")
    whole = len(inner) == len(text) - len("<answer></answer>") and "<answer>" not in inner
    return inner.strip() if whole else text


def _shown_value(value: Any) -> dict[str, str]:
    return {"key": value.key, "value": _value(value.value), "origin": translate(value.origin)}


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_CHARS else f"{text[:VALUE_CHARS]}…"


def _summary(story: Story) -> str:
    found = story.entry.manifest
    parts = []
    if story.series.rows:
        last, total = f"{story.series.last_step:g}", story.total_steps
        parts.append(translate(f"step {last} of {total:g}" if total else f"step {last}"))
    if isinstance(found.get("seconds"), int | float) and found["seconds"]:
        parts.append(duration(found["seconds"]))
    data = found.get("data")
    if isinstance(data, dict):
        parts += [translate(f"{data.get('rows')} rows"), str(data.get("name"))]
    batch = story.value("global_batch_size")
    if batch:
        grpo = story.stage == "grpo"
        parts.append(translate(f"{batch} completions per step" if grpo else f"{batch} rows per step"))
    return " · ".join(map(str, parts))


def _title(entry: Entry) -> str:
    """The folder's name; a section's with its pipeline's."""
    path = entry.path.resolve()
    return f"{path.parent.name}/{path.name}" if entry.manifest.get("section") == path.name else path.name


def _subtitle(entry: Entry, found: dict[str, Any]) -> str:
    stages = " → ".join(str(run.manifest.get("section") or run.path.name) for run in entry.runs)
    begun = str(found.get("created") or "")[:16].replace("T", " ")
    parts = [
        f"{label('recipe')} {found['recipe']}" if found.get("recipe") else "",
        f"{label('sections')} {stages}" if entry.sections else f"{label('stage')} {entry.kind}",
        translate(f"begun {begun} UTC") if begun else "",
        str(found.get("machine") or ""),
    ]
    return " · ".join(filter(None, parts))


def _cards(entry: Entry, stories: Sequence[Story]) -> list[dict[str, str]]:
    cards = []
    for story in stories:
        metric = "reward" if story.stage == "grpo" else "loss"
        curve = story.series.curves.get(metric)
        if story.stage in ("sft", "grpo") and curve is not None and math.isfinite(curve.first):
            told = f"{short(curve.first)} → {short(curve.last)}"
            cards.append(
                {"label": f"{story.name}: {label(metric)}", "value": told, "detail": _summary(story)}
            )
    for (section, task), scores in by_section(entry.scores).items():
        first, last = scores[0], scores[-1]
        told = percent(last["accuracy"])
        if len(scores) > 1:
            told = f"{percent(first['accuracy'])} → {told}"
        who = f"{first.get('model')} → {last.get('model')}" if len(scores) > 1 else str(last.get("model"))
        cards.append({"label": f"{section}: {task}", "value": told, "detail": f"{who} {interval(last)}"})
    if entry.seconds:
        all_ = label("all attempts")
        cards.append({"label": label("time"), "value": duration(entry.seconds), "detail": all_})
    return cards


def _error(entry: Entry) -> dict[str, Any] | None:
    for run in entry.runs:
        found = run.manifest.get("error")
        if isinstance(found, dict):
            return {key: translate(str(found.get(key) or "")) for key in ("what", "where", "fix")}
    return None


def _commands(entry: Entry, stories: Sequence[Story]) -> dict[str, Any]:
    again = command_of(entry, stories[0])
    finished = [s for s in stories if s.stage in ("sft", "grpo") and s.entry.state == "finished"]
    more = [f"openr1 eval TASK --model {s.entry.path}" for s in finished[-1:]]
    more.append(f"openr1 report {entry.path} ANOTHER_RUN")
    unfinished = entry.state not in ("finished", "running")
    return {"again": again, "more": more, "unfinished": unfinished}


def _versions(found: dict[str, Any]) -> str:
    versions = found.get("versions")
    parts = [f"openr1 {found.get('openr1')}"] if found.get("openr1") else []
    if isinstance(versions, dict):
        parts += [f"{name} {version}" for name, version in versions.items()]
    if found.get("git"):
        parts.append(f"commit {found['git']}")
    return ", ".join(parts)
