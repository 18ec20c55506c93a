"""CPU, RAM and disk of this node, as far as this process may use them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

from openr1.hardware.facts import Finding, unknown

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc")
# A v1 cgroup without a limit reports a number near 2**63; anything above this is "no limit".
_NO_LIMIT = 1 << 60
_FEATURES = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_bf16": "avx512_bf16",
    "amx_bf16": "amx_bf16",
}


def usable_cores(cgroup: Path = CGROUP, proc: Path = PROC) -> Finding[float]:
    """Cores this process may keep busy: the smaller of its affinity and its cgroup's quota."""
    if hasattr(os, "sched_getaffinity"):
        affinity = float(len(os.sched_getaffinity(0)))
        why = f"CPU affinity allows {affinity:g}"
    else:
        affinity = float(os.cpu_count() or 1)
        why = f"the system counts {affinity:g}"
    quota = _cpu_quota(cgroup, proc)
    if quota is not None and quota < affinity:
        return Finding(quota, f"the cgroup's CPU quota ({why})")
    return Finding(affinity, why)


def _cpu_quota(cgroup: Path, proc: Path) -> float | None:
    """The tightest quota from this process's group up to the root, cores; None = no limit."""
    limits: list[float] = []
    for folder in _own_groups(cgroup, proc, "cpu"):
        text = _read(folder / "cpu.max")  # v2: "max 100000" or "QUOTA PERIOD"
        if text is not None and not text.startswith("max"):
            quota, _, period = text.partition(" ")
            limits.append(float(quota) / float(period or 100000))
        text = _read(folder / "cpu.cfs_quota_us")  # v1: -1 = no limit
        period_text = _read(folder / "cpu.cfs_period_us")
        if text is not None and period_text is not None and float(text) > 0:
            limits.append(float(text) / float(period_text))
    return min(limits) if limits else None


def ram(cgroup: Path = CGROUP, proc: Path = PROC) -> tuple[Finding[int], Finding[int]]:
    """Total and available RAM in bytes, under the cgroup's limit."""
    memory = psutil.virtual_memory()
    total: Finding[int] = Finding(int(memory.total), "the system's memory")
    available: Finding[int] = Finding(int(memory.available), "the system's available memory")
    limits: list[tuple[int, int]] = []
    for folder in _own_groups(cgroup, proc, "memory"):
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, used = _read(folder / limit_name), _read(folder / used_name)
            if limit is not None and limit != "max" and int(limit) < _NO_LIMIT:
                limits.append((int(limit), int(used or 0)))
    for limit_bytes, used_bytes in limits:
        if total.value is not None and limit_bytes < total.value:
            total = Finding(limit_bytes, "the cgroup's memory limit")
        left = max(limit_bytes - used_bytes, 0)
        if available.value is not None and left < available.value:
            available = Finding(left, "what the cgroup's memory limit leaves")
    return total, available


def _own_groups(cgroup: Path, proc: Path, controller: str) -> list[Path]:
    """Folders of this process's cgroups for a controller, from its own up to the root."""
    folders: list[Path] = []
    for line in (_read(proc / "self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and names == "":  # v2
            roots = [cgroup, cgroup / "unified"]
        elif controller in names.split(","):
            roots = [cgroup / names, cgroup / controller]
        else:
            continue
        for root in roots:
            folder = root / path.lstrip("/")
            # A container often sees its own group as the root, so the path may not exist.
            while True:
                folders.append(folder)
                if folder == root or root not in folder.parents:
                    break
                folder = folder.parent
    return [f for f in dict.fromkeys(folders) if f.is_dir()]


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def cpu_facts(proc: Path = PROC) -> tuple[Finding[str], Finding[tuple[str, ...]]]:
    """The CPU's name and those of its vector units that matter for training."""
    text = _read(proc / "cpuinfo")
    if text is None:
        nothing = unknown("no /proc/cpuinfo on this system")
        return nothing, nothing
    names: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        names.setdefault(key.strip(), value.strip())
    flags = set((names.get("flags") or names.get("Features") or "").split())
    features = tuple(word for flag, word in _FEATURES.items() if flag in flags)
    name = names.get("model name")
    found: Finding[str] = Finding(name, "/proc/cpuinfo") if name else unknown("/proc/cpuinfo names no model")
    return found, Finding(features, "flags in /proc/cpuinfo")


def disk_free(path: Path, what: str) -> Finding[int]:
    """Free bytes where `path` is, or would be created."""
    there = path.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        return Finding(shutil.disk_usage(there).free, f"free at {what}")
    except OSError as error:
        return unknown(f"cannot read the disk at {what}: {error}")


def cache_dir() -> Path:
    """Where Hugging Face keeps what it downloads, by its own rules (HF_HUB_CACHE, HF_HOME)."""
    if hub := os.environ.get("HF_HUB_CACHE"):
        return Path(hub).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(home).expanduser() / "hub"
