"""`samples.jsonl`: the rows of a dataset with their completions, one line per problem, and how it was made.

Steps after sampling read it line by line, so that its size does not matter, and write small files beside it
that name problems and completions by number: `verdicts.jsonl`, `selection.jsonl`, `contamination.jsonl`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.data.columns import Row
from openr1.generation.reasoning import is_complete, restored
from openr1.runs.files import clean, explain_os_errors, read_lines, write_json

# What a line holds beside the columns of its row.
OURS = (
    "sent",
    "prompt_hash",
    "generations",
    "finish_reasons",
    "tokens",
    "is_reasoning_complete",
    "api_metadata",
)
METADATA = ("prompt_tokens", "latency_s", "server", "request_id", "seed", "limit")


@dataclass(frozen=True)
class Problem:
    """One row with its completions, which lie side by side in lists of one length.

    Args:
        row: its number in the dataset, from 0.
        columns: the dataset's own columns.
        sent: the conversation the model was given.
        generations: completions with their reasoning's opening tag.
        finish_reasons: `stop` or `length`.
        tokens: of each completion.
        complete: whether the turn and its reasoning ended.
        metadata: what else is known of each: completion_tokens, and what the backend said.
    """

    row: int
    columns: Row
    sent: list[dict[str, str]]
    generations: list[str]
    finish_reasons: list[str]
    tokens: list[int]
    complete: list[bool]
    metadata: list[dict[str, Any]]

    @property
    def hash(self) -> str:
        """Twelve hex digits of what was asked."""
        return hashlib.sha256(json.dumps(self.sent, ensure_ascii=False).encode()).hexdigest()[:12]

    def as_line(self) -> dict[str, Any]:
        return {
            **self.columns,
            "sent": self.sent,
            "prompt_hash": self.hash,
            "generations": self.generations,
            "finish_reasons": self.finish_reasons,
            "tokens": self.tokens,
            "is_reasoning_complete": self.complete,
            "api_metadata": self.metadata,
        }


def problem_of(
    row: int, columns: Row, sent: Sequence[dict[str, str]], samples: Sequence[dict[str, Any]]
) -> Problem:
    """A problem out of its row and its ledger rows."""
    texts = [restored(s["text"], bool(s.get("think_prefilled"))) for s in samples]
    return Problem(
        row,
        {name: value for name, value in columns.items() if name not in OURS},
        list(sent),
        texts,
        [s["finish_reason"] for s in samples],
        [s["tokens"] for s in samples],
        [is_complete(t, s["finish_reason"]) for t, s in zip(texts, samples, strict=True)],
        [
            {"completion_tokens": s["tokens"], **{k: s[k] for k in METADATA if s.get(k) is not None}}
            for s in samples
        ],
    )


@contextlib.contextmanager
def removed_on_failure(draft: Path) -> Iterator[None]:
    """Leave no half-written file or folder behind: a full disk needs its room."""
    try:
        yield
    except BaseException:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
        raise


class SampleSet:
    """The samples of a finished sampling: `facts` say how they were made."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "samples.jsonl"
        self.facts_path = folder / "sampling.json"

    @property
    def facts(self) -> dict[str, Any]:
        """Model, dataset, template, sampling values, and the names of the columns."""
        found: dict[str, Any] = json.loads(self.facts_path.read_text(encoding="utf-8"))
        return found

    def write(self, problems: Iterable[Problem], facts: dict[str, Any]) -> dict[str, int]:
        """Write everything, whole or not at all; returns counts of what was written."""
        counts = {"rows": 0, "samples": 0, "tokens": 0, "truncated_samples": 0, "complete_samples": 0}
        draft = self.path.with_name(f".{self.path.name}")
        with (
            explain_os_errors(self.path),
            removed_on_failure(draft),
            draft.open("w", encoding="utf-8") as file,
        ):
            for problem in problems:
                line = clean(problem.as_line())
                file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
                counts["rows"] += 1
                counts["samples"] += len(problem.generations)
                counts["tokens"] += sum(problem.tokens)
                counts["truncated_samples"] += sum(reason == "length" for reason in problem.finish_reasons)
                counts["complete_samples"] += sum(problem.complete)
        write_json(self.facts_path, {**facts, **counts})
        with explain_os_errors(self.path):
            draft.replace(self.path)
        return counts

    def problems(self) -> Iterator[Problem]:
        """Every problem, in the order of the dataset."""
        for row, line in enumerate(read_lines(self.path)):
            yield Problem(
                row,
                {name: value for name, value in line.items() if name not in OURS},
                line["sent"],
                line["generations"],
                line["finish_reasons"],
                line["tokens"],
                line["is_reasoning_complete"],
                line["api_metadata"],
            )
