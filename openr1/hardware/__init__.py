"""What is here: detection (value + reason), the GPU catalogue, profiles, simulated machines."""

from __future__ import annotations

from openr1.hardware.detect import detect
from openr1.hardware.facts import Finding, Gpu, Machine
from openr1.hardware.profiles import PROFILES, forced_profile
from openr1.hardware.simulate import partition_machine, simulate

__all__ = [
    "PROFILES",
    "Finding",
    "Gpu",
    "Machine",
    "detect",
    "forced_profile",
    "partition_machine",
    "simulate",
]
