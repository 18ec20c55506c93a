"""Every shipped recipe on every kind of machine: it fits, or is refused with edits; the table says which."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest

from openr1.config.legacy import translate
from openr1.config.names import keys_of
from openr1.config.recipe import Section, parse, shipped
from openr1.config.resolve import Resolved, resolve
from openr1.config.yaml_file import load
from openr1.errors import DoesNotFit
from openr1.hardware import Machine, simulate
from openr1.planning import plan
from openr1.services.engines import sampling_plan

MACHINES = {name: simulate(name) for name in ("cpu", "RTX 3060", "RTX 4090", "H100", "8xH100")}
ALL = set(MACHINES)
# Where each training section fits. A built-in model's size is unknown to the planner: no verdict.
FITS: dict[tuple[str, str], set[str]] = {
    ("tiny-cpu", "sft"): ALL,
    ("tiny-cpu", "grpo"): ALL,
    ("tiny-cpu-full", "cold-start"): ALL,
    ("tiny-cpu-full", "grpo"): ALL,
    ("tiny-cpu-full", "distill"): ALL,
    ("qwen0.5b-light", "sft"): ALL,
    ("qwen0.5b-light", "grpo"): ALL,
    ("qwen1.5b-instruct", "sft"): {"RTX 4090", "H100", "8xH100"},
    ("qwen1.5b-instruct", "grpo"): {"RTX 4090", "H100", "8xH100"},
    ("qwen-math-7b-simple-rl", "grpo"): {"8xH100"},
    ("r1-distill-qwen-1.5b", "grpo"): {"H100", "8xH100"},
    ("openr1-distill-7b", "sft"): {"8xH100"},
}
GENERATES = {"r1-distill-qwen-7b-generate", "deepseek-r1-generate"}
HEAD = ("needs", "start", "gives")


def sections() -> list[tuple[str, str]]:
    found = []
    for name, path in shipped().items():
        found += [(name, s.name) for s in parse(path, "pipeline").sections if s.stage in ("sft", "grpo")]
    return found


def resolved(name: str, section: str) -> tuple[Section, Resolved]:
    recipe = parse(shipped()[name], "pipeline")
    found = recipe.section(section)
    return found, resolve(recipe, found, environ={"HOME": "/"})


def test_the_table_knows_every_training_section() -> None:
    assert set(sections()) == set(FITS)
    assert set(shipped()) - {name for name, _ in FITS} == GENERATES


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "section"), FITS, ids=lambda text: text)
def test_it_fits_or_is_refused_with_edits(name: str, section: str, machine: str) -> None:
    found, one = resolved(name, section)
    here: Machine = MACHINES[machine]
    if machine in FITS[name, section]:
        made = plan(found.stage, one.values, here, explicit=one.explicit)
        assert made.fits is (None if name.startswith("tiny-cpu") else True)
        per_device = made.values["per_device_train_batch_size"].value
        accumulation = made.values["gradient_accumulation_steps"].value
        assert per_device * accumulation * made.processes == one["global_batch_size"]
        return
    with pytest.raises(DoesNotFit) as caught:
        plan(found.stage, one.values, here, explicit=one.explicit)
    assert "GiB" in caught.value.what
    edits: list[Any] = caught.value.edits  # type: ignore[attr-defined]
    assert edits and all(edit.flags.startswith("--") for edit in edits)


# Where what samples has room, by recipe; the others' evaluations take a model that trains there.
SAMPLES = {
    "r1-distill-qwen-7b-generate": {"RTX 4090", "H100", "8xH100"},
    "deepseek-r1-generate": set(),  # two nodes, below
    "qwen-math-7b-simple-rl": {"RTX 4090", "H100", "8xH100"},
    "openr1-distill-7b": {"RTX 4090", "H100", "8xH100"},
}


@pytest.mark.parametrize("machine", [*MACHINES, "8xH100, 2 nodes"])
@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_samples_gets_a_plan_or_is_refused_with_a_way_out(name: str, machine: str) -> None:
    recipe = parse(shipped()[name], "pipeline")
    here = simulate(machine)
    for section in recipe.sections:
        if section.stage not in ("eval", "generate"):
            continue
        one = resolve(recipe, section, environ={"HOME": "/"})
        model = str(one.values.get("model_name_or_path") or recipe.shared["model_name_or_path"].value)
        if machine in SAMPLES.get(name, ALL) or ("nodes" in machine and section.stage == "generate"):
            made = sampling_plan(one, here, [model], None)
            assert made["backend"] == ("server" if "nodes" in machine else made["backend"])
        elif "nodes" not in machine:  # an evaluation runs on one
            with pytest.raises(DoesNotFit) as caught:
                sampling_plan(one, here, [model], None)
            assert "GiB" in caught.value.what and caught.value.fix


@pytest.mark.parametrize("path", sorted(shipped().values()), ids=lambda p: p.stem)
class TestEachFile:
    def test_it_begins_with_what_it_does_needs_and_gives(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        block = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
        assert block[0].removeprefix("# ")[0].isupper()
        labels = [m[1] for line in block if (m := re.match(r"# (needs|start|gives)    ", line))]
        assert labels == list(HEAD)
        start = next(line for line in block if line.startswith("# start"))
        assert "openr1 " in start and path.stem in start
        assert all(len(line) <= 120 for line in lines)

    def test_every_section_resolves_and_nothing_is_uploaded_or_reported(self, path: Path) -> None:
        recipe = parse(path, "pipeline")
        for section in recipe.sections:
            one = resolve(recipe, section, environ={"HOME": "/"})
            assert not one.values.get("push_to_hub")
            assert one.values.get("report_to", "none") == "none"
            assert not one.values.get("trust_remote_code")

    def test_it_evaluates_while_training_as_upstream_or_says_why_not(self, path: Path) -> None:
        """open-r1's files of February 2025 and its simple-rl do, every 100 steps; its others do not."""
        if path.stem.startswith("tiny-cpu") or path.stem in GENERATES:
            return
        for section in parse(path, "pipeline").sections:
            if section.stage in ("sft", "grpo"):
                evaluates = "eval_strategy" in section.values and "eval_steps" in section.values
                assert evaluates or "No evaluation while training" in path.read_text(encoding="utf-8")

    def test_it_is_of_today(self, path: Path) -> None:
        """No key of it is old; it says what a step learns from, and how many samples it needs."""
        for section in parse(path, "pipeline").sections:
            if section.stage in ("sft", "grpo"):
                assert translate(section.values, section.stage, keys_of(section.stage)) is None
                assert "global_batch_size" in section.values


CHAT = [
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": "<think>\n2\n</think>\nIt is 2."},
]


@pytest.mark.parametrize(
    ("name", "turn", "opens"),
    [
        (
            "openr1-distill-7b",
            "<|im_start|>assistant\n<think>\n2\n</think>\nIt is 2.<|im_end|>\n",
            "<|im_start|>assistant\n",
        ),
        (
            "r1-distill-qwen-1.5b",
            "<｜Assistant｜><think>\n2\n</think>\nIt is 2.<｜end▁of▁sentence｜>",
            "<｜Assistant｜>",
        ),
    ],
)
def test_the_templates_keep_the_thinking_and_do_not_open_it(name: str, turn: str, opens: str) -> None:
    """Rendered as transformers renders them (trim_blocks, lstrip_blocks)."""
    training = next(s for s in parse(shipped()[name], "pipeline").sections if s.stage in ("sft", "grpo"))
    source = training.values["chat_template"].value
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(source)
    whole = template.render(messages=CHAT, bos_token="<bos>")
    assert whole.endswith(turn) and whole.count("1+1?") == 1
    asked = template.render(messages=CHAT[:1], bos_token="<bos>", add_generation_prompt=True)
    assert asked.endswith(opens) and "<think>" not in asked
    assert whole.startswith(asked), "what is generated continues what is trained"


def test_pushing_goes_to_a_private_repository_of_ones_own(tmp_path: Path) -> None:
    from openr1.services.accounts import named_target

    path = tmp_path / "r.yaml"
    for model, wanted in (
        ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen2.5-0.5B-Instruct-sft"),
        ("builtin:tiny-qwen2?layers=1", "tiny-qwen2-sft"),
        ("./models/mine/", "mine-sft"),
    ):
        path.write_text(f"sft:\n  model_name_or_path: {model}\n  push_to_hub: true\n")
        recipe = parse(path, "sft")
        one = named_target(resolve(recipe, recipe.sections[0], environ={"HOME": "/"}))
        assert one["hub_model_id"] == wanted and one["hub_private_repo"] is True
    path.write_text("sft:\n  model_name_or_path: m\n  push_to_hub: true\n  hub_model_id: a/b\n")
    recipe = parse(path, "sft")
    assert named_target(resolve(recipe, recipe.sections[0], environ={"HOME": "/"}))["hub_model_id"] == "a/b"


def test_load_of_every_shipped_file_keeps_its_lines() -> None:
    for path in shipped().values():
        lines = path.read_text(encoding="utf-8").splitlines()
        for key, loaded in load(path).items():
            assert lines[loaded.line - 1].startswith(f"{key}:")
