"""The service behind `openr1 hw-profile`: data for the screen and for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openr1.errors import UsageError
from openr1.services.hw_profile import Section, hw_profile, intent_of, the_machine, verify

GRPO: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct",
    "num_generations": 8,
    "global_batch_size": 64,
    "save_steps": 50,
    "save_total_limit": 2,
}
SECTION = Section("grpo", "grpo", GRPO, set(GRPO))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_this_machine() -> None:
    report = hw_profile()
    assert report.machine.cpu_cores.value and report.abilities and report.plans == ()
    assert json.loads(json.dumps(report.as_dict()))["machine"]["profile"]["reason"]


def test_a_recipe_s_phases_and_their_causes() -> None:
    report = hw_profile(simulate="RTX 3060", sections=[SECTION])
    (planned,) = report.plans
    assert planned.plan is not None and planned.plan.fits and planned.memory is not None
    assert list(planned.memory) == ["load", "rollout", "log-probs", "update", "save"]


def test_a_recipe_that_does_not_fit_is_a_result_not_an_error() -> None:
    large = GRPO | {"model_name_or_path": "Qwen/Qwen2.5-7B-Instruct"}
    report = hw_profile(simulate="RTX 3060", sections=[Section("grpo", "grpo", large, set(large))])
    (planned,) = report.plans
    assert planned.plan is None and planned.refused is not None and planned.memory
    assert "edits" in report.as_dict()["plans"][0]["refused"]


def test_profiles_by_force() -> None:
    machine = the_machine("RTX 3060", "cpu")
    assert machine.gpus == () and machine.profile.value == "cpu"
    assert the_machine("RTX 4090", "light").profile.value == "light"
    with pytest.raises(UsageError):
        the_machine(profile="potato")


def test_checks_know_what_the_recipe_needs() -> None:
    settings = GRPO | {"push_to_hub": True, "report_to": "wandb", "bf16": True}
    intent = intent_of([Section("grpo", "grpo", settings, set(settings))])
    assert intent.push_to_hub and intent.report_to == ("wandb",) and intent.bf16
    assert intent.checkpoints == 3
    assert intent.checkpoint_bytes == 12 * 494_032_768  # fp32 weights and two AdamW states
    assert intent_of([Section("s", "sft", settings | {"save_strategy": "no"}, set())]).checkpoint_bytes == 0


def test_the_doctor_fails_as_a_value() -> None:
    report = hw_profile(
        simulate="T4", sections=[Section("s", "sft", {"bf16": True}, {"bf16"})], with_checks=True
    )
    assert not report.healthy and any(c.name == "bf16" and c.fix for c in report.checks)


@pytest.mark.slow
def test_verify_runs_in_a_child() -> None:
    found = verify(["qwen2"])
    assert len(found["rows"]) == 6
    assert all(abs(row["error"]) <= found["tolerance"] for row in found["rows"])


def test_a_login_node_without_torch_can_plan() -> None:
    """With site-packages hidden from `import torch` everything but --verify still works."""
    code = (
        "import sys\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'transformers', 'trl', 'pynvml'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, No())\n"
        "from openr1.services.hw_profile import hw_profile\n"
        "report = hw_profile()\n"
        "assert 'nvidia-ml-py' in report.machine.gpus_problem\n"
        "assert hw_profile(simulate='8xH100').abilities\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=dict(os.environ))
