"""GRPO's updates in parts: what may be regrouped or left out without changing the gradient.

| loss, term                                           | what is done                                     |
|------------------------------------------------------|--------------------------------------------------|
| grpo, dapo, dr_grpo, cispo, sapo, luspo, vespo       | parts over all rows of the optimizer step        |
| bnpo (a mean over the micro-batch's tokens)          | parts within each micro-batch                    |
| entropy bonus, top-entropy mask, MoE router loss     | upstream's micro-batches, cut to their own rows  |
| images and whatever else a batch may hold            | upstream's way                                   |

Rows are left out only where their gradient is exactly zero: no token of them is in the loss, or their
advantage is 0 and there is no KL term (beta 0). The update's metrics (entropy, kl) then speak of the rows
that were forwarded. Work-around for huggingface/trl#7179 (trimming and sorting); with that merged, see what
is left of it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import Trainer

from openr1.training.micro_batches import Part
from openr1.training.updates import Batch, InParts, Ready, widths

BY_ROWS = frozenset({"grpo", "sapo", "dr_grpo", "luspo"})  # means over the micro-batch's rows
BY_ROLLOUT = frozenset({"dapo", "cispo", "vespo"})  # divided by the rollout's tokens
PROMPT_KEYS = frozenset({"prompt_ids", "prompt_mask"})
KNOWN = PROMPT_KEYS | {
    *("completion_ids", "completion_mask", "tool_mask", "advantages", "num_items_in_batch"),
    *("old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps", "importance_sampling_ratio"),
}


class GrpoInParts(InParts):
    """Mix-in for GRPOTrainer."""

    loss_type: str
    beta: float
    num_iterations: int
    importance_sampling_level: str
    _step: int
    _current_train_step_time: float

    def _rows(self, batch: Batch) -> int:
        return len(batch["prompt_ids"])

    def _known(self, batch: Batch) -> bool:
        return batch.keys() <= KNOWN

    def _may_split(self, num_items_in_batch: Any) -> bool:
        own: Any = self
        # Means and quantiles over a micro-batch's tokens, whatever the loss type.
        whole = own._entropy_bonus_enabled or own.aux_loss_enabled or own.top_entropy_quantile < 1.0
        return not whole and self.loss_type in BY_ROWS | BY_ROLLOUT | {"bnpo"}

    def _window_ends(self) -> bool:
        rollout = self.args.steps_per_generation * self.num_iterations
        return super()._window_ends() or self.loss_type == "bnpo" or (self._step + 1) % rollout == 0

    def _table(self, held: tuple[Batch, ...]) -> torch.Tensor:
        advantages = torch.cat([b["advantages"] for b in held])
        scored = torch.cat([_loss_mask(b).sum(dim=1) for b in held])
        live = scored > 0
        if self.beta == 0:
            live &= advantages.reshape(len(advantages), -1).ne(0).any(dim=1)
        attended = torch.cat([torch.cat([b["prompt_mask"], b["completion_mask"]], dim=1) for b in held])
        sides = widths(attended, held[0]["completion_ids"].size(1), self._sides())
        return torch.stack([*sides, scored, live], dim=1).long()

    def _cut(self, held: tuple[Batch, ...], part: Part) -> Ready:
        rows = torch.as_tensor(part.rows, device=held[0]["prompt_ids"].device)
        ready = Ready()
        for key, value in held[0].items():
            if value is None or value.dim() == 0:
                ready[key] = value  # num_items_in_batch: of the rollout, and so the same in all that is held
                continue
            taken = torch.cat([b[key] for b in held])[rows]
            if key in PROMPT_KEYS:
                taken = taken[:, taken.size(1) - part.prompt :]
            elif taken.dim() == 2:  # of (rows, 1) everything stays
                taken = taken[:, : part.completion]
            ready[key] = taken
        if self.loss_type in BY_ROWS:
            ready.weight = len(rows) / self._rows(held[0])
        elif self.loss_type == "bnpo":
            whole = torch.cat([_loss_mask(b) for b in held]).sum().clamp(min=1)
            ready.weight = _loss_mask(ready).sum().clamp(min=1) / whole
        return ready

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        above: Any = super()
        loss = above.compute_loss(model, inputs, *args, **kwargs)
        return loss * inputs.weight if isinstance(inputs, Ready) else loss

    def _backward(self, model: Any, ready: Ready, num_items_in_batch: Any) -> torch.Tensor:
        own: Any = self
        return Trainer.training_step(own, model, ready, num_items_in_batch)

    def _spent(self, seconds: float) -> None:
        self._current_train_step_time += seconds

    def _nothing_to_do(self) -> None:
        self._step += 1

    def _merge(self, parts: list[Part], before: dict[str, int], rows: int) -> None:
        tokens = [part.scored for part in parts]
        numbers = [len(part.rows) for part in parts]
        self._mean(("entropy", "kl"), tokens, before)
        self._mean(("vespo/phi_seq_mean",), numbers, before)
        by = tokens if self.importance_sampling_level == "token" else numbers
        self._mean(("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"), by, before)
        self._mean(("cispo_clip_ratio",), by, before)
        self._fold(("clip_ratio/low_min",), before, lambda new: min(_numbers(new)))
        self._fold(("clip_ratio/high_max",), before, lambda new: max(_numbers(new)))
        self._metrics["train"]["update/rows_forwarded"].append(sum(numbers) / rows)
        self._metrics["train"]["update/parts"].append(float(len(parts)))

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **more: Any,
    ) -> Any:
        """Old and reference log-probs of a rollout in parts, too (only they have `batch_size`)."""
        above: Any = super()
        upstream = above._get_per_token_logps_and_entropies
        plain = all(value is None or value is False for value in more.values())
        if self.rules is None or batch_size is None or not plain:
            return upstream(model, input_ids, attention_mask, logits_to_keep, batch_size, **more)
        scored = attention_mask[:, -logits_to_keep:].sum(dim=1)
        sides = widths(attention_mask, logits_to_keep, self._sides())
        table = torch.stack([*sides, scored, torch.ones_like(scored)], dim=1).long()
        logps: torch.Tensor | None = None
        prompt = input_ids.size(1) - logits_to_keep
        for part in self._parts(table, batch_size, True):
            rows = torch.as_tensor(part.rows, device=input_ids.device)
            columns = slice(prompt - part.prompt, prompt + part.completion)
            ids, mask = input_ids[rows, columns], attention_mask[rows, columns]
            some = upstream(model, ids, mask, part.completion, **more)[0]
            if logps is None:
                logps = some.new_zeros(len(input_ids), logits_to_keep)  # upstream's value at padding
            logps[rows, : part.completion] = some
        return logps, None, None


def _loss_mask(batch: Batch) -> torch.Tensor:
    mask: torch.Tensor = batch["completion_mask"]
    return mask if batch.get("tool_mask") is None else mask * batch["tool_mask"]


def _numbers(values: list[float]) -> list[float]:
    """Without the NaN that stands for a part without tokens; upstream's log leaves these out, too."""
    return [value for value in values if not math.isnan(value)] or [math.nan]
