"""What there is to tell about one run: values with their origins, curves, health, samples, scores."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openr1.config.recipe import shipped
from openr1.runs import resolved_file
from openr1.runs.folder import RunFolder
from openr1.runs.health import Finding, Health, of_result
from openr1.runs.listing import Entry
from openr1.runs.manifest import SECRET
from openr1.runs.report.samples import ByReward, Exchange, by_reward, side_by_side
from openr1.runs.series import Series, number, rows, stride


@dataclass(frozen=True)
class Value:
    """One value of the configuration. `kind` is its origin's first word: default, plan, recipe, …"""

    key: str
    value: Any
    origin: str

    @property
    def kind(self) -> str:
        return self.origin.partition(":")[0]


@dataclass
class Story:
    """One run, or one section of a pipeline."""

    entry: Entry
    values: list[Value] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)
    series: Series = field(default_factory=Series)
    findings: list[Finding] = field(default_factory=list)
    completions: list[ByReward] = field(default_factory=list)
    answers: dict[str, list[Exchange]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What could not be read, and what was left out."""

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.entry.path)

    @property
    def name(self) -> str:
        return str(self.entry.manifest.get("section") or self.entry.path.name)

    @property
    def stage(self) -> str:
        return self.entry.kind

    @property
    def result(self) -> dict[str, Any]:
        found = self.entry.manifest.get("result")
        return found if isinstance(found, dict) else {}

    def value(self, key: str) -> Any:
        return next((v.value for v in self.values if v.key == key), None)

    @property
    def total_steps(self) -> float | None:
        return total_steps(self.entry.manifest, self.value("max_steps"), self.result.get("steps"))

    @property
    def predicted_peak(self) -> int | None:
        """Bytes of the phase that needs most, as planned; None when the plan does not say."""
        memory = self.plan.get("memory")
        if not isinstance(memory, dict) or not memory:
            return None
        try:
            return max(sum(terms.values()) for terms in memory.values())
        except (AttributeError, TypeError):
            return None


def total_steps(*candidates: Any) -> float | None:
    """Where a run ends: what the trainer wrote down, else what was asked for, else what was reached."""
    found = candidates[0].get("total_steps") if isinstance(candidates[0], dict) else None
    for value in (found, *candidates[1:]):
        steps = number(value) if value is not None else None
        if steps is not None and steps > 0:
            return steps
    return None


def tell(entry: Entry, *, samples: bool = True) -> Story:
    """Gather one run; never raises for what a folder holds.

    Args:
        samples: also choose completions; a page that is refreshed while the run goes on does so too.
    """
    story = Story(entry)
    if entry.problem:
        story.problems.append(f"{entry.path.name}: {entry.problem}")
        story.problems += [entry.fix] if entry.fix else []
    _configuration(story)
    story.findings = of_result(story.stage, story.result)
    _metrics(story)
    if samples:
        _samples(story)
    return story


def _configuration(story: Story) -> None:
    path = story.run.resolved
    try:
        head, found = resolved_file.settings(path)
    except FileNotFoundError:
        story.problems.append("resolved.yaml is missing: the configuration is not known")
        return
    except OSError as error:
        story.problems.append(f"resolved.yaml cannot be read: {error.strerror}")
        return
    if not found:
        story.problems.append("resolved.yaml holds no values")
    story.values = [Value(key, "…" if SECRET.search(key) and v else v, o) for key, v, o in found]
    plan = head.get("plan")
    story.plan = plan if isinstance(plan, dict) else {}


def _metrics(story: Story) -> None:
    path = story.run.metrics
    training = story.stage in ("sft", "grpo")
    try:
        every = stride(path)
        health = Health(story.stage, story.total_steps)
        for row in rows(path, every):
            story.series.add(row)
            health.observe(row)
    except FileNotFoundError:
        if training:
            story.problems.append("metrics.jsonl is missing: there are no curves")
        return
    except OSError as error:
        story.problems.append(f"metrics.jsonl cannot be read: {error.strerror}")
        return
    story.findings = [*health.findings, *story.findings]
    if training and not story.series.rows:
        story.problems.append("metrics.jsonl holds no whole row yet")
    if every > 1:
        story.problems.append(f"metrics.jsonl is very long: every {every}th row was read")
    if story.series.left_out:
        story.problems.append(f"more than {len(story.series.curves)} different metrics: the rest is left out")


def _samples(story: Story) -> None:
    run = story.run
    try:
        story.completions = by_reward(run.samples / "completions.jsonl")
        tasks: dict[str, list[dict[str, Any]]] = {}
        for score in story.entry.scores:
            tasks.setdefault(str(score.get("task")), []).append(score)
        for task, scores in tasks.items():
            story.answers[task] = side_by_side(run.path, scores)
    except OSError as error:
        story.problems.append(f"samples cannot be read: {error.strerror}")


def command_of(entry: Entry, first: Story) -> str:
    """The command that made a run: as its manifest has it, else rebuilt from its first section's values."""
    return entry.command or _rebuilt_command(first, "pipeline" if entry.sections else first.stage)


def _rebuilt_command(story: Story, verb: str) -> str:
    """The command of a run whose manifest does not name it, from the origins of its values."""
    words, recipe = [], None
    environment = []
    for value in story.values:
        if value.kind == "command line":
            flag = value.origin.partition(": ")[2].split("=")[0].split(" ")[0] or f"--{value.key}"
            words += [flag, _as_word(value.value)]
        elif value.kind == "environment":
            environment.append(f"{value.origin.partition(': ')[2]}={shlex.quote(_as_word(value.value))}")
        elif value.kind == "recipe" and recipe is None:
            recipe = value.origin.partition(": ")[2].rpartition(":")[0]
    if recipe is None:
        recipe = str(story.entry.manifest.get("recipe") or "RECIPE")
    section = ["--section", story.name] if story.name != story.stage and verb == story.stage else []
    line = shlex.join(["openr1", verb, _shipped(recipe), *section, *words])
    return " ".join([*environment, line])


def _shipped(recipe: str) -> str:
    """A recipe of ours by its name alone: where it was installed is nobody's business."""
    path = Path(recipe)
    if path.name == recipe and not path.exists() and path.stem in shipped():
        return path.stem
    return path.stem if path.is_absolute() and path.parent.name in ("configs", "_recipes") else recipe


def _as_word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
