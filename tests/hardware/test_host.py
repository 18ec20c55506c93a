"""Cores, RAM, disk and Slurm, read from files and texts as they are found in the wild."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openr1.hardware import host, slurm
from openr1.hardware.slurm import parse_gres, parse_sinfo

GIB = 1024**3


def v2(tmp_path: Path, files: dict[str, str], group: str = "job") -> tuple[Path, Path]:
    """A cgroup v2 tree with one group, and the /proc that points to it."""
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    (root / group).mkdir(parents=True)
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(f"0::/{group}\n")
    for name, text in files.items():
        (root / group / name).write_text(text)
    return root, proc


def test_a_quota_limits_the_cores(tmp_path: Path) -> None:
    found = host.usable_cores(*v2(tmp_path, {"cpu.max": "50000 100000"}))
    assert found.value == 0.5 and "quota" in found.reason


def test_no_quota(tmp_path: Path) -> None:
    found = host.usable_cores(*v2(tmp_path, {"cpu.max": "max 100000"}))
    assert found.value is not None and found.value >= 1 and "affinity" in found.reason


def test_a_v1_quota(tmp_path: Path) -> None:
    group = tmp_path / "cgroup/cpu,cpuacct/docker/abc"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("25000")
    (group / "cpu.cfs_period_us").write_text("100000")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:cpu,cpuacct:/docker/abc\n")
    assert host.usable_cores(tmp_path / "cgroup", tmp_path / "proc").value == 0.25


def test_a_limit_of_a_group_above_counts(tmp_path: Path) -> None:
    root, proc = v2(tmp_path, {"cpu.max": "max 100000"}, group="a/b")
    (root / "a/cpu.max").write_text("30000 100000")
    assert host.usable_cores(root, proc).value == pytest.approx(0.3)


def test_ram_under_a_limit(tmp_path: Path) -> None:
    files = {"memory.max": str(GIB), "memory.current": str(GIB // 4)}
    total, available = host.ram(*v2(tmp_path, files))
    assert total.value == GIB and available.value == GIB * 3 // 4
    assert "cgroup" in total.reason


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_ram_without_a_limit(tmp_path: Path, limit: str) -> None:
    total, _ = host.ram(*v2(tmp_path, {"memory.max": limit}))
    assert "system" in total.reason


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert host.usable_cores(tmp_path, tmp_path).value
    assert host.ram(tmp_path, tmp_path)[0].value


def test_cpu_features(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("model name\t: Xeon\nflags\t\t: fpu avx2 avx512f amx_bf16\n")
    name, features = host.cpu_facts(tmp_path)
    assert name.value == "Xeon" and features.value == ("avx2", "avx512", "amx_bf16")
    assert host.cpu_facts(tmp_path / "nowhere")[0].value is None


def test_disk_of_a_folder_to_come(tmp_path: Path) -> None:
    found = host.disk_free(tmp_path / "not/yet/there", "the run folder")
    assert found.value and found.value > 0


def test_the_cache_follows_hugging_face(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert host.cache_dir() == Path("~/.cache/huggingface/hub").expanduser()
    monkeypatch.setenv("HF_HOME", "/data/hf")
    assert host.cache_dir() == Path("/data/hf/hub")
    monkeypatch.setenv("HF_HUB_CACHE", "/data/hub")
    assert host.cache_dir() == Path("/data/hub")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpu:h100:8(S:0-1)", ("h100", 8)),
        ("gpu:4", (None, 4)),
        ("(null)", (None, 0)),
        ("gpu:a100:4,nvme:1", ("a100", 4)),
        ("gpu:a100:2(S:0),gpu:a100:2(S:1)", ("a100", 4)),
    ],
)
def test_gres(text: str, expected: tuple[str | None, int]) -> None:
    assert parse_gres(text) == expected


def test_sinfo() -> None:
    text = "batch*|4|gpu:h100:8(S:0-1)|3-00:00:00\ncpu|2|(null)|infinite\nbroken line\n"
    gpu, cpu = parse_sinfo(text)
    assert (gpu.name, gpu.nodes, gpu.gpus_per_node, gpu.gpu_type) == ("batch", 4, 8, "h100")
    assert (cpu.name, cpu.gpus_per_node, cpu.time_limit) == ("cpu", 0, "infinite")


def sinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    command = tmp_path / "sinfo"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def test_slurm_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sinfo(tmp_path, monkeypatch, "echo 'gpu|2|gpu:a100:4|1-00:00:00'")
    found = slurm.detect_slurm()
    assert found.value is not None and found.value.partitions[0].gpus_per_node == 4


@pytest.mark.parametrize(
    ("script", "word"), [("sleep 5", "did not answer"), ("echo no >&2; exit 1", "failed: no")]
)
def test_a_slurm_in_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, word: str) -> None:
    sinfo(tmp_path, monkeypatch, script)
    found = slurm.detect_slurm(deadline_s=0.3)
    assert found.value is None and word in found.reason


def test_looking_and_planning_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from openr1.services.hw_profile import hw_profile\n"
        "from openr1.planning import plan\n"
        "hw_profile(simulate='RTX 3060', with_checks=True)\n"
        "from openr1.hardware import simulate\n"
        "plan('sft', {'model_name_or_path': 'Qwen/Qwen2.5-0.5B'}, simulate('8xH100'), explicit=())\n"
        "heavy = {'torch','transformers','trl','numpy','datasets','vllm','accelerate'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
