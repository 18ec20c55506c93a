"""What both trainers have of ours. With `sft_trainer`, `grpo_trainer` and `grpo_updates` this is what knows
TRL from the inside; contract tests pin what they lean on.

Differences from stock TRL 1.16, each for a reason:
- a checkpoint is sealed before older ones are removed (transformers removes first: a kill in between could
  leave none that is whole);
- GRPO's micro-step counter continues after a restart (TRL starts it at 0, so with more micro-steps per
  rollout than per optimizer step the rollouts fall on other steps than before);
- SFT's count of tokens continues too;
- the rows of an optimizer step go through the model in parts of like length (`updates`);
- transformers' generate drops rows that have ended (`sampling.compact`).
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trl import GRPOConfig, ModelConfig, SFTConfig
from trl.chat_template_utils import get_training_chat_template, has_generation_markers

from openr1.config.catalogue import fields_of
from openr1.errors import RecipeError
from openr1.runs.child import Child
from openr1.runs.files import write_json
from openr1.training.checkpoints import rotate, seal
from openr1.training.hub import Pushed
from openr1.training.ranks import any_of
from openr1.training.sharding import sharded
from openr1.training.vllm import served

if TYPE_CHECKING:
    from datasets import Dataset

COUNTERS = "openr1-counters.json"
CONFIGS: dict[str, type] = {"sft": SFTConfig, "grpo": GRPOConfig}


def config_of(stage: str, values: dict[str, Any], child: Child) -> SFTConfig | GRPOConfig:
    """TRL's configuration object from a section's values; those at TRL's default are left to TRL.

    Raises:
        RecipeError: what TRL's own checks refuse, in TRL's words.
    """
    cls = CONFIGS[stage]
    kwargs = _changed(cls, stage, values)
    kwargs |= {
        "output_dir": str(child.run.checkpoints),
        "run_name": values["run_name"] or "-".join(child.config[k] for k in ("recipe", "section", "hash")),
        "disable_tqdm": True,  # the parent draws
        "save_total_limit": None,  # see Sealed
        "model_init_kwargs": model_kwargs(values) | (values["model_init_kwargs"] or {}),
    }
    kwargs |= sharded(child)
    if stage == "grpo":
        kwargs |= served(child)
    try:
        return cls(**kwargs)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise RecipeError(f"TRL refuses these values: {' '.join(str(error).split())}") from error


def _changed(cls: type, stage: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values that belong to a dataclass of TRL's and are not its default."""
    known = fields_of(stage)
    mine = {field.name for field in dataclasses.fields(cls) if field.init}
    return {
        name: values[name]
        for name in mine
        if name in known and name in values and values[name] != known[name].default
    }


def model_config(stage: str, values: dict[str, Any]) -> ModelConfig:
    """TRL's ModelConfig: LoRA, quantisation, revision."""
    return ModelConfig(**_changed(ModelConfig, stage, values))


def model_kwargs(values: dict[str, Any]) -> dict[str, Any]:
    """Arguments for `from_pretrained`, as `trl sft` makes them; dtype is always explicit."""
    return {
        "revision": values["model_revision"],
        "trust_remote_code": values["trust_remote_code"],
        "attn_implementation": values["attn_implementation"],
        "dtype": values["dtype"] or "float32",
    }


def sft_tokens(dataset: Dataset, tokenizer: Any, args: SFTConfig, name: str) -> Dataset:
    """Rows as SFTTrainer tokenizes and masks them, whole: before it cuts or packs, and without a model.

    The trainer takes the result in place of the rows and goes on from there.

    Args:
        name: "train" or "eval", for the progress messages.

    Returns:
        The dataset with `input_ids` and `labels` beside its columns.
    """
    from trl import SFTTrainer

    first = dataset[0]
    maker: Any = object.__new__(SFTTrainer)
    maker._tokenizer = tokenizer
    maker.chat_template = None
    if args.assistant_only_loss and not has_generation_markers(tokenizer.chat_template or ""):
        try:
            maker.chat_template = get_training_chat_template(tokenizer)
        except ValueError as error:
            raise RecipeError(
                "assistant_only_loss needs a chat template that marks the answers ({% generation %})",
                where="assistant_only_loss",
                fix="use a shipped one (--chat_template chatml), or leave assistant_only_loss out",
            ) from error
    pair = "prompt" in first and "completion" in first
    maker.completion_only_loss = pair if args.completion_only_loss is None else args.completion_only_loss
    whole = copy.copy(args)
    whole.max_length, whole.shuffle_dataset = None, False
    return maker._prepare_dataset(dataset, tokenizer, whole, False, None, name)


class Sealed(Pushed):
    """Trainer mix-in: checkpoints that are whole or do not count, and `keep` of them."""

    child: Child
    keep: int | None = None

    def beside_the_checkpoint(self) -> dict[str, int]:
        """Counters that the trainer itself would start at 0 again."""
        return {}

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Nothing for a run that has all its steps, killed between its last checkpoint and its end.

        transformers asks whether the steps are done only after a step, and so would make one too many.
        """
        if self.state.global_step >= self.state.max_steps:  # type: ignore[attr-defined]
            self.control.should_training_stop = True  # type: ignore[attr-defined]
        else:
            super()._run_epoch(*args, **kwargs)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        any_of(self.child, False)  # every rank has written its part
        if self.args.should_save:  # type: ignore[attr-defined]
            step = self.state.global_step  # type: ignore[attr-defined]
            folder = Path(self.args.output_dir)  # type: ignore[attr-defined]
            write_json(folder / f"checkpoint-{step}" / COUNTERS, self.beside_the_checkpoint())
            seal(folder / f"checkpoint-{step}")
            for _ in rotate(folder, self.keep):
                pass
            self.child.events.send("saved", step=step)
