"""Updates in parts: the same gradients as upstream's trainers, to the rounding of sums."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from openr1.data.tiny_model import ModelSpec, build_tiny_model
from openr1.training.grpo_updates import GrpoInParts
from openr1.training.updates import cuttable, widths
from tests.training.replay import Case, Gradients, run

EVERYTHING = {"trim": True, "skip": True, "budget": 300}
ACCUMULATE = {"gradient_accumulation_steps": 4}
LOSSES = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("replay") / "model"
    build_tiny_model(ModelSpec(layers=2, hidden=64), 0, folder)
    return str(folder)


def apart(one: Gradients, other: Gradients) -> float:
    """Largest relative distance of two parameters' gradients, over the steps."""
    assert len(one) == len(other) == 2
    assert all(any(g.norm() > 0 for g in step.values()) for step in one), "nothing to compare"
    return max(
        float((a[name] - b[name]).norm() / max(a[name].norm(), 1e-12))
        for a, b in zip(one, other, strict=True)
        for name in a
    )


def compare(case: Case, **rules: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Upstream against ours; the first log row of both."""
    stock, stock_log = run(case)
    ours, log = run(replace(case, rules=EVERYTHING | rules))
    assert apart(stock, ours) < 3e-6
    assert log[0]["loss"] == pytest.approx(stock_log[0]["loss"], abs=2e-6)
    return stock_log[0], log[0]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_type_with_half_the_groups_idle(model: str, loss: str) -> None:
    _, ours = compare(Case(model, idle=0.5, config=ACCUMULATE | {"loss_type": loss}))
    assert ours["update/rows_forwarded"] == pytest.approx(0.5, abs=0.26)


@pytest.mark.parametrize(
    "rules",
    [{"skip": False}, {"budget": None}, {"trim": False}, {"trim": False, "budget": None}],
    ids=lambda rules: "-".join(f"{k}={v}" for k, v in rules.items()),
)
def test_each_rule_by_itself(model: str, rules: dict[str, Any]) -> None:
    compare(Case(model, idle=0.5, config=ACCUMULATE | {"loss_type": "grpo"}), **rules)


@pytest.mark.parametrize(
    "config",
    [
        {"gradient_accumulation_steps": 2, "steps_per_generation": 4},  # old log-probs, two steps per rollout
        {
            "gradient_accumulation_steps": 2,
            "num_iterations": 2,
            "beta": 0.1,
        },  # reference model; nothing skipped
        {"gradient_accumulation_steps": 4, "steps_per_generation": 2},  # two rollouts per step
        {"gradient_accumulation_steps": 2, "importance_sampling_level": "sequence", "loss_type": "luspo"},
        {"gradient_accumulation_steps": 4, "mask_truncated_completions": True, "loss_type": "grpo"},
        {"gradient_accumulation_steps": 4, "entropy_coef": 0.1},
        {"gradient_accumulation_steps": 4, "top_entropy_quantile": 0.5},
        {"gradient_accumulation_steps": 4, "scale_rewards": "batch"},
        {"gradient_accumulation_steps": 4, "num_train_epochs": 1, "max_steps": 2, "pad_to_multiple_of": 8},
    ],
    ids=lambda config: "-".join(f"{k}={v}" for k, v in config.items()),
)
def test_the_other_settings_that_change_the_loss(model: str, config: dict[str, Any]) -> None:
    compare(Case(model, idle=0.5, config=config))


def test_metrics_agree_where_every_row_is_forwarded(model: str) -> None:
    """One micro-batch: upstream's numbers are means over all tokens, as ours are."""
    stock, ours = compare(Case(model, config={"per_device_train_batch_size": 16}), skip=False)
    assert ours["update/parts"] > 1
    for name in ("entropy", "clip_ratio/region_mean", "num_tokens", "reward", "frac_reward_zero_std"):
        assert ours[name] == pytest.approx(stock[name], rel=1e-5)
    assert stock.keys() | {"update/parts", "update/rows_forwarded"} == ours.keys()


def test_the_comparison_sees_a_wrong_weight(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openr1.training.grpo_updates.BY_ROWS", frozenset())
    monkeypatch.setattr("openr1.training.grpo_updates.BY_ROLLOUT", frozenset({"grpo"}))
    case = Case(model, config=ACCUMULATE | {"loss_type": "grpo"})
    assert apart(run(case)[0], run(replace(case, rules=EVERYTHING))[0]) > 1e-2


def test_a_rollout_in_which_no_group_has_spread_still_steps(model: str) -> None:
    case = Case(model, idle=1.0, config=ACCUMULATE)
    steps, log = run(replace(case, rules=EVERYTHING))
    assert len(steps) == 2
    assert all(g.norm() == 0 for step in steps for g in step.values())
    assert log[0]["update/rows_forwarded"] == 1 / 16


@pytest.mark.parametrize(
    "config", [ACCUMULATE, {"per_device_train_batch_size": 16}, ACCUMULATE | {"loss_type": "dft"}]
)
def test_sft(model: str, config: dict[str, Any]) -> None:
    stock, ours = compare(Case(model, stage="sft", config=config))
    assert ours["num_tokens"] == stock["num_tokens"]
    if config != ACCUMULATE:
        return
    assert ours["mean_token_accuracy"] == pytest.approx(stock["mean_token_accuracy"], abs=0.02)


def test_packed_rows_are_left_alone(model: str) -> None:
    packed = {
        "per_device_train_batch_size": 2,
        "packing": True,
        "max_length": 64,
        "gradient_accumulation_steps": 2,
    }
    stock, ours = (
        run(Case(model, stage="sft", config=packed)),
        run(Case(model, stage="sft", config=packed, rules=EVERYTHING)),
    )
    assert apart(stock[0], ours[0]) == 0


def test_what_may_be_cut_depends_on_how_a_model_counts_positions() -> None:
    from transformers import Gemma3TextConfig, GPT2Config, Llama4TextConfig, LlamaConfig, Qwen2Config

    rope = {"rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
    assert cuttable(Qwen2Config()) == (True, True)
    assert cuttable(Gemma3TextConfig()) == (True, True)
    assert cuttable(GPT2Config()) == (False, True)  # learnt positions count the padding
    assert cuttable(LlamaConfig(rope_parameters=rope | {"rope_type": "dynamic"})) == (False, False)
    assert cuttable(Llama4TextConfig())[0] is False  # chunks of attention begin at fixed columns


def test_widths_of_masked_and_padded_rows() -> None:
    attended = torch.tensor([[0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0]])
    left, right = widths(attended, 3, (True, True))
    assert (left.tolist(), right.tolist()) == ([2, 3, 1], [1, 3, 0])
    left, right = widths(attended, 3, (False, False))
    assert (left.tolist(), right.tolist()) == ([3] * 3, [3] * 3)


def test_the_mix_in_knows_all_that_upstream_puts_into_a_batch() -> None:
    """A key that upstream adds must be looked at before its batches are cut."""
    import inspect
    import re

    from trl import GRPOTrainer

    from openr1.training.grpo_updates import KNOWN

    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    tail = source[source.index("output = {") :]
    put = set(re.findall(r'^ +"(\w+)": ', tail, re.M)) | set(re.findall(r'output\["(\w+)"\] =', tail))
    images = {
        "pixel_values", "image_grid_thw", "pixel_attention_mask", "spatial_shapes", "image_sizes",
        "token_type_ids", "mm_token_type_ids", "image_position_ids", "num_images", "num_tiles",
    }  # fmt: skip
    assert put == KNOWN | images
    assert GrpoInParts._known(GrpoInParts(), dict.fromkeys(KNOWN))


# Several ranks. One launch compares several cases: the start is what costs.


def on_ranks(folder: Path, cases: list[Case]) -> list[tuple[Gradients, list[dict[str, Any]]]]:
    (folder / "cases.json").write_text(json.dumps([asdict(case) for case in cases]), encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    done = subprocess.run(
        [sys.executable, *launch, "tests.training.replay", str(folder / "cases.json")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    saved = [torch.load(folder / f"{i}.pt", weights_only=True) for i in range(len(cases))]
    return [(one["steps"], one["log"]) for one in saved]


def compare_on_ranks(folder: Path, cases: list[Case]) -> None:
    results = on_ranks(folder, [c for case in cases for c in (case, replace(case, rules=EVERYTHING))])
    for case, (stock, _), (ours, log) in zip(cases, results[::2], results[1::2], strict=True):
        # Under ZeRO the gradient is the difference of two weights, which rounds at the weights' size.
        assert apart(stock, ours) < (1e-4 if case.deepspeed else 3e-6), case
        if case.stage == "grpo" and case.config.get("loss_type") != "bnpo":
            assert log[0]["update/parts"] > 1, case


@pytest.mark.slow
def test_two_ranks_under_ddp(model: str, tmp_path: Path) -> None:
    """Uneven lengths and idle groups on both ranks, then a rank with nothing but idle groups."""
    half = Case(model, idle=0.5, config=ACCUMULATE | {"loss_type": "grpo"})
    compare_on_ranks(tmp_path, [half, replace(half, idle=0.0, idle_ranks=[1], config=ACCUMULATE)])


@pytest.mark.slow
def test_two_ranks_under_ddp_at_length(model: str, tmp_path: Path) -> None:
    cases = [Case(model, idle=0.5, config=ACCUMULATE | {"loss_type": loss}) for loss in LOSSES]
    more = {"gradient_accumulation_steps": 2, "num_iterations": 2, "beta": 0.1}
    cases += [Case(model, idle=0.5, config=more), Case(model, stage="sft", config=ACCUMULATE)]
    compare_on_ranks(tmp_path, cases)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_two_ranks_under_zero(model: str, tmp_path: Path, stage: int) -> None:
    """Weights after steps of plain SGD: ZeRO does not hand out its gradients."""
    half = Case(model, idle=0.5, config=ACCUMULATE | {"loss_type": "grpo"}, deepspeed=stage)
    cases = [
        half,
        replace(half, idle=0.0, idle_ranks=[1], config=ACCUMULATE),
        replace(half, config={"gradient_accumulation_steps": 2, "num_iterations": 2, "beta": 0.1}),
        replace(half, stage="sft", config=ACCUMULATE),
    ]
    compare_on_ranks(tmp_path, cases)
