"""How an optimizer step's rows go through the model: in parts of like length, each cut to its own longest
row.

Upstream pads every GRPO micro-batch to the longest completion of the whole rollout, and an SFT micro-batch to
its longest row of any length. Here the micro-batches of an optimizer step are held until its last one, and
their rows then go through the model in parts (see `micro_batches`), with each part's loss weighted so that
the gradient is the same; only the order of the sums differs. `grpo_updates` and `sft_trainer` say what a
trainer's batches hold.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import DistributedType

from openr1.training.micro_batches import Part, make_parts

Batch = dict[str, Any]

PART_COST = {"cpu": 50, "cuda": 1000}
"""What one more forward and backward costs, in tokens. CPU: measured (docs/performance.md). GPU: an estimate,
some 60 ms of kernel launches at 15,000 tokens/s."""

PROMPT_TOKENS = 512  # what the planner, too, counts with where max_prompt_length is not given
SFT_TOKENS = 1024  # TRL's max_length

STATIC_ROPE = {"default", "linear", "llama3", "yarn"}
RELATIVE_ATTENTION = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Rules:
    """How rows are regrouped; the recipe's keys are in config/schema.py.

    Attributes:
        trim: form parts by length and cut each to its own longest row.
        skip: leave out rows without a gradient.
        budget: most tokens of a part, padding included; None: as many rows as a micro-batch has.
    """

    trim: bool
    skip: bool
    budget: int | None


def rules_of(stage: str, values: dict[str, Any], rows: int) -> Rules | None:
    """The rules a section asks for, None when all is switched off; `rows` is per_device_train_batch_size."""
    if values["micro_batch_by"] == "rows":
        budget = None
    elif stage == "grpo":
        longest = (values["max_prompt_length"] or PROMPT_TOKENS) + values["max_completion_length"]
        budget = values["micro_batch_tokens"] or rows * longest
    else:
        budget = values["micro_batch_tokens"] or rows * (values["max_length"] or SFT_TOKENS)
    rules = Rules(values["trim_micro_batches"], stage == "grpo" and values["skip_idle_rows"], budget)
    return None if rules == Rules(trim=False, skip=False, budget=None) else rules


class Ready(dict[str, Any]):
    """Rows ready for the model; `weight` makes their loss the share of the whole that it should be."""

    weight: float | torch.Tensor = 1.0


class InParts:
    """Trainer mix-in: holds the micro-batches of an optimizer step and runs their rows in parts.

    Every rank makes the same number of forwards and backwards with the same numbers of rows, whatever its
    rows are: the collectives of DDP, ZeRO and the metrics stay in step.
    """

    rules: Rules | None = None  # None: upstream's own way

    accelerator: Any
    args: Any
    model: Any
    optimizer: Any
    _metrics: Any
    _held: tuple[Batch, ...] = ()

    # What a trainer knows of its batches.

    def _rows(self, batch: Batch) -> int:
        raise NotImplementedError

    def _known(self, batch: Batch) -> bool:
        """Whether the batch holds nothing but what `_table` and `_cut` understand."""
        raise NotImplementedError

    def _may_split(self, num_items_in_batch: Any) -> bool:
        """Whether the loss is a sum over rows, so that a step's rows may be grouped in any way."""
        raise NotImplementedError

    def _window_ends(self) -> bool:
        """Whether the next micro-batch belongs to another optimizer step (or another rollout)."""
        return bool(self.accelerator.sync_gradients)

    def _table(self, held: tuple[Batch, ...]) -> torch.Tensor:
        """(rows, 4): what `micro_batches` wants to know of each row held."""
        raise NotImplementedError

    def _cut(self, held: tuple[Batch, ...], part: Part) -> Ready:
        """The part's rows, cut to its widths."""
        raise NotImplementedError

    def _backward(self, model: Any, ready: Ready, num_items_in_batch: Any) -> torch.Tensor:
        """One forward and backward, as upstream's training_step does it, without its bookkeeping."""
        raise NotImplementedError

    def _merge(self, parts: list[Part], before: dict[str, int], rows: int) -> None:
        """One value per metric of what the parts have logged one by one."""
        raise NotImplementedError

    def _spent(self, seconds: float) -> None:
        """Time that upstream's training_step does not see."""

    def _nothing_to_do(self) -> None:
        """Bookkeeping of a micro-step whose rows are held for a later one."""

    # The way of a micro-step.

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        above: Any = super()
        if self.rules is None:
            return above.training_step(model, inputs, num_items_in_batch)
        begun = time.perf_counter()
        # As Trainer.training_step does before it prepares a batch: a rollout asks which mode the model is in.
        model.train()
        if callable(getattr(self.optimizer, "train", None)):
            self.optimizer.train()
        held = (*self._held, self._prepare_inputs(inputs))
        self._held = ()
        if not self._known(held[-1]):
            self._spent(time.perf_counter() - begun)
            return above.training_step(model, Ready(held[-1]), num_items_in_batch)
        split = self._may_split(num_items_in_batch)
        if split and not self._window_ends():
            self._held = held
            self._spent(time.perf_counter() - begun)
            self._nothing_to_do()
            return torch.zeros((), device=self.accelerator.device)
        parts = self._parts(self._table(held), self._rows(held[0]), split)
        before = {name: len(values) for name, values in self._metrics["train"].items()}
        loss: Any = 0.0
        for part in parts[:-1]:
            with self._without_sync(model):
                loss = loss + self._backward(model, self._cut(held, part), num_items_in_batch)
        last = self._cut(held, parts[-1])
        self._spent(time.perf_counter() - begun)
        loss = loss + above.training_step(model, last, num_items_in_batch)
        self._merge(parts, before, sum(self._rows(batch) for batch in held))
        return loss

    def _prepare_inputs(self, inputs: Any) -> Any:
        above: Any = super()
        return inputs if isinstance(inputs, Ready) else above._prepare_inputs(inputs)

    def _parts(self, table: torch.Tensor, micro_batch: int, split: bool) -> list[Part]:
        """The plan of a window; without `split`, one part of all its rows."""
        assert self.rules is not None
        ranks = self.accelerator.num_processes
        everyone = self.accelerator.gather(table[None]) if ranks > 1 else table[None]
        by_tokens = split and self.rules.budget is not None
        return make_parts(
            everyone.cpu().numpy(),
            self.accelerator.process_index,
            budget=self.rules.budget or 0,
            part_cost=PART_COST.get(self.accelerator.device.type, PART_COST["cuda"]),
            skip=self.rules.skip and split,
            largest=None if by_tokens else micro_batch,
        )

    def _sides(self) -> tuple[bool, bool]:
        """Whether padding on the left and on the right may be cut."""
        assert self.rules is not None
        return cuttable(self.model.config.get_text_config()) if self.rules.trim else (False, False)

    @contextlib.contextmanager
    def _without_sync(self, model: Any) -> Iterator[None]:
        """Ranks add up their gradients with the last part only, as between micro-steps upstream."""
        state = self.accelerator.gradient_state
        synced = state.sync_gradients
        # DeepSpeed reduces in its own time, and has no no_sync from ZeRO-2 on.
        every = state.plugin_kwargs.get("sync_each_batch", False)
        every = every or self.accelerator.distributed_type == DistributedType.DEEPSPEED
        state._set_sync_gradients(False)
        try:
            with contextlib.nullcontext() if every else self.accelerator.no_sync(model):
                yield
        finally:
            state._set_sync_gradients(synced)

    # Metrics.

    def _mean(self, names: tuple[str, ...], weights: list[int], before: dict[str, int]) -> None:
        """One weighted mean instead of the parts' values."""
        whole = max(1, sum(weights))
        self._fold(names, before, lambda new: sum(w * v for w, v in zip(weights, new, strict=True)) / whole)

    def _fold(
        self, names: tuple[str, ...], before: dict[str, int], fold: Callable[[list[float]], float]
    ) -> None:
        metrics = self._metrics["train"]
        for name in names:
            first = before.get(name, 0)
            if len(metrics.get(name, ())) > first:
                metrics[name][first:] = [fold(metrics[name][first:])]


def widths(
    attended: torch.Tensor, completion: int, cut: tuple[bool, bool]
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each row needs of its two sides.

    Args:
        attended: attention mask (rows, prompt + completion columns).
        completion: columns of the completion side.
        cut: whether the left and the right padding may be cut.

    Returns:
        Widths of the prompt side and of the completion side, each (rows,).
    """
    rows, columns = attended.shape
    prompt = columns - completion
    left = torch.full((rows,), prompt, device=attended.device)
    right = torch.full((rows,), completion, device=attended.device)
    if cut[0] and prompt:
        left = prompt - attended[:, :prompt].argmax(dim=1)
    if cut[1]:
        mask = attended[:, prompt:]
        right = torch.where(mask.any(dim=1), completion - mask.flip(1).argmax(dim=1), 0)
    return left, right


def cuttable(config: Any) -> tuple[bool, bool]:
    """Whether a row's numbers stay the same without its left and without its right padding.

    Positions count from the row's first column, padding included: what only sees their differences (rotary
    embeddings of a fixed base, full or sliding attention) may be cut on the left. Padding on the right is not
    seen by what stands before it, except by rotary embeddings that change with the length.
    """
    rope = getattr(config, "rope_parameters", None)
    if not rope:
        return False, True
    # One set of parameters, or one for each kind of layer.
    kinds = {one.get("rope_type", "default") for one in ([rope] if "rope_type" in rope else rope.values())}
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    static = kinds <= STATIC_ROPE
    return static and layers <= RELATIVE_ATTENTION, static
