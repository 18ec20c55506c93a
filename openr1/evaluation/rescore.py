"""`python -m openr1.evaluation.rescore RUN`: grade a finished run's samples again, without drawing any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openr1.errors import UsageError
from openr1.evaluation.grade import cluster_rows, grade_rows
from openr1.evaluation.problems import Problem
from openr1.evaluation.protocol import EXTRACTION
from openr1.evaluation.run import IN_RESULTS_ONLY, grading_versions
from openr1.evaluation.score import score_rows
from openr1.evaluation.tasks import task_named
from openr1.grading import Grader
from openr1.runs.child import Child, main
from openr1.runs.files import read_lines, write_json, write_whole


def rescore(child: Child) -> dict[str, Any]:
    """Every sample gets today's verdict; the scores before are kept beside the new ones.

    Returns:
        {"scores": as `run.evaluate`, "changed": verdicts that are not what they were, "samples": all of them}
    """
    run = child.run.path
    results = run / "results.json"
    if not results.exists():
        raise UsageError(
            "this run holds no scores to grade again", where=str(run), fix="name a finished evaluation"
        )
    text = results.read_text(encoding="utf-8")
    before = json.loads(text)
    changed = total = 0
    scores = []
    every = sum(s["problems"] * s["samples"] for s in before["scores"] if "samples_file" in s)
    child.events.send("start", total=every, done=0, unit="sample")
    with Grader() as grader:
        for score in before["scores"]:
            if "samples_file" not in score:
                scores.append(score)  # lighteval's own metrics
                continue
            path = run / score["samples_file"]
            rows = list(read_lines(path))
            old = [row["verdict"] for row in rows]
            task = task_named(score["task"])
            grade_rows(task, rows, _problems(rows), grader)
            clusters = cluster_rows(task, rows, grader) if score["samples"] > 1 else None
            total += len(rows)
            changed += sum(a != row["verdict"] for a, row in zip(old, rows, strict=True))
            counted = score_rows(rows, score["samples"], child.values["seed"], clusters)
            conditions = {**score["conditions"], "extraction": EXTRACTION}
            scores.append({**score, **counted, "conditions": conditions})
            write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            child.events.send("progress", done=total)
    write_whole(_free(run), text)
    write_json(results, {"scores": scores, "graded_with": grading_versions()})
    shown = [{k: v for k, v in score.items() if k not in IN_RESULTS_ONLY} for score in scores]
    return {"scores": shown, "changed": changed, "samples": total}


def _problems(rows: list[dict[str, Any]]) -> list[Problem]:
    """The problems as the samples hold them: no dataset is needed."""
    return [
        Problem(r["row"], r["problem"], "", r["gold"], tuple(r.get("options") or ()), r.get("problem_id", ""))
        for r in {row["row"]: row for row in rows}.values()
    ]


def _free(run: Path) -> Path:
    number = 1
    while (run / f"results-before-rescore-{number}.json").exists():
        number += 1
    return run / f"results-before-rescore-{number}.json"


if __name__ == "__main__":
    raise SystemExit(main(rescore))
