"""--simulate: what parses, what it gives, and what is refused with examples."""

from __future__ import annotations

import json

import pytest

from openr1.errors import UsageError
from openr1.hardware import detect, forced_profile, partition_machine, simulate
from openr1.hardware.catalogue import CATALOGUE, GIB, find_spec
from openr1.hardware.facts import SlurmPartition


@pytest.mark.parametrize(
    ("text", "count", "card", "nodes", "profile"),
    [
        ("8xH100", 8, "H100", 1, "h100x8"),
        ("2x RTX 4090", 2, "RTX 4090", 1, "derived"),
        ("RTX 3060", 1, "RTX 3060", 1, "light"),
        ("1 x rtx3060", 1, "RTX 3060", 1, "light"),
        ("4xA100-40GB, 2 nodes", 4, "A100-40GB", 2, "derived"),
        ("8xH100, 2 nodes", 8, "H100", 2, "derived"),
        ("4 x A100", 4, "A100-80GB", 1, "derived"),
        ("8 H100", 8, "H100", 1, "h100x8"),
        ("4x A100-SXM4-80GB", 4, "A100-80GB", 1, "derived"),
        ("NVIDIA H200", 1, "H200", 1, "derived"),
        ("RTX 4070", 1, "RTX 4070", 1, "light"),
        ("2x8xH100", 8, "H100", 2, "derived"),
        ("4x3090", 4, "RTX 3090", 1, "derived"),
    ],
)
def test_machines_that_parse(text: str, count: int, card: str, nodes: int, profile: str) -> None:
    machine = simulate(text)
    assert len(machine.gpus) == count and machine.gpus[0].name.value == card
    assert machine.nodes.value == nodes and machine.profile.value == profile
    assert machine.simulated == text


def test_a_cpu_with_its_cores_and_ram() -> None:
    assert simulate("cpu").gpus == () and simulate("cpu").profile.value == "cpu"
    machine = simulate("cpu, 32 cores, 64 GB RAM")
    assert machine.cpu_cores.value == 32 and machine.ram_bytes.value == 64 * GIB
    assert simulate("16 cores").cpu_cores.value == 16


def test_what_is_assumed_is_said() -> None:
    assert "assumed" in simulate("cpu").cpu_cores.reason
    assert "assumed" not in simulate("cpu, 4 cores").cpu_cores.reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "banana",
        "0xH100",
        "8x",
        "8xH100, banana",
        "H100, 0 nodes",
        "99xH100",
        "x",
        "8 H100s!?",
        "H100 and T4",
        "0x8xH100",
        "2x8xH100, 2 nodes",
        "3095",
    ],
)
def test_machines_that_do_not_parse(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        simulate(text)
    assert caught.value.code == 2 and '"8xH100"' in str(caught.value.fix)


def test_a_slurm_partition_is_a_machine() -> None:
    machine = partition_machine(SlurmPartition("gpu", 10, 8, "h100", "1-0"), nodes=2)
    assert len(machine.gpus) == 8 and machine.nodes.value == 2
    assert partition_machine(SlurmPartition("g", 1, 4, "a100_80gb", "1-0")).gpus[0].name.value == "A100-80GB"
    for partition, word in (
        (SlurmPartition("cpu", 1, 0, None, "1-0"), "no GPUs"),
        (SlurmPartition("gpu", 1, 4, "banana", "1-0"), "banana"),
        (SlurmPartition("gpu", 1, 4, None, "1-0"), "without a name"),
    ):
        with pytest.raises(UsageError, match=word):
            partition_machine(partition)


def test_disk_comes_from_the_machine_at_hand() -> None:
    base = detect()
    assert simulate("8xH100", base).disk_free_bytes == base.disk_free_bytes
    assert simulate("8xH100").disk_free_bytes.value is None


@pytest.mark.parametrize(
    ("driver_name", "key"),
    [
        ("NVIDIA GeForce RTX 3060", "RTX 3060"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A10G", "A10"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("Tesla T4", "T4"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_driver_names_are_found(driver_name: str, key: str) -> None:
    spec = find_spec(driver_name)
    assert spec is not None and spec.key == key


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 3060 Ti", "NVIDIA GeForce GTX 1080", "Quadro P400"])
def test_other_cards_are_not_mistaken(name: str) -> None:
    assert find_spec(name) is None


def test_every_entry_finds_itself_and_has_a_source() -> None:
    for spec in CATALOGUE:
        assert find_spec(spec.key) is spec and spec.source
        assert 0.9 < spec.visible_gib / spec.memory_gb <= 1.0
        assert (spec.bf16_tflops is None) == (spec.flash_attention == "none")


def test_profiles_by_force() -> None:
    assert forced_profile("light").value == "light"
    with pytest.raises(UsageError, match="potato"):
        forced_profile("potato")


def test_machines_are_json() -> None:
    for machine in (detect(), simulate("8xH100")):
        assert '"reason"' in json.dumps(machine.as_dict())
