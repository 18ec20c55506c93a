"""SFT's own checks and counts, in this process: what is said is what TRL does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openr1.data.tiny_model import build_tiny_model, build_tokenizer, parse_model
from openr1.errors import RecipeError
from openr1.training.run import load_rows
from openr1.training.sft import prepare, row_lengths
from openr1.training.sft_trainer import OpenR1SFTTrainer
from openr1.training.trl_adapter import config_of
from tests.conftest import Cli
from tests.training.in_process import MODEL, child_of, write_rows

PAIRS = [{"prompt": f"{i}+1", "completion": f"<think>\n{'a' * 9 * i}\n</think>\n\n{i + 1}"} for i in range(8)]
TALKS = [{"messages": [{"role": "user", "content": r["prompt"]},
                       {"role": "assistant", "content": r["completion"]}]} for r in PAIRS]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    build_tiny_model(parse_model("builtin:tiny-qwen2?layers=1&hidden=64"), 7, folder)
    return folder


def ready(tmp_path: Path, rows: list[dict[str, Any]], *words: object) -> tuple[Any, Any, Any, Any]:
    """The section's rows, what `prepare` makes of them, the child and what it said."""
    path = write_rows(tmp_path / "rows.jsonl", rows)
    child, heard = child_of("sft", tmp_path, "--dataset_name", path, *words)
    dataset, held, _ = load_rows(child, "sft", child.values)
    return dataset, prepare(child, child.values, str(child.run.path / "start"), dataset, held), child, heard


def started(tmp_path: Path, model: Path) -> None:
    (tmp_path / "run").mkdir(parents=True, exist_ok=True)
    (tmp_path / "run" / "start").symlink_to(model)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (PAIRS, ()),
        (PAIRS, ("--completion_only_loss", "false")),
        (TALKS, ()),
        (TALKS, ("--assistant_only_loss",)),
        ([{"text": r["completion"]} for r in PAIRS], ()),
        (PAIRS, ("--packing",)),
        (PAIRS, ("--packing", "--packing_strategy", "bfd")),
        (PAIRS, ("--packing", "--packing_strategy", "wrapped")),
        (PAIRS, ("--truncation_mode", "keep_end", "--shuffle_dataset")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else ", ".join(value[0]),
)
def test_the_trainer_gets_what_stock_trl_makes_of_the_rows(
    rows: list[dict[str, Any]], words: tuple[str, ...], tmp_path: Path, model: Path
) -> None:
    """Our tokens, cut and packed by the trainer, against what TRL makes of the raw rows."""
    started(tmp_path, model)
    dataset, made, child, _ = ready(tmp_path, rows, "--max_length", 40, *words)
    from trl import SFTTrainer

    kwargs = {"train_dataset": made.tokens, "processing_class": made.tokenizer}
    ours = OpenR1SFTTrainer(str(model), made.args, **kwargs)
    args = config_of("sft", child.values, child)
    stock = SFTTrainer(str(model), args, train_dataset=dataset, processing_class=build_tokenizer())
    for column in ("input_ids", "labels"):
        assert list(ours.train_dataset[column]) == list(stock.train_dataset[column])
    kept = sum(map(len, ours.train_dataset["input_ids"]))
    assert made.lengths["tokens"] - made.lengths["lost_tokens"] == kept
    assert made.lengths["tokens"] == sum(row_lengths(made.tokens))
    if words == ("--packing",):
        assert made.args.packing_strategy == "bfd_split"  # by default: no trace loses its end
        assert made.lengths["lost_tokens"] == 0
        assert made.lengths["split_rows"] > 0


def test_an_answer_that_begins_after_max_length_is_dropped_and_counted(tmp_path: Path, model: Path) -> None:
    started(tmp_path, model)
    rows = [*PAIRS[:3], {"prompt": "x" * 50, "completion": "y"}]
    _, made, child, heard = ready(tmp_path, rows, "--max_length", 40)
    assert made.lengths["dropped_rows"] == 1
    assert made.lengths["longest"]["row"] == 4
    assert "1 row is dropped, for the answer begins after max_length" in heard.notices
    assert json.loads((child.run.path / "lengths.json").read_text()) == made.lengths


def test_a_template_that_masks_the_end_is_refused(tmp_path: Path, model: Path) -> None:
    started(tmp_path, model)
    template = (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}"
        "{% endgeneration %}<|end|>{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    )
    with pytest.raises(RecipeError, match="not among what is learnt"):
        ready(tmp_path, TALKS, "--assistant_only_loss", f"--chat_template={template}")
    assert ready(tmp_path, TALKS, f"--chat_template={template}")[1].lengths["rows"] == 8


def test_packing_splits_unless_a_person_says_otherwise(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", PAIRS)
    words = ("--dataset_name", path, "--packing")
    assert child_of("sft", tmp_path / "a", *words)[0].values["packing_strategy"] == "bfd_split"
    mine = child_of("sft", tmp_path / "b", *words, "--packing_strategy", "bfd")[0]
    assert mine.values["packing_strategy"] == "bfd"
    assert child_of("sft", tmp_path / "c", *words[:2])[0].values["packing_strategy"] == "bfd"  # TRL's, unused


def test_samples_on_the_screen_and_no_run_left_behind(cli: Cli) -> None:
    write_rows(cli.folder / "rows.jsonl", PAIRS)
    done = cli("sft", *MODEL, "--dataset_name", "rows.jsonl", "--max_length", 30, "--show-samples", 2)
    shown = done.out
    assert "⟦<|user|>0+1<|assistant|>⟧<think>" in shown
    assert "row 5: " in shown
    assert "beyond max_length" in shown
    assert "columns of rows.jsonl: prompt → prompt, completion → completion" in " ".join(done.err.split())
    assert not (cli.folder / "runs").exists()
    refused = cli("sft", *MODEL, "--dataset_name", "rows.jsonl", "--show-samples", 0, code=2)
    assert "a number of rows, not 0" in refused.err
