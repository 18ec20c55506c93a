"""The rehearsal that a long run began with, as the page shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openr1.language import translate
from openr1.runs.words import duration, gib, short

FILE = "rehearsal.json"


def rehearsed(run: Path) -> dict[str, Any] | None:
    """The table of phases and a line of words; None where there was no rehearsal that can be read."""
    try:
        found = json.loads((run / FILE).read_text(encoding="utf-8"))
        rows = [
            {
                "name": name,
                "measured": gib(one["peak_bytes"]),
                "predicted": "–" if one["predicted_bytes"] is None else gib(one["predicted_bytes"]),
                "seconds": short(one["seconds"]),
            }
            for name, one in found["phases"].items()
        ]
        each, whole = gib(found["checkpoint_bytes"]), gib(found["disk_bytes"])
        words = [translate(f"{each} a checkpoint, {whole} in all")]
        if found["run_seconds"] is not None:
            total, error = duration(found["run_seconds"]), duration(found["run_error_seconds"])
            words.insert(0, translate(f"whole run at full length {total} ± {error} at most"))
        if found["step_seconds"] is not None:
            words.insert(0, translate(f"{short(found['step_seconds'])} s a step"))
        return {"phases": rows, "words": "; ".join(words)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
