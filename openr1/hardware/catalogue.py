"""Facts about GPUs that the driver does not tell: bandwidth, speed, what they can run.

Numbers are dense bf16 with fp32 accumulation, without sparsity. `visible_gib` is what torch can
allocate from an idle card; expect a few per cent of spread. Sources: the vendor's data sheet,
cross-checked with the tables in nanochat, TRL and verl where they list the card.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True)
class GpuSpec:
    """One kind of card. `pattern` matches the driver's name of it, case ignored."""

    key: str  # the name a person types in --simulate
    pattern: str
    memory_gb: int  # as sold
    visible_gib: float
    bandwidth_gb_s: float
    bf16_tflops: float | None  # None: no bf16 units
    compute_capability: tuple[int, int] | None  # None: not NVIDIA
    flash_attention: str  # "fa3", "fa2" or "none"
    interconnect: str  # "nvlink" or "pcie"
    consumer: bool
    source: str

    @property
    def visible_bytes(self) -> int:
        """Memory that torch can allocate from an idle card, bytes."""
        return int(self.visible_gib * GIB)


_AMPERE = "NVIDIA GA102/GA106 white paper"
_ADA = "NVIDIA Ada GPU architecture white paper"
_A100 = "NVIDIA A100 data sheet; TRL and verl peak tables"
_HOPPER = "NVIDIA H100/H200 data sheets; nanochat, TRL and verl peak tables"

# key, pattern, GB, visible GiB, GB/s, bf16 TFLOP/s, capability, flash, link, consumer, source
# Order matters: the first pattern that matches wins, so the narrower names come first.
CATALOGUE: tuple[GpuSpec, ...] = tuple(
    GpuSpec(*row)
    for row in (
        ("RTX 3060", r"rtx\s*3060(?!\s*(ti|8))", 12, 11.6, 360, 25.5, (8, 6), "fa2", "pcie", True, _AMPERE),
        ("RTX 3080", r"rtx\s*3080(?!\s*ti)", 10, 9.6, 760, 59.5, (8, 6), "fa2", "pcie", True, _AMPERE),
        ("RTX 3090", r"rtx\s*3090(?!\s*ti)", 24, 23.6, 936, 71, (8, 6), "fa2", "pcie", True, _AMPERE),
        ("RTX 4060 Ti 16GB", r"rtx\s*4060\s*ti", 16, 15.6, 288, 44, (8, 9), "fa2", "pcie", True, _ADA),
        ("RTX 4070", r"rtx\s*4070(?!\s*(ti|super))", 12, 11.6, 504, 58, (8, 9), "fa2", "pcie", True, _ADA),
        ("RTX 4080", r"rtx\s*4080", 16, 15.6, 717, 97, (8, 9), "fa2", "pcie", True, _ADA),
        ("RTX 4090", r"rtx\s*4090", 24, 23.5, 1008, 165, (8, 9), "fa2", "pcie", True, _ADA),
        ("RTX 5090", r"rtx\s*5090", 32, 31.4, 1792, 210, (12, 0), "fa2", "pcie", True,
         "NVIDIA RTX Blackwell white paper"),
        ("A100-40GB", r"a100.*40\s*gb?", 40, 39.4, 1555, 312, (8, 0), "fa2", "nvlink", False, _A100),
        ("A100-80GB", r"a100", 80, 79.2, 2039, 312, (8, 0), "fa2", "nvlink", False, _A100),
        ("A10", r"\ba10g?\b", 24, 22.0, 600, 125, (8, 6), "fa2", "pcie", False, "NVIDIA A10 data sheet"),
        ("A6000", r"rtx\s*a6000|\ba6000", 48, 47.5, 768, 155, (8, 6), "fa2", "pcie", False,
         "NVIDIA RTX A6000 data sheet"),
        ("L40S", r"\bl40s", 48, 44.5, 864, 362, (8, 9), "fa2", "pcie", False, "NVIDIA L40S data sheet"),
        ("L4", r"\bl4\b", 24, 22.0, 300, 121, (8, 9), "fa2", "pcie", False, "NVIDIA L4 data sheet"),
        ("T4", r"\bt4\b", 16, 14.7, 320, None, (7, 5), "none", "pcie", False, "NVIDIA T4 data sheet"),
        ("V100-32GB", r"v100.*32\s*gb?", 32, 31.7, 900, None, (7, 0), "none", "nvlink", False,
         "NVIDIA V100 data sheet"),
        ("V100", r"v100", 16, 15.8, 900, None, (7, 0), "none", "nvlink", False, "NVIDIA V100 data sheet"),
        ("H100 NVL", r"h100.*nvl", 94, 93.1, 3900, 835, (9, 0), "fa3", "pcie", False, _HOPPER),
        ("H100 PCIe", r"h100.*pcie", 80, 79.2, 2000, 756, (9, 0), "fa3", "pcie", False, _HOPPER),
        ("H100", r"h100", 80, 79.2, 3350, 989, (9, 0), "fa3", "nvlink", False, _HOPPER),
        ("H200", r"h200", 141, 139.8, 4800, 989, (9, 0), "fa3", "nvlink", False, _HOPPER),
        ("H800", r"h800", 80, 79.2, 3350, 989, (9, 0), "fa3", "nvlink", False, _HOPPER),
        ("H20", r"\bh20\b", 96, 95.0, 4000, 148, (9, 0), "fa3", "nvlink", False,
         "verl peak table; NVIDIA H20 data sheet"),
        ("B200", r"b200", 180, 178.0, 8000, 2250, (10, 0), "fa2", "nvlink", False,
         "NVIDIA Blackwell data sheet; nanochat peak table"),
        ("MI300X", r"mi300x", 192, 191.0, 5300, 1307, None, "fa2", "nvlink", False, "AMD MI300X data sheet"),
    )
)  # fmt: skip


def find_spec(name: str) -> GpuSpec | None:
    """The catalogue's entry for a card's name, or None for a card it does not know.

    >>> find_spec("NVIDIA H100 80GB HBM3").key
    'H100'
    """
    for spec in CATALOGUE:
        if re.search(spec.pattern, name, re.IGNORECASE):
            return spec
    return None


def known_names() -> tuple[str, ...]:
    """The names `--simulate` knows, as a person types them."""
    return tuple(spec.key for spec in CATALOGUE)
