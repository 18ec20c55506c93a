"""A run while it goes: a bar with ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from openr1.cli.printer import Printer
from openr1.cli.words import duration, short
from openr1.language import label, translate

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from openr1.runs.health import Health

# What one watches, in this order, and how it is called on the screen; the names are TRL's.
WATCHED = (
    ("loss", "loss"),
    ("reward", "reward"),
    ("rewards/accuracy/mean", "right"),
    ("completions/mean_length", "length"),
    ("mean_token_accuracy", "token acc"),
    ("tokens_per_second", "tok/s"),
    ("eval_loss", "eval loss"),
    ("eval_reward", "eval reward"),
)
OUTCOMES = {"stop": "ended", "length": "cut off"}  # finish reasons, as one says them
PLAIN_EVERY = 15.0  # seconds between two lines where there is no terminal
WARM_UP_STEPS = 2  # the first steps are slow (caches, allocation) and not part of the estimate


class Live:
    """Draws the events of one run after the other; see `runs.events` for what they hold.

    Use as a context manager; `listen` is the listener that services call.
    """

    def __init__(self, printer: Printer, name: str = "") -> None:
        self.printer = printer
        self.silent = printer.json or printer.quiet
        self.console = printer.console(err=True)
        self.terminal = self.console.is_terminal and not self.silent
        self.progress: Progress | None = None
        self.task: TaskID | None = None
        self.name = name
        self.unit = "step"
        self.total = 0
        self.metrics: dict[str, float] = {}
        self.stage = ""
        self.outcomes = ""
        self.health: Health | None = None
        self.clock = Clock()
        self.pace: float | None = None
        self.last_line = 0.0
        self.unsaid = ""  # the newest state, where no line has said it yet
        self.said = ""  # the last state that was printed
        self.noted: set[str] = set()  # sections of a pipeline may have the same to say

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def listen(self, event: dict[str, Any]) -> None:
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler and not self.silent:
            handler(event)

    def _on_section(self, event: dict[str, Any]) -> None:
        self._close()
        prepared = event["prepared"]
        self.name, self.stage = prepared.resolved.name, prepared.resolved.stage
        self.metrics, self.health, self.outcomes = {}, None, ""
        for notice in prepared.notices:
            self._note(notice)
        if event["state"] != "finished":
            begins = event["state"] in (None, "created")
            said = translate(
                f"begins in {prepared.run.path}" if begins else f"continues in {prepared.run.path}"
            )
            self.console.print(f"{self.name}: {said}", markup=False, soft_wrap=True)

    def _note(self, text: str) -> None:
        """Print what is worth knowing, once."""
        if text not in self.noted:
            self.printer.note(text)
        self.noted.add(text)

    def _say(self) -> None:
        """Print the newest state, once."""
        if self.unsaid and self.unsaid != self.said:
            self._line(self.unsaid)
        self.said, self.unsaid = self.unsaid or self.said, ""

    def _on_pipeline(self, event: dict[str, Any]) -> None:
        for notice in event["plan"].notices:
            self._note(notice)

    def _on_phase(self, event: dict[str, Any]) -> None:
        self._say()
        name = translate(event["name"])
        if self.terminal:
            self._bar(name)
        else:
            self._line(f"{self.name}: {name}")

    def _on_pace(self, event: dict[str, Any]) -> None:
        self.pace = event["step_seconds"]

    def _on_start(self, event: dict[str, Any]) -> None:
        self._say()
        self.total, self.unit = int(event["total"]), event["unit"]
        self.clock = Clock(int(event["done"]), self.pace)
        self.health = _health(self.stage, self.total)
        if self.terminal:
            self._bar("")
            assert self.progress and self.task is not None
            self.progress.update(self.task, total=self.total, completed=event["done"])

    def _on_progress(self, event: dict[str, Any]) -> None:
        self.clock.tick(event["done"])
        if event.get("metrics"):
            self._look_after(event["metrics"])
            self.metrics.update({k: v for k, v in event["metrics"].items() if isinstance(v, (int, float))})
        if event.get("seconds"):
            self.metrics["tokens_per_second"] = event["tokens"] / event["seconds"]
        if event.get("outcomes"):
            called = ((label(OUTCOMES.get(name, name)), count) for name, count in event["outcomes"].items())
            self.outcomes = "  ".join(f"{name} {count:,}" for name, count in called)
        if self.terminal and self.progress and self.task is not None:
            what = translate(event["phase"]) if event.get("phase") else None
            self.progress.update(
                self.task,
                completed=event["done"],
                info=self._info() if not what else f"{what}  {self._info()}",
                eta=self._eta(event["done"]),
            )
        elif event["done"]:
            eta = self._eta(event["done"])
            left = f"  {eta}" if eta else ""
            unit = label(self.unit)
            self.unsaid = f"{self.name}: {unit} {event['done']}/{self.total}  {self._info()}{left}"
            if time.monotonic() - self.last_line > PLAIN_EVERY:
                self._say()

    def _look_after(self, metrics: dict[str, float]) -> None:
        """Say in words what the metrics show, once each."""
        for found in self.health.observe(metrics) if self.health else ():
            title, seen, advice = map(translate, (found.rule.title, found.seen, found.rule.advice))
            self.printer.note(f"{translate(f'step {found.last_step:g}')}: {title}. {seen} {advice}")

    def _on_notice(self, event: dict[str, Any]) -> None:
        self.printer.note(event["text"])

    def _on_rows(self, event: dict[str, Any]) -> None:
        from openr1.cli.rows_view import one_line

        if event["stage"] == "grpo":
            self.printer.note(
                "some prompts as the model will see them, ▌ gold answer (whole: --show-samples N)"
            )
        else:
            self.printer.note(
                "some rows as the model will see them; ⟦…⟧ is read and not learnt (whole: --show-samples N)"
            )
        for sample in event["samples"]:
            self.console.print(one_line(sample, self.console.width), style="dim", soft_wrap=True)

    def _on_stopping(self, event: dict[str, Any]) -> None:
        if self.stage in ("generate", "eval"):
            self.printer.note("finishing what is in flight; Ctrl-C again stops at once")
        else:
            self.printer.note("stopping after this step, with a checkpoint; Ctrl-C again stops at once")

    def _on_result(self, event: dict[str, Any]) -> None:
        self._say()
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, info=self._info(), eta="")
        self._close()

    def _info(self) -> str:
        shown = [f"{label(name)} {short(self.metrics[key])}" for key, name in WATCHED if key in self.metrics]
        return "  ".join([*shown, self.outcomes] if self.outcomes else shown)

    def _eta(self, done: int) -> str:
        left = self.clock.left(done, self.total)
        return "" if left is None else translate(f"{duration(left)} left")

    def _line(self, text: str) -> None:
        self.last_line = time.monotonic()
        self.console.print(text, markup=False, soft_wrap=True)

    def _bar(self, text: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        if self.progress is None:
            self.progress = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[info]}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[eta]}"),
                console=self.console,
            )
            self.progress.start()
            self.task = self.progress.add_task(self.name, total=None, info=text, eta="")
        elif self.task is not None:
            self.progress.update(self.task, info=text)

    def _close(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = self.task = None


def _health(stage: str, total: int) -> Health | None:
    """The rules for a stage that trains."""
    if stage not in ("sft", "grpo"):
        return None
    from openr1.runs.health import Health

    return Health(stage, total)


class Clock:
    """Estimates the rest from the pace of the steps seen so far, the first two left out.

    Args:
        pace: seconds of a step as a rehearsal or earlier runs had them, until this run has a pace of its own.
    """

    def __init__(self, done: int = 0, pace: float | None = None) -> None:
        self.pace = pace
        self.first = done
        self.mark: tuple[int, float] | None = None

    def tick(self, done: int) -> None:
        if self.mark is None and done >= self.first + WARM_UP_STEPS:
            self.mark = (done, time.monotonic())

    def left(self, done: int, total: int) -> float | None:
        """Seconds to go; None before there is a pace."""
        if total <= done:
            return None
        if self.mark is None or done <= self.mark[0]:
            return None if self.pace is None else self.pace * (total - done)
        steps, start = self.mark
        return (time.monotonic() - start) / (done - steps) * (total - done)
