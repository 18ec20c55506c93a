"""Training on rows that are given, not sampled: upstream's trainer and ours see the very same ones.

Run by itself (under torchrun, for several ranks) it writes the gradients of every optimizer step to files:

    python -m tests.training.replay CASES.json
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from openr1.training.grpo_trainer import OpenR1GRPOTrainer
from openr1.training.sft_trainer import OpenR1SFTTrainer
from openr1.training.updates import Rules

Gradients = list[dict[str, torch.Tensor]]  # by optimizer step, by parameter

VOCAB = 200
RANK = int(os.environ.get("RANK", "0"))


@dataclass
class Case:
    """One run.

    Attributes:
        model: folder of a model.
        rules: of `Rules`; None runs upstream's trainer.
        idle: share of the groups whose rewards are all equal.
        idle_ranks: ranks of which all groups are so.
        deepspeed: ZeRO stage.
    """

    model: str
    stage: str = "grpo"
    rules: dict[str, Any] | None = None
    idle: float = 0.0
    idle_ranks: list[int] = field(default_factory=list)
    longest: int = 48
    config: dict[str, Any] = field(default_factory=dict)
    deepspeed: int = 0


def run(case: Case) -> tuple[Gradients, list[dict[str, Any]]]:
    """Train two steps; returns the gradients and the log."""
    settings: dict[str, Any] = {
        "output_dir": str(Path(case.model).parent / "out"), "use_cpu": True, "bf16": False, "report_to": [],
        "seed": 1, "per_device_train_batch_size": 4, "max_steps": 2, "learning_rate": 0.1, "optim": "sgd",
        "max_grad_norm": 0.0, "gradient_checkpointing": False, "logging_steps": 1, "save_strategy": "no",
        "disable_tqdm": True, "log_level": "error", "lr_scheduler_type": "constant",
        "model_init_kwargs": {"dtype": "float32"},
    } | case.config  # fmt: skip
    if case.deepspeed:
        settings["deepspeed"] = {
            "zero_optimization": {"stage": case.deepspeed, "stage3_param_persistence_threshold": 0},
            "zero_allow_untested_optimizer": True,
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
        }
    AcceleratorState._reset_state()
    trainer = (_grpo if case.stage == "grpo" else _sft)(case, settings)
    recorder = Recorder()
    trainer.add_callback(recorder)
    if case.rules is not None:
        trainer.rules = Rules(**case.rules)
    trainer.train()
    return recorder.steps, trainer.state.log_history


def _grpo(case: Case, settings: dict[str, Any]) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(case.model, padding_side="left")
    rollouts = Rollouts(case, tokenizer.eos_token_id)
    base = GRPOTrainer if case.rules is None else OpenR1GRPOTrainer

    class Replayed(base):  # type: ignore[misc, valid-type]
        def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any, **__: Any) -> Any:
            return rollouts.draw(len(prompt_ids)), None

    words = ["What?", "Add up the numbers, please.", "Start at 3, keep the last digit: +4 *7 +2 +1"]
    own = {"num_generations": 4, "max_completion_length": case.longest, "shuffle_dataset": False}
    return Replayed(
        model=case.model,
        args=GRPOConfig(**(own | settings)),
        reward_funcs=rollouts.reward,
        train_dataset=Dataset.from_list([{"prompt": words[i % 3], "number": i} for i in range(60)]),
        processing_class=tokenizer,
    )


def _sft(case: Case, settings: dict[str, Any]) -> Any:
    generator = torch.Generator().manual_seed(5)
    rows = []
    for length in lengths(64, case.longest, generator):
        ids = torch.randint(4, VOCAB, (length + 3,), generator=generator).tolist()
        rows.append({"input_ids": ids, "labels": [-100, -100, *ids[2:]]})
    base = SFTTrainer if case.rules is None else OpenR1SFTTrainer
    return base(model=case.model, args=SFTConfig(**settings), train_dataset=Dataset.from_list(rows))


class Rollouts:
    """Completions and rewards that depend on the prompt's number, the rank and the draw alone."""

    def __init__(self, case: Case, end: int) -> None:
        self.case, self.end = case, end
        self.generator = torch.Generator().manual_seed(100 + RANK)

    def draw(self, rows: int) -> list[list[int]]:
        drawn = []
        for length in lengths(rows, self.case.longest, self.generator):
            ids = torch.randint(4, VOCAB, (length,), generator=self.generator).tolist()
            drawn.append(ids if length == self.case.longest else [*ids[:-1], self.end])
        return drawn

    def reward(self, completion_ids: list[list[int]], number: list[int], **_: Any) -> list[float]:
        quiet = [RANK in self.case.idle_ranks or n % 2 < 2 * self.case.idle for n in number]
        return [0.5 if q else len(ids) % 3 / 2 for q, ids in zip(quiet, completion_ids, strict=True)]


def lengths(rows: int, longest: int, generator: torch.Generator) -> list[int]:
    """Log-normal, as answers are; the tail is cut off."""
    drawn: list[int] = torch.empty(rows).log_normal_(2.6, 0.8, generator=generator).long().tolist()
    return [min(max(length, 1), longest) for length in drawn]


class Recorder(TrainerCallback):
    """Keeps the gradients of every optimizer step; under ZeRO, how far plain SGD has moved the weights."""

    def __init__(self) -> None:
        self.steps: Gradients = []
        self.before: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not args.deepspeed:
            named = kwargs["model"].named_parameters()
            self.steps.append({n.removeprefix("module."): p.grad.detach().clone() for n, p in named})

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.deepspeed:
            self.before = whole_weights(kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.deepspeed:
            after = whole_weights(kwargs["model"])
            self.steps.append({name: after[name] - self.before[name] for name in after})
            self.before = after


def whole_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    from deepspeed.utils import safe_get_full_fp32_param

    return {n: safe_get_full_fp32_param(p).detach().clone() for n, p in model.named_parameters()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number, one in enumerate(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))):
        steps, log = run(Case(**one))
        if RANK == 0:
            torch.save({"steps": steps, "log": log}, Path(sys.argv[1]).with_name(f"{number}.pt"))
