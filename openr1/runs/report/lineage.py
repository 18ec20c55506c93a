"""Where a run comes from and what was made from it: generate → sft → grpo → eval, with relative links."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from openr1.runs.listing import Entry, scan

PAGE = "report.html"


@dataclass(frozen=True)
class Node:
    """One step of the way.

    Args:
        href: relative address of its page; None for this very run, for what is no run, and where no page is.
        here: it is (part of) the page that shows it.
    """

    label: str
    stage: str
    state: str
    headline: str
    href: str | None
    here: bool


def lineage(page_of: Entry, root: Path | None = None) -> list[Node]:
    """The start model, ancestors, the runs of this page, and what was built on them, in order.

    Args:
        root: where relatives are looked for; default: the folder that holds this run, and its pipeline's.
    """
    own = list(page_of.runs)
    around = _around(page_of, root)
    chain = _ancestors(own, around) + own
    chain += [r for r in _children(own, around) if r not in chain]
    nodes = [_node(run, page_of) for run in chain]
    start = _start(chain, page_of)
    return [start, *nodes] if start else nodes


def _around(entry: Entry, root: Path | None) -> list[Entry]:
    """Runs among which relatives may be: beside it, and in its pipeline."""
    here = entry.path.resolve()
    places = [root] if root else [here.parent, here.parent.parent]
    found: dict[Path, Entry] = {}
    for place in places:
        for candidate in scan(place):
            for run in candidate.runs:
                found.setdefault(run.path.resolve(), run)
    own = {run.path.resolve() for run in entry.runs}
    return [run for path, run in found.items() if path not in own]


def _parents(entry: Entry) -> dict[str, str]:
    found = entry.manifest.get("parents")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _ancestors(own: list[Entry], around: list[Entry]) -> list[Entry]:
    found: list[Entry] = []
    known = {run.hash for run in own}
    todo = [h for run in own for h in _parents(run).values()]
    while todo:
        hash_ = todo.pop(0)
        parent = _nearest(hash_, own[0], around) if hash_ not in known else None
        known.add(hash_)
        if parent is not None:
            found.insert(0, parent)
            todo += _parents(parent).values()
    return found


def _nearest(hash_: str, to: Entry, around: list[Entry]) -> Entry | None:
    """The run with that hash; one in the same pipeline before any other."""
    fitting = [run for run in around if run.hash == hash_]
    return min(fitting, key=lambda run: run.path.resolve().parent != to.path.resolve().parent, default=None)


def _children(own: list[Entry], around: list[Entry]) -> list[Entry]:
    hashes = {run.hash for run in own if run.hash}
    found = [run for run in around if hashes & set(_parents(run).values())]
    beside = own[0].path.resolve().parent
    near = [run for run in found if run.path.resolve().parent == beside]
    return sorted(near or found, key=lambda run: str(run.manifest.get("created")))


def _node(run: Entry, page_of: Entry) -> Node:
    here = any(run.path.resolve() == part.path.resolve() for part in page_of.runs)
    own_page = run.path.resolve() == page_of.path.resolve()
    label = str(run.manifest.get("section") or run.path.name)
    return Node(
        label, run.kind, run.state, headline(run), None if own_page else link(run.path, page_of.path), here
    )


def link(run: Path, start: Path) -> str | None:
    """The relative address of a run's page, seen from the folder of another; None where there is no page."""
    page = run / PAGE
    return quote(os.path.relpath(page, start)) if page.is_file() else None


def pipeline_of(run: Entry) -> tuple[str, str] | None:
    """Name and relative address of the pipeline that a section belongs to; its page is written last."""
    if run.sections or not (run.command or "").startswith("openr1 pipeline "):
        return None
    return run.path.resolve().parent.name, f"../{PAGE}"


def headline(run: Entry) -> str:
    """A run's result in a few words."""
    if run.best:
        return f"best {100 * float(run.best['accuracy']):.1f} % ({run.best.get('model')})"
    result: Any = run.manifest.get("result")
    if not isinstance(result, dict):
        return ""
    last = result.get("last")
    for key in ("reward", "loss"):
        value = last.get(key) if isinstance(last, dict) else None
        if isinstance(value, int | float):
            return f"{key} {value:.3g} after {result.get('steps')} steps"
    if "samples" in result:
        return f"{result['samples']} completions"
    return ""


def _start(chain: list[Entry], page_of: Entry) -> Node | None:
    """The model that the first of them began with; another run's, where it was named by its path."""
    model = chain[0].manifest.get("model") if chain else None
    if not isinstance(model, str) or not model:
        return None
    path = Path(model)
    if path.name == "model":  # a run's final weights
        return Node(path.parent.name, "start", "", "", link(path.parent, page_of.path), False)
    return Node(path.name if "/" in model else model, "start", "", "", None, False)
