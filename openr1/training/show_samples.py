"""`openr1 sft|grpo RECIPE --show-samples N`: rows as the model will see them, masked tokens marked."""

from __future__ import annotations

from typing import Any

from openr1.data.model_source import check_loadable, model_files
from openr1.data.show import pieces, shown_rows
from openr1.errors import RecipeError
from openr1.runs.child import Child
from openr1.training.grpo import MOST_PROMPTS, rendered
from openr1.training.run import load_rows
from openr1.training.sft import Prepared, prepare


def show(child: Child) -> dict[str, Any]:
    """Prepare the section's rows as training would, and take some of them.

    Returns:
        For GRPO {"samples": [{row, tokens, text, gold}], "tokens": shortest, middle and longest prompt}, the
        text being the prompt up to where the completion begins; for SFT
        {"samples": [{row, tokens, learnt, kept, pieces}], "lengths": as `data.lengths.lengths_report`}.
        `kept` is how many tokens one sequence holds; the pieces are those tokens.
    """
    values = child.values
    child.events.send("phase", name="loading data")
    source = model_files(values["model_name_or_path"], values["seed"], child.run.path)
    check_loadable(source, revision=values["model_revision"], trust_remote_code=values["trust_remote_code"])
    dataset, held_out, _ = load_rows(child, child.config["stage"], values)
    if child.config["stage"] == "grpo":
        return _prompts(values, source, dataset, child.config["plan"]["show_samples"])
    ready = prepare(child, values, source, dataset, held_out)
    if ready.tokenizer is None:
        raise RecipeError(
            "rows cannot be shown where the chat template of another model is taken over",
            where="chat_template_path",
            fix="set chat_template instead",
        )
    return {"samples": rows_shown(ready, child.config["plan"]["show_samples"]), "lengths": ready.lengths}


def rows_shown(ready: Prepared, count: int) -> list[dict[str, Any]]:
    """SFT's rows as `show` gives them."""
    samples = []
    for index in shown_rows(len(ready.tokens), count):
        row = ready.tokens[index]
        kept = slice(None, ready.args.max_length)
        if ready.args.max_length and not ready.args.packing and ready.args.truncation_mode == "keep_end":
            kept = slice(-ready.args.max_length, None)
        shown = pieces(row["input_ids"][kept], row["labels"][kept], ready.tokenizer.decode)
        samples.append(
            {
                "row": index + 1,
                "tokens": len(row["input_ids"]),
                "kept": sum(piece["tokens"] for piece in shown),
                "learnt": sum(piece["tokens"] for piece in shown if piece["learnt"]),
                "pieces": shown,
            }
        )
    return samples


def _prompts(values: dict[str, Any], source: str, dataset: Any, count: int) -> dict[str, Any]:
    """GRPO's rows, and the lengths of all prompts."""
    _, lengths = rendered(source, values, dataset.select(shown_rows(len(dataset), MOST_PROMPTS))["prompt"])
    lengths.sort()
    samples = prompts_shown(values, source, dataset, count)
    return {"samples": samples, "tokens": [lengths[0], lengths[len(lengths) // 2], lengths[-1]]}


def prompts_shown(values: dict[str, Any], source: str, dataset: Any, count: int) -> list[dict[str, Any]]:
    """The prompt through the chat template, and the gold answer that the rewards will see."""
    places = shown_rows(len(dataset), count)
    chosen = dataset.select(places)
    texts, tokens = rendered(source, values, chosen["prompt"])
    golds = chosen["solution"] if "solution" in dataset.column_names else [None] * len(places)
    return [
        {"row": place + 1, "tokens": size, "text": text, "gold": gold}
        for place, size, text, gold in zip(places, tokens, texts, golds, strict=True)
    ]
