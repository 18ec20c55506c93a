"""The dataset card: everything needed to make the dataset again, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openr1 import __version__
from openr1.generation.layouts import Layout


def card(
    facts: Mapping[str, Any],
    rules: Mapping[str, Any],
    funnel: Sequence[Mapping[str, Any]],
    counts: Mapping[Layout, int],
    contamination: Mapping[str, Any] | None,
) -> str:
    """README.md of an exported dataset.

    Args:
        facts: `SampleSet.facts`.
        rules: the values that filtered and chose.
        funnel: problems and completions after every step.
        counts: rows per layout, the first is the default configuration.
        contamination: what was compared with, and what was found; None when nothing was.
    """
    revision = f" at revision `{facts['model_revision']}`" if facts.get("model_revision") else ""
    parts = [
        _head(counts),
        f"# Completions of {facts['model']}",
        _made(facts),
        "## How it was sampled",
        _table(
            ("", "value"),
            [
                ("model", f"`{facts['model']}`{revision}"),
                ("fingerprint of the weights", f"`{facts['fingerprint']}`"),
                ("completions per row", facts["num_generations"]),
                *((name, value) for name, value in facts["sampling"].items()),
                ("truncated completions", facts["truncated"]),
                ("cut off", f"{facts['truncated_samples']:,}"),
                ("tokens", f"{facts['tokens']:,}"),
                *((f"version of {name}", value) for name, value in facts["versions"].items()),
            ],
        ),
        _prompt(facts),
        "## What was kept",
        _table(
            ("step", "problems", "completions"),
            [(step["step"], f"{step['problems']:,}", f"{step['samples']:,}") for step in funnel],
        ),
        _table(("rule", "value"), list(rules.items())),
        _decontaminated(contamination),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(counts: Mapping[Layout, int]) -> str:
    """The block the hub and `load_dataset` read: which files are which configuration."""
    lines = ["---", "configs:"]
    for number, name in enumerate(counts):
        lines += [f"- config_name: {name}", *(["  default: true"] if number == 0 else [])]
        lines += ["  data_files:", "  - split: train", f"    path: {name}/train-*.parquet"]
    return "\n".join([*lines, "tags:", "- synthetic", "- openr1", "---"])


def _made(facts: Mapping[str, Any]) -> str:
    return (
        f"Made with openr1 {__version__}: {facts['samples']:,} completions for {facts['rows']:,} rows of "
        f"`{facts['dataset']}`{_of(facts)}."
    )


def _of(facts: Mapping[str, Any]) -> str:
    parts = [facts["dataset_config"], facts["dataset_split"]]
    said = ", ".join(str(part) for part in parts if part)
    return f" ({said})" if said and not str(facts["dataset"]).startswith("builtin:") else ""


def _prompt(facts: Mapping[str, Any]) -> str:
    parts = [f"The prompt is the column `{facts['prompt_column']}`"]
    if facts["prompt_template"]:
        parts.append(f", put into this template:\n\n{_fenced(facts['prompt_template'])}")
    else:
        parts.append(", as it is.")
    if facts["system_prompt"]:
        parts.append(f"\n\nSystem prompt:\n\n{_fenced(facts['system_prompt'])}")
    return "".join(parts)


def _decontaminated(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "## Decontamination\n\nNot done."
    rows = [(name, f"{size:,}", found["by_set"].get(name, 0)) for name, size in found["sets"].items()]
    how = f"{found['ngram_size']}-grams of words, `{found['match']}`"
    return "\n\n".join(
        [
            "## Decontamination",
            f"Compared by {how}, with:",
            _table(("evaluation set", "its problems", "problems of ours removed"), rows),
        ]
    )


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
