"""A section's rows, ready for its trainer: loaded, mapped, mixed, held out (child processes only)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from openr1.data import tiny_task
from openr1.data.columns import SOLUTION_NAMES, Row
from openr1.data.dialects import explain
from openr1.data.layouts import REASONING, Wanted, grpo_layout, sft_layout
from openr1.data.literals import structure_in
from openr1.data.mixture import Mixture, Part, mixture_of, rows_taken
from openr1.data.show import shown_rows
from openr1.data.sources import FORMATS, rows_of
from openr1.errors import RecipeError

if TYPE_CHECKING:
    from datasets import Dataset

BUILTIN_ROWS = 20_000
BUILTIN_EVAL_ROWS = 200
LOOKED_INTO = 64  # rows that are read to learn which fields a column of text holds
# `messages` and `completion` would change what TRL does; the others are what it calls its own arguments.
NOT_FOR_REWARDS = ("messages", "completion", "images", "image", "prompts", "completions", "completion_ids")

Facts = dict[str, Any]


def training_set(stage: str, values: dict[str, Any], needs_gold: bool = True) -> tuple[Dataset, Facts]:
    """The rows a training stage learns from, in TRL's layout.

    Args:
        stage: "sft" or "grpo".
        values: the section's resolved values.
        needs_gold: whether a reward of a GRPO section reads the gold answer.

    Returns:
        The dataset, and facts about it: name, rows, fingerprint, the column mapping in words, how many rows
        reason in which way, the parts of a mixture, and `notices`, which a person should read once.

    Raises:
        RecipeError: no dataset named, not found, empty, or without the columns the stage needs.
        EnvironmentProblem: the hub cannot be reached.
    """
    dataset, _, facts = load_data(stage, values, needs_gold, evaluate=False)
    return dataset, facts


def load_data(
    stage: str, values: dict[str, Any], needs_gold: bool = True, *, evaluate: bool | None = None
) -> tuple[Dataset, Dataset | None, Facts]:
    """The rows to learn from and, where the section evaluates while it trains, rows held out for that.

    Args:
        evaluate: None: as `eval_strategy` and `do_eval` say.

    Returns:
        Training rows, rows held out or None, and facts as in `training_set`; `eval` holds those of the
        held-out rows.

    Raises:
        RecipeError, EnvironmentProblem: as `training_set`; and there is nothing to hold out from.
    """
    _refuse_streaming(values)
    wants_eval = _evaluates(values) if evaluate is None else evaluate
    mixture = mixture_of(values)
    held: Dataset | None = None
    if mixture is not None:
        train, held, facts = _mixed(stage, mixture, values, needs_gold, wants_eval)
    else:
        train, held, facts = _single(stage, values, needs_gold, wants_eval)
    if values["limit"]:
        train = train.select(range(min(values["limit"], len(train))))
    train, reasoning = _count_reasoning(train)
    _refuse_empty(train, facts["name"])
    facts |= {"rows": len(train), "fingerprint": fingerprint(train), "reasoning": reasoning}
    facts["notices"] = explain(reasoning, values.get("reasoning_style") or "think")
    if held is not None:
        held, _ = _count_reasoning(held)
        if values.get("eval_limit"):
            held = held.select(range(min(values["eval_limit"], len(held))))
        _refuse_empty(held, f"{facts['name']} (held out)")
        facts["eval"] |= {"rows": len(held), "fingerprint": fingerprint(held)}
    return train, held, facts


def _evaluates(values: dict[str, Any]) -> bool:
    return str(values.get("eval_strategy") or "no") != "no" or bool(values.get("do_eval"))


def _refuse_streaming(values: dict[str, Any]) -> None:
    for key in ("streaming", "dataset_streaming"):
        if values.get(key):
            raise RecipeError(
                "datasets are not streamed: rows are counted, mapped and checked before training",
                where=key,
                fix="leave it out; `limit` trains on the first rows",
            )


def _refuse_empty(dataset: Dataset, name: str) -> None:
    if len(dataset) == 0:
        raise RecipeError("the dataset is empty", where=name, fix="name another dataset, split or limit")


def _single(
    stage: str, values: dict[str, Any], needs_gold: bool, wants_eval: bool
) -> tuple[Dataset, Dataset | None, Facts]:
    name = values["dataset_name"]
    if not name:
        raise RecipeError("no dataset is named", fix="set dataset_name in the recipe, or --dataset_name")
    size = values.get("eval_split_size") or values.get("test_split_size")
    if tiny_task.is_builtin(name):
        train = _builtin(stage, name, values, values["limit"] or BUILTIN_ROWS)
        facts: Facts = {"name": name, "columns": "built-in"}
        if not wants_eval:
            return train, None, facts
        count = int(size) if size and size >= 1 else BUILTIN_EVAL_ROWS
        held = _builtin(stage, name, values, values.get("eval_limit") or count, "test")
        return train, held, facts | {"eval": {"from": "the task's test problems"}}
    raw = _rows(_part(values, values["dataset_train_split"]))
    held_raw, source = None, ""
    numbers: Sequence[int] = range(len(raw))
    if wants_eval and size:
        raw, held_raw, numbers = held_out(raw, size, values["seed"])
        source = f"{len(held_raw):,} rows of split {values['dataset_train_split']}, not trained on"
    elif wants_eval:
        held_raw = _test_rows(values)
        source = f"split {values['dataset_test_split']}"
    if values["limit"]:
        raw = raw.select(range(min(values["limit"], len(raw))))
    train, words = mapped(stage, name, raw, values, needs_gold, numbers=numbers)
    facts = {"name": name, "columns": words}
    if held_raw is None:
        return train, None, facts
    held, _ = mapped(stage, name, held_raw, values, needs_gold)
    return train, held, facts | {"eval": {"from": source}}


def _part(values: dict[str, Any], split: str) -> Part:
    return Part(
        values["dataset_name"], values["dataset_config"], split, revision=values.get("dataset_revision")
    )


def _rows(part: Part) -> Dataset:
    """The raw rows of one dataset, its declared columns only."""
    from pathlib import Path

    if Path(part.name).suffix in FORMATS and part.split.partition("[")[0] != "train":
        raise RecipeError(
            f"one file has one split, `train`, and no `{part.split}`",
            where=part.name,
            fix="give a folder with a file per split, or eval_split_size to hold rows out",
        )
    raw = rows_of(
        part.name, part.config, part.split, part.revision, data_dir=part.data_dir, data_files=part.data_files
    )
    if part.columns is not None:
        missing = [c for c in part.columns if c not in raw.column_names]
        if missing:
            raise RecipeError(
                f"the dataset has no column {', '.join(missing)}",
                where=part.name,
                fix=f"it has: {', '.join(raw.column_names)}",
            )
        raw = raw.select_columns(list(part.columns))
    if not raw.column_names:
        raise RecipeError("the dataset is empty", where=part.name)
    return raw


def _test_rows(values: dict[str, Any]) -> Dataset:
    """The evaluation split; where there is none, the message says how to make one."""
    try:
        return _rows(_part(values, values["dataset_test_split"]))
    except RecipeError as error:
        if "split" in error.what:
            error.what = f"the section evaluates while it trains, and {error.what}"
            error.fix = "eval_split_size: 100 holds training rows out; dataset_test_split names a split" + (
                f" ({error.fix})" if str(error.fix).startswith("it has") else ""
            )
            error.fix += "; or eval_strategy: no"
            error.args = (error.what,)
        raise


def held_out(raw: Dataset, size: float, seed: int) -> tuple[Dataset, Dataset, list[int]]:
    """Rows to train on, in their order, and rows that are held out, drawn by the seed.

    Args:
        size: rows (from 1), or a share below 1.

    Returns:
        The two, and the places of the training rows in `raw`.

    Raises:
        RecipeError: nothing would be left to train on.
    """
    count = int(size) if size >= 1 else max(1, round(len(raw) * size))
    if count >= len(raw):
        raise RecipeError(
            f"eval_split_size {size:g} holds out {count:,} of {len(raw):,} rows: none is left to train on",
            where="eval_split_size",
            fix="lower it",
        )
    chosen = set(Random(seed).sample(range(len(raw)), count))
    rest = [i for i in range(len(raw)) if i not in chosen]
    return raw.select(rest), raw.select(sorted(chosen)), rest


def _builtin(
    stage: str, name: str, values: dict[str, Any], count: int, split: tiny_task.Split = "train"
) -> Dataset:
    from datasets import Dataset

    rows_of = tiny_task.sft_rows if stage == "sft" else tiny_task.grpo_rows
    rows = rows_of(tiny_task.parse_task(name), values["seed"], count, split)
    if values["system_prompt"]:
        for row in rows:
            prompt: Any = row["prompt"]
            prompt.insert(0, {"role": "system", "content": values["system_prompt"]})
    return Dataset.from_list(rows)


def _mixed(
    stage: str, mixture: Mixture, values: dict[str, Any], needs_gold: bool, wants_eval: bool
) -> tuple[Dataset, Dataset | None, Facts]:
    """All datasets of a mixture, mapped one by one, then joined."""
    import numpy
    from datasets import concatenate_datasets

    raws = [
        _builtin(stage, p.name, values, BUILTIN_ROWS) if tiny_task.is_builtin(p.name) else _rows(p)
        for p in mixture.parts
    ]
    taken = rows_taken([len(raw) for raw in raws], mixture)
    parts, facts_of = [], []
    for part, raw, count in zip(mixture.parts, raws, taken, strict=True):
        numbers: list[int] = list(range(count))
        if mixture.shuffles and part.weight is not None:
            # What `raw.shuffle(seed)` takes first; written out, so that a message can name a row.
            numbers = numpy.random.default_rng(mixture.seed).permutation(len(raw))[:count].tolist()
        some = raw.select(numbers)
        if tiny_task.is_builtin(part.name):
            rows, words = some, "built-in"
        else:
            rows, words = mapped(stage, part.name, some, values, needs_gold, numbers=numbers, tidy=True)
        parts.append(rows)
        facts_of.append({"name": part.name, "rows": count, "of": len(raw), "columns": words})
    _same_columns(mixture, parts)
    try:
        joined = concatenate_datasets(parts)
    except (ValueError, TypeError) as error:
        raise RecipeError(
            f"the datasets of the mixture cannot be joined: {' '.join(str(error).split())[:300]}",
            where="the mixture",
            fix="name the `columns` that all of them have",
        ) from error
    held = None
    facts: Facts = {"name": " + ".join(p.name for p in mixture.parts), "parts": facts_of}
    facts["columns"] = "; ".join(f"{f['name']}: {f['columns']}" for f in facts_of)
    seed = mixture.seed if mixture.shuffles else values["seed"]
    if mixture.shuffles:
        joined = joined.shuffle(seed=seed)
    size = mixture.test_size or values.get("eval_split_size")
    if size and (wants_eval or mixture.test_size):
        if size >= len(joined):
            raise RecipeError(
                f"{size:g} of {len(joined):,} rows cannot be held out", where="the mixture", fix="lower it"
            )
        split = joined.train_test_split(test_size=int(size) if size >= 1 else size, seed=seed)
        joined = split["train"]
        if wants_eval:
            held = split["test"]
            facts["eval"] = {"from": f"{len(held):,} rows of the mixture, not trained on"}
    elif wants_eval:
        raise RecipeError(
            "the section evaluates while it trains, and its mixture holds no rows out",
            where="the mixture",
            fix="set eval_split_size (rows, or a share), or eval_strategy: no",
        )
    return joined, held, facts


def _same_columns(mixture: Mixture, parts: Sequence[Dataset]) -> None:
    first = parts[0]
    kept = [c for c in first.column_names if c not in (REASONING, "messages", "prompt", "completion")]
    for part, rows in zip(mixture.parts[1:], parts[1:], strict=True):
        for column in kept:
            kinds = first.features[column], rows.features.get(column)
            if all(getattr(kind, "dtype", None) not in (None, "null") for kind in kinds) and (
                kinds[0].dtype != kinds[1].dtype
            ):
                raise RecipeError(
                    f"column `{column}` is {kinds[0].dtype} in {mixture.parts[0].name} and "
                    f"{kinds[1].dtype} in {part.name}",
                    where=part.name,
                    fix="list the `columns` to use for every dataset of the mixture, and leave this one out",
                )
        if set(rows.column_names) - {REASONING} != set(first.column_names) - {REASONING}:
            a, b = (", ".join(c for c in d.column_names if c != REASONING) for d in (first, rows))
            raise RecipeError(
                f"the columns of the mixture differ: {mixture.parts[0].name} has {a}; {part.name} has {b}",
                where=part.name,
                fix="list the `columns` to use for every dataset of the mixture, or leave one of them out",
            )


def mapped(
    stage: str,
    name: str,
    raw: Dataset,
    values: dict[str, Any],
    needs_gold: bool = True,
    *,
    numbers: Sequence[int] | None = None,
    tidy: bool = False,
) -> tuple[Dataset, str]:
    """Raw rows in TRL's layout, and the mapping in words.

    Args:
        numbers: the rows' places in the file or split, for messages.
        tidy: drop the columns that prompt and gold were taken from, as a mixture needs it.

    Raises:
        RecipeError: columns that the stage does not know; a row that cannot be used, by its number.
    """
    columns = list(raw.column_names)
    try:
        if stage == "sft":
            layout, drop = sft_layout(columns, _wanted(values)), columns
        else:
            layout = grpo_layout(_with_fields(raw), _wanted(values), needs_gold)
            # Rewards may read the other columns.
            drop = [c for c in columns if c in NOT_FOR_REWARDS]
            if tidy:
                drop += [c for c in layout.sources if c not in ("prompt", "solution", *drop)]
    except RecipeError as error:
        error.where = error.where or name
        raise
    rows = raw.map(
        _checked(layout.row_of, name, numbers or range(len(raw))),
        with_indices=True,
        remove_columns=drop,
        num_proc=values.get("dataset_num_proc"),
    )
    return rows, layout.words


def _wanted(values: dict[str, Any]) -> Wanted:
    return Wanted(
        values["system_prompt"],
        values["dataset_prompt_column"],
        values.get("dataset_completion_column"),
        values.get("dataset_messages_column"),
        values["dataset_solution_column"],
        values.get("reasoning_style") or "think",
        values.get("dataset_text_field") or "text",
    )


def _with_fields(raw: Dataset) -> list[str]:
    """The columns, and behind them the fields of those that are structs: `reward_model.ground_truth`.

    So that a gold answer is found, what may hold one is looked into where it is text that spells a map.
    """
    fields = [f"{c}.{f}" for c, kind in raw.features.items() if isinstance(kind, dict) for f in kind]
    for holder in {name.partition(".")[0] for name in SOLUTION_NAMES if "." in name} & set(raw.column_names):
        spelt = map(structure_in, raw.select(shown_rows(len(raw), LOOKED_INTO))[holder])
        named = (str(field) for found in spelt if isinstance(found, dict) for field in found)
        fields += dict.fromkeys(f"{holder}.{field}" for field in named)
    return [*raw.column_names, *fields]


def _checked(mapper: Callable[[Row], Row], name: str, numbers: Sequence[int]) -> Callable[[Row, int], Row]:
    """The mapper; a row that it refuses is named by its number, from 1."""

    def row_of(row: Row, index: int) -> Row:
        try:
            return mapper(row)
        except RecipeError as error:
            error.where = f"{name}, row {numbers[index] + 1}"
            raise

    return row_of


def _count_reasoning(dataset: Dataset) -> tuple[Dataset, dict[str, int]]:
    """The dataset without the mapper's remark, and how many rows bear which."""
    if REASONING not in dataset.column_names:
        return dataset, {}
    found = Counter(kind for kind in dataset[REASONING] if kind)
    return dataset.remove_columns(REASONING), dict(found)


def fingerprint(dataset: Dataset) -> str:
    """A short hash of the rows themselves; the library's own changes with the way they were loaded."""
    digest = hashlib.sha256(f"{len(dataset)}".encode())
    step = max(1, len(dataset) // 1000)
    for index in range(0, len(dataset), step):
        digest.update(json.dumps(dataset[index], sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]
