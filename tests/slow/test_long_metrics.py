"""Ten million rows of metrics: a page in bounded memory, with the last row on it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROWS = 10_000_000
CHUNK = 100_000
MEMORY = 700 * 2**20  # bytes; the file has as many

CODE = """
import resource, sys
from pathlib import Path
from openr1.services.report import report
found = report(sys.argv[1])
story = found.sides[0][2][0]
print(story.series.last_step, found.path.stat().st_size, len(story.problems))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_ten_million_rows_become_a_page(tmp_path: Path) -> None:
    run = tmp_path / "long"
    run.mkdir()
    manifest = {"format": 1, "stage": "grpo", "section": "grpo", "state": "finished", "result": {}}
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "resolved.yaml").write_text("grpo:\n  seed: 1  # default: TRL\n")
    with (run / "metrics.jsonl").open("w", encoding="utf-8") as file:
        for start in range(0, ROWS, CHUNK):
            rows = (
                f'{{"step": {n}, "reward": 0.5, "loss": 0.1}}\n' for n in range(start + 1, start + CHUNK + 1)
            )
            file.write("".join(rows))
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(run)], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    last, size, problems, memory = done.stdout.split()
    assert float(last) == ROWS
    assert int(size) < 2**20 and int(problems) == 1  # that not every row was read is said
    assert int(memory) < MEMORY
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts KiB, as the child assumes
