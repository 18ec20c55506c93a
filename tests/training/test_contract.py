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


def test_transformers_still_makes_a_step_before_it_asks_whether_all_are_made() -> None:
    """The reason for `Sealed._run_epoch`; when this fails, look whether it is still needed."""
    source = inspect.getsource(Trainer._run_epoch)
    assert "self.state.global_step >= self.state.max_steps" not in source
    assert source.index("self.training_step(") < source.index("should_training_stop")


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


def test_what_updates_in_parts_lean_on() -> None:
    """`updates` stands between the loop and the loss; another order or signature would break it silently."""
    step = list(inspect.signature(Trainer.training_step).parameters)
    assert step == ["self", "model", "inputs", "num_items_in_batch"]
    for cls in (GRPOTrainer, SFTTrainer):
        losses = list(inspect.signature(cls.compute_loss).parameters)
        assert losses == ["self", "model", "inputs", "return_outputs", "num_items_in_batch"]
    source = inspect.getsource(Trainer.training_step)
    order = [
        "model.train()",
        "self._prepare_inputs(inputs)",
        "self.compute_loss(",
        "self.accelerator.backward(",
    ]
    assert [source.index(words) for words in order] == sorted(source.index(words) for words in order)
    loop = inspect.getsource(Trainer._run_epoch)
    assert "gradient_state._set_sync_gradients(do_sync_step)" in loop
    assert "functools.partial(self.accelerator.no_sync, model=model)" in loop
    assert "self._step += 1" in inspect.getsource(GRPOTrainer.training_step)
    logps = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters
    assert list(logps)[:6] == ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"]


def test_upstream_still_pads_to_the_longest_of_the_rollout() -> None:
    """The reason for `GrpoInParts` (huggingface/trl#7179); when this fails, see what is left of it to do."""
    source = inspect.getsource(GRPOTrainer._prepare_inputs)
    assert "split_tensor_dict(generation_batch, self.args.steps_per_generation)" in source
    assert "trim" not in source
