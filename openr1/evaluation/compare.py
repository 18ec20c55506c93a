"""A finished evaluation's scores, and whether two of them may be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openr1.errors import RecipeError, UsageError
from openr1.evaluation.protocol import differences


def results_of(run: Path) -> list[dict[str, Any]]:
    """The scores of a finished evaluation.

    Raises:
        UsageError: this run has none.
        RecipeError: its results cannot be read.
    """
    path = run / "results.json"
    try:
        scores: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["scores"]
    except FileNotFoundError:
        raise UsageError(
            "this run holds no scores", where=str(run), fix="name a finished evaluation, from openr1 eval"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"the results cannot be read: {error}", where=str(path)) from None
    return scores


def reasons_against(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Why two scores may not be compared, [] when they may.

    Another number of answers is no reason: the mean over them is the same.

    Args:
        first, second: entries of a results.json.
    """
    return [*_other_problems(first, second), *_other_protocol(first, second)]


def _other_problems(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Two copies of one published task that are not the same problems and answers.

    A copy with more or fewer rows is no reason: the problems in both are found by their ids. Nor is another
    seed of a built-in task, whose problems have no published size.
    """
    ours, theirs = first.get("data") or {}, second.get("data") or {}
    marks = [str(data.get("fingerprint")) for data in (ours, theirs)]
    if not ours.get("published_rows") or ours.get("rows") != theirs.get("rows") or marks[0] == marks[1]:
        return []
    return [f"other problems or gold answers (fingerprint {marks[0]} and {marks[1]})"]


def _other_protocol(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    ours, theirs = dict(first.get("conditions") or {}), dict(second.get("conditions") or {})
    for conditions in (ours, theirs):
        conditions.pop("num_samples", None)
    found = differences(ours, theirs)
    if first.get("protocol") == second.get("protocol") or (not found and ours and theirs):
        return found
    return found or [f"protocol {first.get('protocol')} and {second.get('protocol')}"]
