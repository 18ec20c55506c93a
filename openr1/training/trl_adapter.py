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

import dataclasses
from pathlib import Path
from typing import Any

from trl import GRPOConfig, ModelConfig, SFTConfig

from openr1.config.catalogue import fields_of
from openr1.errors import RecipeError
from openr1.runs.child import Child
from openr1.runs.files import write_json
from openr1.training.checkpoints import rotate, seal

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
        "disable_tqdm": True,  # the parent draws
        "save_total_limit": None,  # see Sealed
        "model_init_kwargs": model_kwargs(values) | (values["model_init_kwargs"] or {}),
    }
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


class Sealed:
    """Trainer mix-in: checkpoints that are whole or do not count, and `keep` of them."""

    child: Child
    keep: int | None = None

    def beside_the_checkpoint(self) -> dict[str, int]:
        """Counters that the trainer itself would start at 0 again."""
        return {}

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        if self.args.should_save:  # type: ignore[attr-defined]
            step = self.state.global_step  # type: ignore[attr-defined]
            folder = Path(self.args.output_dir)  # type: ignore[attr-defined]
            write_json(folder / f"checkpoint-{step}" / COUNTERS, self.beside_the_checkpoint())
            seal(folder / f"checkpoint-{step}")
            for _ in rotate(folder, self.keep):
                pass
            self.child.events.send("saved", step=step)
