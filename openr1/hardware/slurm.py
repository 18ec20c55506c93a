"""Slurm as its own command describes it: partitions and the GPUs of their nodes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace

from openr1.hardware.facts import Finding, Slurm, SlurmPartition, unknown

_FORMAT = "%P|%D|%G|%l"
_FULL = "%P|%D|%G|%l|%c"


@dataclass(frozen=True)
class Partition:
    """One partition as a job sees it."""

    facts: SlurmPartition
    default: bool
    cpus: int  # of each node

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def nodes(self) -> int:
        return self.facts.nodes

    @property
    def gpus_per_node(self) -> int:
        return self.facts.gpus_per_node


def ask_partitions(deadline_s: float = 15.0) -> tuple[Partition, ...]:
    """The site's partitions, the default one marked; empty where `sinfo` is missing or does not answer."""
    try:
        done = subprocess.run(
            ["sinfo", "-h", "-o", _FULL], capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_partitions(done.stdout) if done.returncode == 0 else ()


def parse_partitions(text: str) -> tuple[Partition, ...]:
    """The lines of `sinfo -h -o "%P|%D|%G|%l|%c"`: one per kind of node; a partition's first kind is taken,
    its nodes are counted together."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        head, _, cpus = line.strip().rpartition("|")
        for facts in parse_sinfo(head):
            known = found.get(facts.name)
            if known is not None:
                facts = replace(known.facts, nodes=known.nodes + facts.nodes)
            default = line.strip().split("|")[0].endswith("*")
            count = known.cpus if known is not None else int(cpus.rstrip("+") or 1)
            found[facts.name] = Partition(facts, default, count)
    return tuple(found.values())


def detect_slurm(deadline_s: float = 5.0) -> Finding[Slurm]:
    """The site's partitions by `sinfo`, or why there are none to see."""
    inside = "SLURM_JOB_ID" in os.environ
    if shutil.which("sinfo") is None:
        if inside:
            return Finding(Slurm(True, ()), "inside a Slurm job, but `sinfo` is not installed here")
        return unknown("no Slurm: `sinfo` is not installed")
    try:
        done = subprocess.run(
            ["sinfo", "-h", "-o", _FORMAT], capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired:
        return unknown(f"Slurm's controller did not answer `sinfo` within {deadline_s:g} s")
    except OSError as error:
        return unknown(f"`sinfo` cannot be run: {error}")
    if done.returncode != 0:
        return unknown(f"`sinfo` failed: {done.stderr.strip() or done.returncode}")
    return Finding(Slurm(inside, parse_sinfo(done.stdout)), "`sinfo`")


def parse_sinfo(text: str) -> tuple[SlurmPartition, ...]:
    """The lines of `sinfo -h -o "%P|%D|%G|%l"`; a default partition's star is dropped."""
    partitions = []
    for line in text.splitlines():
        cells = line.strip().split("|")
        if len(cells) != 4 or not cells[1].isdigit():
            continue
        name, nodes, gres, limit = cells
        gpu_type, per_node = parse_gres(gres)
        partitions.append(SlurmPartition(name.rstrip("*"), int(nodes), per_node, gpu_type, limit))
    return tuple(partitions)


def parse_gres(gres: str) -> tuple[str | None, int]:
    """`gpu:h100:8(S:0-1)` → ("h100", 8); `gpu:4` → (None, 4); `(null)` → (None, 0)."""
    kind: str | None = None
    count = 0
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        cells = entry.strip().split(":")
        if cells[0] != "gpu" or not cells[-1].isdigit():
            continue
        count += int(cells[-1])
        if len(cells) == 3:
            kind = cells[1]
    return kind, count
