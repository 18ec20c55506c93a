"""What SFT has and GRPO has not: conversations that go through a chat template, and what is learnt of them.

Everything here happens before weights are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from transformers import AutoTokenizer

from openr1.data.chat_template import check_for_sft, template_text, use_template
from openr1.data.lengths import lengths_report, words
from openr1.data.show import MASKED, shown_rows
from openr1.errors import RecipeError
from openr1.runs.child import Child
from openr1.runs.files import write_json
from openr1.training.trl_adapter import config_of, sft_tokens

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import SFTConfig

LOOKED_AT = 64  # rows whose template and EOS are checked


@dataclass(frozen=True)
class Prepared:
    """What the trainer is made of. Tokens are whole rows, `input_ids` and `labels`, not cut, not packed."""

    args: SFTConfig
    tokenizer: Any
    tokens: Dataset
    held_out: Dataset | None
    lengths: dict[str, Any] | None


def prepare(
    child: Child, values: dict[str, Any], source: str, dataset: Dataset, held_out: Dataset | None
) -> Prepared:
    """Check template, EOS and padding; tokenize; count what max_length costs. Says what it found.

    Raises:
        RecipeError: a template or token with which the model would not learn to reason or to stop.
    """
    tokenizer = AutoTokenizer.from_pretrained(
        source, revision=values["model_revision"], trust_remote_code=values["trust_remote_code"]
    )
    other = values["chat_template_path"]
    if other and not Path(other).is_file():
        child.events.send(
            "notice",
            text=f"the chat template of {other} is taken over, tokens and all; it is not checked before",
        )
        return Prepared(_args(child, values), None, dataset, held_out, None)
    use_template(tokenizer, values["chat_template"] or (template_text(other) if other else None))
    found = check_for_sft(
        tokenizer,
        list(_conversations(dataset)),
        eos_token=values["eos_token"],
        pad_token=values["pad_token"],
    )
    for text in found.notices:
        child.events.send("notice", text=text)
    tokenizer.eos_token, tokenizer.pad_token = found.eos, found.pad
    args = _args(child, {**values, "eos_token": found.eos, "pad_token": None})
    tokens = sft_tokens(dataset, tokenizer, args, "train")
    _learns_to_stop(tokens, tokenizer)
    held = None if held_out is None else sft_tokens(held_out, tokenizer, args, "eval")
    report = _lengths(tokens, args)
    if child.first:
        write_json(child.run.path / "lengths.json", report)
    for text in words(report):
        child.events.send("notice", text=text)
    return Prepared(args, tokenizer, tokens, held, report)


def _args(child: Child, values: dict[str, Any]) -> SFTConfig:
    return cast("SFTConfig", config_of("sft", values, child))


def _conversations(dataset: Dataset) -> Iterator[list[dict[str, Any]]]:
    """Some of the dataset's conversations, whole; none of plain text."""
    for index in shown_rows(len(dataset), LOOKED_AT):
        row = dataset[index]
        if "messages" in row:
            yield row["messages"]
        elif "prompt" in row:
            yield row["prompt"] + row["completion"]


def _learns_to_stop(tokens: Dataset, tokenizer: Any) -> None:
    """The EOS must be among what is learnt, in the tokens as the trainer has made them."""
    rows = [tokens[index] for index in shown_rows(len(tokens), LOOKED_AT)]
    learnt = [label for row in rows for label in row["labels"] if label != MASKED]
    if tokenizer.eos_token_id not in learnt:
        raise RecipeError(
            f"the EOS token {tokenizer.eos_token} is not among what is learnt: the model would never stop",
            where="chat_template",
            fix="put it inside {% generation %}…{% endgeneration %}, or set assistant_only_loss: false",
        )


def _lengths(tokens: Dataset, args: SFTConfig) -> dict[str, Any]:
    lengths = row_lengths(tokens)
    packing = args.packing_strategy if args.packing else None
    limit = args.max_length
    lost: list[int] = []
    if limit is not None and packing is None:
        kept = slice(None, limit) if args.truncation_mode == "keep_start" else slice(-limit, None)
        long = [i for i, n in enumerate(lengths) if n > limit]
        lost = [i for i in long if all(label == MASKED for label in tokens[i]["labels"][kept])]
    return lengths_report(lengths, max_length=limit, packing=packing, unlearnt=lost)


def row_lengths(tokens: Dataset) -> list[int]:
    """Tokens of every row, read off the column's offsets."""
    import pyarrow.compute

    found: list[int] = []
    column = tokens.select_columns(["input_ids"]).with_format("arrow")
    for batch in column.iter(batch_size=10_000):
        found += pyarrow.compute.list_value_length(batch["input_ids"]).to_pylist()
    return found
