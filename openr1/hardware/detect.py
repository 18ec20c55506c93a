"""Everything about this machine, without torch."""

from __future__ import annotations

import os
from pathlib import Path

from openr1.hardware import host, nvml
from openr1.hardware.facts import Finding, Machine
from openr1.hardware.packages import installed_packages
from openr1.hardware.profiles import choose_profile
from openr1.hardware.slurm import detect_slurm


def detect(run_dir: Path | None = None) -> Machine:
    """The facts of this node. `run_dir` is where runs will be written (default: the current folder)."""
    report = nvml.detect_gpus()
    total, available = host.ram()
    cpu_name, cpu_features = host.cpu_facts()
    nodes = _nodes()
    return Machine(
        profile=choose_profile(report.gpus, report.reason, nodes.value or 1),
        gpus=report.gpus,
        gpus_reason=report.reason,
        gpus_problem=report.problem,
        driver=report.driver,
        cuda=report.cuda,
        cpu_name=cpu_name,
        cpu_cores=host.usable_cores(),
        cpu_features=cpu_features,
        ram_bytes=total,
        ram_available_bytes=available,
        disk_free_bytes=host.disk_free(run_dir or Path.cwd(), "the run folder"),
        cache_free_bytes=host.disk_free(host.cache_dir(), "the Hugging Face cache"),
        nodes=nodes,
        slurm=detect_slurm(),
        packages=installed_packages(),
    )


def _nodes() -> Finding[int]:
    """Nodes of this allocation: Slurm's count inside a job, otherwise this one."""
    count = os.environ.get("SLURM_JOB_NUM_NODES", "")
    if count.isdigit() and int(count) > 0:
        return Finding(int(count), "SLURM_JOB_NUM_NODES")
    return Finding(1, "this node; no Slurm job around")
