"""`openr1 … --slurm`: plan for a partition, write the job's script, hand it to Slurm."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.errors import EnvironmentProblem, OpenR1Error, RecipeError, UsageError, from_dict
from openr1.hardware.simulate import partition_machine
from openr1.hardware.slurm import Partition, ask_partitions
from openr1.launch.slurm import Job, Site, limit_seconds, notice_seconds, render
from openr1.planning.disk import checkpoint_bytes
from openr1.planning.find_shape import find_shape
from openr1.runs import manifest
from openr1.runs.files import write_json, write_whole
from openr1.runs.folder import RunFolder, runs_root
from openr1.services.request import TO_COME

PLANNED = ("sft", "grpo", "pipeline", "eval", "generate")
COMMANDS = (*PLANNED, "bench")
OVER_NODES = ("sft", "grpo", "generate")  # what can work on several nodes
DEADLINE_S = 60


@dataclass(frozen=True)
class JobAsked:
    """The options of Slurm on a command line."""

    nodes: int = 1
    partition: str | None = None
    time: str | None = None
    account: str | None = None
    simulate: str | None = None


@dataclass(frozen=True)
class Submission:
    """A job that is ready to be submitted; nothing is written yet."""

    job: Job
    script: str
    machine: str | None  # what it is planned for, as --simulate says it
    planned: dict[str, Any]  # the dry run
    notices: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "script": self.script,
            "file": str(self.job.script),
            "run": self.planned.get("run"),
            "planned_for": self.machine,
            "plan": self.planned.get("plan"),
            "notices": list(self.notices),
        }


def prepare(words: Sequence[str], asked: JobAsked) -> Submission:
    """Everything but the submission.

    Args:
        words: the command line without `openr1` and without the options of Slurm.

    Raises:
        UsageError: a command that no job runs, several nodes for one that works on one.
        OpenR1Error: what the command itself would refuse.
    """
    check(words, asked)
    return prepare_on(words, asked, *planned_for(asked))


def check(words: Sequence[str], asked: JobAsked) -> None:
    """Raises UsageError for a command that no job runs, and for several nodes where one does the work."""
    command = words[0] if words else ""
    if command not in COMMANDS:
        raise UsageError(
            f"`openr1 {command}` is no job for Slurm", where="--slurm", fix=f"one of {', '.join(COMMANDS)}"
        )
    if asked.nodes > 1 and command not in OVER_NODES:
        raise UsageError(
            f"`openr1 {command}` works on one node",
            where="--nodes",
            fix="--nodes belongs to sft, grpo and generate",
        )


def prepare_on(
    words: Sequence[str], asked: JobAsked, machine: str | None, partition: Partition | None
) -> Submission:
    """The job of one command, on what `planned_for` found.

    Raises:
        OpenR1Error: what the command itself would refuse.
    """
    planned: dict[str, Any] = dry_run([*words, "--dry-run"], machine) if words[0] in PLANNED else {}
    if "distilabel" in ((planned.get("plan") or {}).get("requires") or ()):
        raise UsageError(
            "a distilabel pipeline is no job for Slurm: it has not been seen to stop before a time limit",
            where="--engine",
            fix="leave --engine distilabel out, or --slurm",
        )
    to_come = (planned.get("plan") or {}).get(TO_COME)
    if to_come:
        raise UsageError(
            f"section {to_come[0]} of this recipe is not trained yet",
            where="--slurm",
            fix="openr1 pipeline RECIPE --slurm trains and evaluates, or name a model: --model MODEL",
        )
    run = Path(planned["run"]) if "run" in planned else runs_root() / words[0]
    place = run.resolve() / "slurm"
    gpus, whole = _gpus(planned, partition, machine)
    job = Job(
        name=f"openr1-{run.name}",
        argv=[sys.executable, "-m", "openr1", *words],
        folder=Path.cwd(),
        script=place / "job.sh",
        output=place / "job-%j.out",
        nodes=asked.nodes,
        gpus_per_node=gpus,
        whole_nodes=whole,
        partition=asked.partition,
        time=asked.time,
        account=asked.account,
        notice=_notice(planned, asked, partition),
        site=site(),
    )
    return Submission(job, render(job), machine, planned, tuple(planned.get("notices") or ()))


def submit(submission: Submission) -> int:
    """Write the script into the run folder and hand it to Slurm; the job's number.

    Raises:
        UsageError: the run has a job already.
        EnvironmentProblem: no sbatch here, or Slurm refuses the job.
    """
    check_sbatch()
    waits = in_the_queue(submission.job)
    if waits:
        raise UsageError(
            f"job {waits} of this run waits or runs already; it continues by itself after a time limit",
            where="--slurm",
            fix=f"look with `squeue -j {waits}`; to start anew: scancel {waits}, then this command again",
        )
    job, run = submission.job, submission.job.script.parent.parent
    if submission.planned.get("stage") and run.name and manifest.read(run) is None:
        _make_run(RunFolder(run), submission.planned)
    write_whole(job.script, submission.script)
    plan = submission.planned.get("plan") or {}
    write_json(job.expected, {"planned_for": submission.machine, "plan": plan})
    done = _ask(["sbatch", "--parsable", str(job.script)])
    if done.returncode != 0:
        raise EnvironmentProblem(
            f"Slurm refuses the job: {_slurm_words(done.stderr) or f'sbatch ended with {done.returncode}'}",
            where=str(job.script),
            fix="mend the option it names, or the site's lines in slurm.yaml, and give the command again",
        )
    return int(done.stdout.strip().split(";")[0])


def in_the_queue(job: Job) -> str | None:
    """The number of a job for the same run, from the same folder; two at once would write one run."""
    if shutil.which("squeue") is None:
        return None
    done = _ask(["squeue", "--noheader", "--me", f"--name={job.name}", "--format=%i %Z"])
    lines = [line.split(" ", 1) for line in done.stdout.splitlines() if " " in line]
    return next((number for number, folder in lines if folder.strip() == str(job.folder)), None)


def check_sbatch() -> None:
    """Raises EnvironmentProblem where nothing can be submitted."""
    if shutil.which("sbatch") is None:
        raise EnvironmentProblem(
            "`sbatch` is not installed here, so no job can be submitted",
            where="--slurm",
            fix="give the command on a login node of the cluster; --dry-run prints the script anywhere",
        )


def _make_run(run: RunFolder, planned: dict[str, Any]) -> None:
    """The run is there before its job: a folder with a script alone would be nobody's."""
    fields: dict[str, Any] = {}
    for key in ("recipe", "section", "stage", "hash", "parents"):
        if key in planned:
            fields[key] = planned[key]
    fields |= {"seconds": 0.0, "command": manifest.command_line()}
    write_json(run.path / "manifest.json", manifest.new(fields))


def planned_for(asked: JobAsked) -> tuple[str | None, Partition | None]:
    """What to plan for, as `--simulate` says it: the partition's nodes, never this one."""
    nodes = f", {asked.nodes} nodes" if asked.nodes > 1 else ""
    if asked.simulate:
        return asked.simulate + ("" if re.search(r"\bnodes?\b", asked.simulate) else nodes), None
    partitions = ask_partitions()
    if not partitions:
        raise EnvironmentProblem(
            "the partitions' GPUs are not known: `sinfo` is not installed or does not answer",
            where="--slurm",
            fix='say what a node has: --simulate "8xH100", or give the command on a login node',
        )
    partition = _chosen(partitions, asked.partition)
    if asked.nodes > partition.nodes:
        raise UsageError(
            f"--nodes {asked.nodes}, but partition {partition.name} has {partition.nodes}",
            where="--nodes",
            fix=f"--nodes {partition.nodes} or less",
        )
    if partition.gpus_per_node < 1:
        return f"cpu, {partition.cpus} cores{nodes}", partition
    machine = partition_machine(partition.facts, asked.nodes)
    return str(machine.simulated), partition


def _chosen(partitions: Sequence[Partition], name: str | None) -> Partition:
    by_name = {partition.name: partition for partition in partitions}
    if name is None:
        return next((p for p in partitions if p.default), partitions[0])
    first = name.split(",")[0]  # Slurm takes a list and starts where there is room first
    if first not in by_name:
        raise UsageError(
            f"no partition called {first!r}", where="--partition", fix=f"one of {', '.join(by_name)}"
        )
    return by_name[first]


def dry_run(words: Sequence[str], machine: str | None) -> Any:
    """What a command that only shows would say on that machine, in a process of its own.

    Raises:
        OpenR1Error: what the command refuses.
    """
    extra = ["--simulate", machine] if machine else []
    done = subprocess.run(
        [sys.executable, "-m", "openr1", *words, *extra, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise OpenR1Error(f"the dry run ended with {done.returncode}: {done.stderr.strip()[-300:]}") from None
    if "error" in found:
        raise from_dict(found["error"])
    return found


def _gpus(planned: dict[str, Any], partition: Partition | None, machine: str | None) -> tuple[int, bool]:
    """GPUs to ask for on each node, and whether the whole node is needed."""
    plan = planned.get("plan") or {}
    sides = [len(plan.get(key) or ()) for key in ("train_gpus", "vllm_gpus")]
    used = max(sides) if plan.get("vllm_nodes") else sum(sides)  # a node that serves does not train
    here = partition.gpus_per_node if partition else _count(machine)
    if not here:
        return 0, True
    wanted = used or here
    return wanted, wanted >= here


def _notice(planned: dict[str, Any], asked: JobAsked, partition: Partition | None) -> int:
    """Seconds before the time limit that the longest of the sections needs to stop.

    Raises:
        UsageError: `--time` is no time.
    """
    step, disk = 0.0, 0
    for section in planned.get("sections") or [planned]:
        plan = section.get("plan") or {}
        each = (plan.get("step_seconds") or {}).get("value") or 0.0
        step = max(step, each * float(plan.get("time_doubt") or 1.0))
        values = {key: found["value"] for key, found in (section.get("values") or {}).items()}
        shape = find_shape(values.get("model_name_or_path")).value if each else None
        disk = max(disk, checkpoint_bytes(shape, values) if shape else 0)
    try:
        limit = limit_seconds(asked.time or (partition.facts.time_limit if partition else "infinite"))
    except ValueError:
        if not asked.time:
            limit = None
        else:
            raise UsageError(
                f"--time {asked.time} is no time limit",
                where="--time",
                fix="as Slurm writes it: 90 (minutes), 12:00:00 or 2-00:00:00",
            ) from None
    return notice_seconds(step, disk, limit)


def _count(machine: str | None) -> int:
    from openr1.hardware import simulate

    return len(simulate(machine).gpus) if machine else 0


def config_file() -> Path:
    """Where a site's lines are."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "openr1" / "slurm.yaml"


def site() -> Site:
    """The site's lines, or none.

    Raises:
        RecipeError: a key or a value that is not known there.
    """
    path = config_file()
    if not path.is_file():
        return Site()
    import yaml

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise RecipeError(f"not YAML: {' '.join(str(error).split())}", where=str(path)) from None
    known = ("sbatch", "setup", "srun")
    lines = {
        key: tuple([value] if isinstance(value, str) else value)
        for key, value in (loaded.items() if isinstance(loaded, dict) else ())
        if isinstance(value, (str, list)) and all(isinstance(line, str) for line in value)
    }
    if not isinstance(loaded, dict) or set(loaded) != set(lines) or set(lines) - set(known):
        raise RecipeError(
            "a site's file holds lists of lines",
            where=str(path),
            fix='sbatch: ["--qos=high"], setup: ["module load cuda"], srun: [] and nothing else',
        )
    return Site(**lines)


def mismatch(plan: dict[str, Any], file: str | None) -> str | None:
    """How the plan of this allocation differs from the one at submission, in words; None when it does not."""
    if not file or not Path(file).is_file():
        return None
    before = json.loads(Path(file).read_text(encoding="utf-8"))
    planned = before.get("plan") or {}
    names = {
        "processes": "processes",
        "nodes": "nodes",
        "vllm_nodes": "nodes that serve vLLM",
        "sharding": "sharding",
        "train_gpus": "training GPUs of a node",
        "vllm_gpus": "GPUs that serve vLLM",
        "per_device_train_batch_size": "rows per device",
    }
    names |= {
        "backend": "backend",
        "engines": "engines",
        "tensor_parallel": "tensor parallel",
        "pipeline_parallel": "stages",
    }
    then, now = _comparable(planned), _comparable(plan)
    different = [
        f"{words} {then[key]} → {now.get(key)}"
        for key, words in names.items()
        if key in then and then[key] != now.get(key)
    ]
    cards = [
        one["capacity_bytes"]
        for one in (planned, plan)
        if one.get("train_gpus") and one.get("capacity_bytes")
    ]
    if len(cards) == 2 and min(cards) < 0.9 * max(cards):  # two of one kind never show quite as much
        different.append("memory of a GPU {:.0f} → {:.0f} GiB".format(*(size / 2**30 for size in cards)))
    if not different:
        return None
    return (
        f"planned for {before.get('planned_for')} at submission, planned again here: {', '.join(different)}"
    )


def _comparable(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan's facts flat, and its cards counted."""
    found = {**plan, **(plan.get("sampling") or {})}
    found |= {key: len(plan[key] or ()) for key in ("train_gpus", "vllm_gpus") if key in plan}
    rows = (plan.get("values") or {}).get("per_device_train_batch_size")
    return found | ({"per_device_train_batch_size": rows["value"]} if rows else {})


def _ask(argv: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(
            f"Slurm's controller did not answer {argv[0]} within {DEADLINE_S} s",
            where="--slurm",
            fix="look with `scontrol ping`, then give the command again",
        ) from None


def _slurm_words(text: str) -> str:
    """Slurm's error lines without their prefixes."""
    lines = [re.sub(r"^\w+: (error|fatal): ", "", line.strip()) for line in text.splitlines() if line.strip()]
    return "; ".join(lines)
