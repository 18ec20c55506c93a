"""What is known about a machine: every fact is a value and the reason to believe it.

Unknown stays `None`, with the reason why it could not be found; nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Finding(Generic[T]):
    """One fact: `value` (None = unknown) and where it comes from, or why it is unknown."""

    value: T | None
    reason: str

    @property
    def known(self) -> bool:
        """Whether there is a value at all."""
        return self.value is not None


def unknown(reason: str) -> Finding[Any]:
    """A fact that could not be found."""
    return Finding(None, reason)


@dataclass(frozen=True)
class Gpu:
    """One accelerator this process may use.

    `index` is the number a person would put in CUDA_VISIBLE_DEVICES.
    """

    index: int
    name: Finding[str]
    total_bytes: Finding[int]  # memory the driver reports
    free_bytes: Finding[int]  # what is left now, others' use deducted
    compute_capability: Finding[tuple[int, int]]
    interconnect: Finding[str]  # "nvlink" or "pcie"
    bandwidth_gb_s: Finding[float]  # memory bandwidth, GB/s
    bf16_tflops: Finding[float]  # dense bf16 with fp32 accumulation
    flash_attention: Finding[str]  # "fa3", "fa2" or "none": what this generation of cards can run
    uuid: Finding[str]
    used_by: Finding[tuple[str, ...]]  # other processes on the card, "PID NAME BYTES"
    temperature_c: Finding[int]
    power_w: Finding[float]
    mig: Finding[bool]  # True: a slice of a card, memory and compute are the slice's

    @property
    def usable_bytes(self) -> int | None:
        """Free memory, or the total where free is unknown."""
        return self.free_bytes.value if self.free_bytes.known else self.total_bytes.value

    @property
    def bf16(self) -> bool | None:
        """Whether the card computes in bf16: compute capability 8.0 and up (NVIDIA's tables)."""
        capability = self.compute_capability.value
        return None if capability is None else capability >= (8, 0)


@dataclass(frozen=True)
class Slurm:
    """What the Slurm of this site offers, as `sinfo` tells."""

    inside_job: bool
    partitions: tuple[SlurmPartition, ...]


@dataclass(frozen=True)
class SlurmPartition:
    """One partition: its nodes and the GPUs of each."""

    name: str
    nodes: int
    gpus_per_node: int
    gpu_type: str | None
    time_limit: str


@dataclass(frozen=True)
class Machine:
    """Everything the planner may rely on. One node's facts; `nodes` equal nodes in all."""

    profile: Finding[str]  # "light", "h100x8", "cpu" or "derived"
    gpus: tuple[Gpu, ...]
    gpus_reason: str  # why there are these GPUs, or none
    driver: Finding[str]
    cuda: Finding[str]  # newest CUDA the driver supports
    cpu_name: Finding[str]
    cpu_cores: Finding[float]  # usable under cgroup and affinity; a quota can be fractional
    cpu_features: Finding[tuple[str, ...]]  # of "avx2", "avx512", "avx512_bf16", "amx_bf16"
    ram_bytes: Finding[int]  # total usable, cgroup limit included
    ram_available_bytes: Finding[int]
    disk_free_bytes: Finding[int]  # at the run folder
    cache_free_bytes: Finding[int]  # at the Hugging Face cache
    nodes: Finding[int]
    slurm: Finding[Slurm]
    packages: Finding[dict[str, str]]  # import-relevant distributions and their versions
    gpus_problem: str | None = None  # set when GPUs should be there and cannot be used
    simulated: str | None = None  # the text of --simulate

    def as_dict(self) -> dict[str, Any]:
        """Every fact as JSON-ready values; a finding is `{"value": …, "reason": …}`."""
        plain = to_plain(self)
        assert isinstance(plain, dict)
        return plain


def to_plain(value: Any) -> Any:
    """Dataclasses, tuples and paths as JSON-ready dictionaries, lists and strings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value
