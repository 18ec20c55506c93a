"""What the adapter leans on in TRL and transformers. A TRL upgrade that moves it fails here."""

from __future__ import annotations

import inspect

from transformers import Trainer
from trl import GRPOTrainer, SFTTrainer


def test_the_seams_of_the_trainers() -> None:
    assert list(inspect.signature(Trainer._save_checkpoint).parameters) == ["self", "model", "trial"]
    for cls in (GRPOTrainer, SFTTrainer):
        parameters = inspect.signature(cls.__init__).parameters
        assert {
            "model",
            "args",
            "train_dataset",
            "processing_class",
            "peft_config",
            "quantization_config",
        } <= set(parameters)
    assert "reward_funcs" in inspect.signature(GRPOTrainer.__init__).parameters
    assert list(inspect.signature(GRPOTrainer._load_optimizer_and_scheduler).parameters) == [
        "self",
        "checkpoint",
    ]
    assert hasattr(Trainer, "end")


def test_transformers_still_removes_old_checkpoints_inside_save() -> None:
    """The reason why we rotate by ourselves; when this fails, look whether `Sealed` is still needed."""
    assert "rotate_checkpoints(" in inspect.getsource(Trainer._save_checkpoint)


def test_grpo_still_counts_micro_steps_from_zero() -> None:
    """The reason for `OpenR1GRPOTrainer._load_optimizer_and_scheduler`."""
    source = inspect.getsource(GRPOTrainer)
    assert "self._step = 0" in source
    assert "generate_every = self.args.steps_per_generation * self.num_iterations" in source
    loading = inspect.getsource(GRPOTrainer._load_optimizer_and_scheduler)
    assert "_step" not in loading.replace("checkpoint", "")


def test_grpo_keeps_the_completions_we_show() -> None:
    source = inspect.getsource(GRPOTrainer)
    for name in (
        'self._logs["prompt"]',
        'self._logs["completion"]',
        'self._logs["rewards"]',
        'self._logs["advantages"]',
    ):
        assert name in source
