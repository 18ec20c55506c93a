"""An sbatch script as text. Whatever a person typed arrives in the job as it was typed."""

from __future__ import annotations

import importlib.resources
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openr1.errors import UsageError

NOTICE_SECONDS = 180  # the least before the time limit at which a job is asked to stop
MARGIN_SECONDS = 60  # of the notice, beside what was in flight
DISK_BYTES_PER_SECOND = 500e6  # of a shared file system that others write to as well
MOST_STOPS = 200  # time limits that one job may run into
MOST_FAILURES = 3  # failures after which it is tried again


@dataclass(frozen=True)
class Site:
    """What a site adds to every job: ~/.config/openr1/slurm.yaml."""

    sbatch: tuple[str, ...] = ()  # more options, e.g. "--qos=high"
    setup: tuple[str, ...] = ()  # shell lines before the start, e.g. "module load cuda"
    srun: tuple[str, ...] = ()  # options of srun, e.g. "--mpi=none"


@dataclass(frozen=True)
class Job:
    """One job, as data."""

    name: str
    argv: Sequence[str]  # the openr1 command, without the options of Slurm
    folder: Path  # where it was typed, and where it runs
    script: Path
    output: Path
    nodes: int = 1
    gpus_per_node: int = 0
    whole_nodes: bool = True
    partition: str | None = None
    time: str | None = None
    account: str | None = None
    notice: int = NOTICE_SECONDS
    site: Site = field(default_factory=Site)

    @property
    def expected(self) -> Path:
        """The plan as it was made at submission."""
        return self.script.with_name("expected.json")

    @property
    def failures(self) -> Path:
        """A line for each failure that the job was tried again after; the script adds the job's number."""
        return self.script.with_name("failures")


def notice_seconds(step: float, checkpoint_bytes: int, limit: int | None) -> int:
    """How long before its time limit a job is asked to stop: the step in flight and a checkpoint must fit in.

    Args:
        step: seconds of the longest step, its doubt included.
        limit: the job's; half of it is for work whatever the notice should be.
    """
    needed = MARGIN_SECONDS + step + checkpoint_bytes / DISK_BYTES_PER_SECOND
    notice = max(NOTICE_SECONDS, math.ceil(needed))
    return notice if limit is None else max(1, min(notice, limit // 2))


def limit_seconds(text: str) -> int | None:
    """A time limit as Slurm writes it; None where there is none.

    Raises:
        ValueError: it is no time.
    """
    if text.lower() in ("infinite", "unlimited", "n/a", "-1"):
        return None
    days, dash, rest = text.rpartition("-")
    cells = [int(cell) for cell in rest.split(":")]
    if len(cells) > 3 or any(cell < 0 for cell in cells):
        raise ValueError(text)
    if dash:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = [*cells, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    if len(cells) == 3:
        return (cells[0] * 60 + cells[1]) * 60 + cells[2]
    minutes, seconds = [*cells, 0][:2]
    return minutes * 60 + seconds


def render(job: Job) -> str:
    """The script.

    Raises:
        UsageError: a name that no `#SBATCH` line can hold.
    """
    import jinja2

    text = (importlib.resources.files("openr1.launch") / "templates" / "job.sh.j2").read_text("utf-8")
    template = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    ).from_string(text)
    return template.render(
        title=one_line(" ".join(map(shlex.quote, job.argv))),
        file=one_line(shlex.quote(str(job.script))),
        directives=directives(job),
        setup=job.site.setup,
        srun=" ".join(map(shlex.quote, job.site.srun)),
        folder=shlex.quote(str(job.folder)),
        expected=shlex.quote(str(job.expected)),
        failures=shlex.quote(str(job.failures)),
        nodes=job.nodes,
        command=" ".join(map(shlex.quote, job.argv)),
        most_stops=MOST_STOPS,
        most_failures=MOST_FAILURES,
    )


def one_line(text: str) -> str:
    """Text for a comment: a line break in it would end the comment."""
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", text)


def directives(job: Job) -> list[str]:
    """The `#SBATCH` lines."""
    named: Mapping[str, Any] = {
        "job-name": job.name,
        "nodes": job.nodes,
        "ntasks-per-node": 1,
        "partition": job.partition,
        "account": job.account,
        "time": job.time,
        "gres": f"gpu:{job.gpus_per_node}" if job.gpus_per_node else None,
        "output": str(job.output).replace("%", "%%").replace("%%j", "%j"),
        "open-mode": "append",
        "signal": f"TERM@{job.notice}",
    }
    lines = [f"--{key}={_quoted(value)}" for key, value in named.items() if value is not None]
    lines.append("--requeue")
    if job.whole_nodes:
        lines.append("--exclusive")
    return [*lines, *map(one_line, job.site.sbatch)]


def _quoted(value: Any) -> str:
    """A value as sbatch reads it from a script: quotes and backslashes, no line breaks."""
    text = str(value)
    if one_line(text) != text:
        raise UsageError(
            f"a line break in {json.dumps(text)}", where="a Slurm option or the run folder", fix="rename it"
        )
    if re.fullmatch(r"[\w./:@%+,=-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
