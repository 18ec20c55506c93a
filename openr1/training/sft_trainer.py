"""SFTTrainer with updates in parts: the rows of an optimizer step grouped by length.

The step's loss is the sum over its tokens divided by their number, so any grouping has the same gradient.
Without that number (`num_items_in_batch`), with a MoE router loss, or with packed rows, upstream's way is
taken.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from trl import SFTTrainer

from openr1.training.micro_batches import Part
from openr1.training.trl_adapter import COUNTERS, Sealed
from openr1.training.updates import Batch, InParts, Ready, widths

PADDING = {"input_ids": 0, "labels": -100, "attention_mask": 0}  # an id that is not attended to may be any


class SftInParts(InParts):
    """Mix-in for SFTTrainer."""

    aux_loss_enabled: bool

    def _rows(self, batch: Batch) -> int:
        return len(batch["input_ids"])

    def _known(self, batch: Batch) -> bool:
        return batch.keys() == PADDING.keys()

    def _may_split(self, num_items_in_batch: Any) -> bool:
        return num_items_in_batch is not None and not self.aux_loss_enabled

    def _table(self, held: tuple[Batch, ...]) -> torch.Tensor:
        attended = _stacked(held, "attention_mask")
        left, right = widths(attended, attended.size(1), self._sides())
        scored = _stacked(held, "labels")[:, 1:].ne(-100).sum(dim=1)
        return torch.stack([left, right, scored, torch.ones_like(left)], dim=1).long()

    def _cut(self, held: tuple[Batch, ...], part: Part) -> Ready:
        rows = torch.as_tensor(part.rows, device=held[0]["input_ids"].device)
        return Ready({key: _stacked(held, key)[rows, : part.completion] for key in PADDING})

    def _backward(self, model: Any, ready: Ready, num_items_in_batch: Any) -> torch.Tensor:
        own: Any = self
        return SFTTrainer.training_step(own, model, ready, num_items_in_batch)

    def _merge(self, parts: list[Part], before: dict[str, int], rows: int) -> None:
        self._mean(("entropy", "mean_token_accuracy"), [part.scored for part in parts], before)


class OpenR1SFTTrainer(Sealed, SftInParts, SFTTrainer):
    """SFTTrainer with sealed checkpoints whose count of tokens goes on after a restart."""

    _total_train_tokens: int

    def beside_the_checkpoint(self) -> dict[str, int]:
        return {"num_tokens": self._total_train_tokens}

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            kept = json.loads((Path(checkpoint) / COUNTERS).read_text(encoding="utf-8"))
            self._total_train_tokens = kept["num_tokens"]


def _stacked(held: tuple[Batch, ...], key: str) -> torch.Tensor:
    """The rows of all micro-batches, padded to the widest."""
    widest = max(b[key].size(1) for b in held)
    pad = torch.nn.functional.pad
    return torch.cat([pad(b[key], (0, widest - b[key].size(1)), value=PADDING[key]) for b in held])
