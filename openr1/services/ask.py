"""`openr1 generate --model MODEL --prompt TEXT`: one question, answered at once; leaves no run behind."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from openr1.errors import UsageError
from openr1.runs.files import read_lines
from openr1.runs.report.samples import told_apart
from openr1.services import generate
from openr1.services.request import Asked, Listener
from openr1.services.stage import execute

# What says where prompts are from or what becomes of the answers; here it is the person who asks and reads.
OF_DATASETS = ("dataset_name", "from_run", "only", "against", "hub_dataset_id", "output_dir", "run_name")


@dataclass(frozen=True)
class Reply:
    """One completion, its reasoning and its answer told apart."""

    reasoning: str
    answer: str
    tokens: int
    finish_reason: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ask(asked: Asked, prompt: str, listen: Listener) -> list[Reply]:
    """Draw completions of one prompt. What was written on the way stays only where something failed.

    Raises:
        UsageError: an empty prompt, or a key about datasets beside it.
        OpenR1Error: whatever ends a generate run.
    """
    if not prompt.strip():
        raise UsageError("the prompt is empty", where="--prompt", fix='--prompt "What is 12+30?"')
    beside = next((key for key in OF_DATASETS if key in asked.overrides), None)
    if beside or asked.dry_run:
        raise UsageError(
            f"--prompt asks one question, and `{beside or 'dry_run'}` is about a run on a dataset",
            where="the command line",
            fix="leave one of them out",
        )
    scratch = Path(tempfile.mkdtemp(prefix="openr1-prompt-"))
    rows = scratch / "prompt.jsonl"
    rows.write_text(json.dumps({"prompt": prompt}) + "\n", encoding="utf-8")
    own = {"dataset_name": str(rows), "prompt_column": "prompt", "output_dir": str(scratch / "run")}
    try:
        prepared = generate.prepare(
            replace(asked, overrides={**asked.overrides, **{key: (text, text) for key, text in own.items()}})
        )
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    execute(prepared, listen)  # an error names its log, which is kept
    (line,) = read_lines(scratch / "run" / "samples.jsonl")
    shutil.rmtree(scratch, ignore_errors=True)
    drawn = zip(line["generations"], line["tokens"], line["finish_reasons"], strict=True)
    return [Reply(*told_apart(text), tokens, reason) for text, tokens, reason in drawn]
