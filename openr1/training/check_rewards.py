"""`openr1 grpo RECIPE --check-rewards`: are the golds, the columns, the template and the rewards sound?"""

from __future__ import annotations

from typing import Any

from openr1.data.load import training_set
from openr1.data.model_source import check_loadable, model_files
from openr1.hardware.facts import to_plain
from openr1.rewards.check import Completion, check_rewards
from openr1.runs.child import Child
from openr1.sampling.requests import Request, SamplingParams, completed
from openr1.sampling.transformers_backend import TransformersSampler
from openr1.training.grpo import prefills_think, reads_gold, rendered, reward_functions

SAMPLED_ROWS = 4  # each with a whole group of completions, as one GRPO prompt has


def check(child: Child) -> dict[str, Any]:
    """Check the first rows of the dataset, and completions of the untrained model for a few of them.

    Returns:
        {"report": the fields of `openr1.rewards.check.CheckReport`}
    """
    values, asked = child.values, child.config["plan"]["check_rewards"]
    child.events.send("phase", name="loading data")
    source = model_files(values["model_name_or_path"], values["seed"], child.run.path)
    config = check_loadable(
        source, revision=values["model_revision"], trust_remote_code=values["trust_remote_code"]
    )
    dataset, facts = training_set("grpo", values, reads_gold(values))
    rows = [dataset[index] for index in range(min(asked["rows"], len(dataset)))]
    rewards = reward_functions(values, prefills_think(source, values, rows[0]["prompt"]), rows)
    prompts, lengths = rendered(source, values, [row["prompt"] for row in rows])
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    room = None if context is None else context - values["max_completion_length"]
    completions = _sampled(child, source, rows, values) if asked["sample"] else None
    report = check_rewards(
        rows,
        rewards,
        weights=values["reward_weights"],
        rendered_prompts=prompts,
        prompt_tokens=lengths,
        max_prompt_tokens=room,
        completions=completions,
    )
    return {"report": {**to_plain(report), "columns": facts["columns"]}}


def _sampled(
    child: Child, source: str, rows: list[dict[str, Any]], values: dict[str, Any]
) -> list[list[Completion]]:
    """A group of completions for each of the first rows, drawn as the training would draw them."""
    params = SamplingParams(
        values["temperature"],
        values["top_p"],
        values["top_k"] or None,
        values["max_completion_length"],
        values["seed"],
    )
    child.events.send("phase", name="loading the model")
    sampler = TransformersSampler(
        source,
        dtype="float32" if values["use_cpu"] else "auto",
        revision=values["model_revision"],
        trust_remote_code=values["trust_remote_code"],
    )
    few = rows[:SAMPLED_ROWS]
    child.events.send("start", total=len(few), done=0, unit="prompt")
    groups = []
    for number, row in enumerate(few):
        group = [Request(number, i, tuple(row["prompt"])) for i in range(values["num_generations"])]
        drawn = completed(sampler.complete(group, params, number))
        groups.append(
            [
                Completion([{"role": "assistant", "content": c.text}], c.finish_reason, [0] * c.tokens)
                for c in drawn
            ]
        )
        child.events.send("progress", done=number + 1)
    return groups
