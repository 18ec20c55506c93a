"""One generation, top to bottom: sample, verify, filter, decontaminate, export; each step leaves its file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from openr1.data.columns import Row
from openr1.errors import RecipeError
from openr1.generation import evaluation_sets
from openr1.generation.card import card
from openr1.generation.decontaminate import Hit, Index, summary
from openr1.generation.export import export, push
from openr1.generation.layouts import Chosen
from openr1.generation.samples import SampleSet
from openr1.generation.select import Funnel, Rules, Selected, select
from openr1.generation.steps import asked_steps
from openr1.generation.verify import VERDICTS, Verdicts, can_verify, check_columns, verify
from openr1.runs.child import Child
from openr1.runs.files import read_lines, write_json, write_whole

SELECTION, CONTAMINATION = "selection.jsonl", "contamination.jsonl"
RULES = ("truncated", "complete", "pass_rate_min", "pass_rate_max", "truncated_as", "choose")
EXCERPT = 300  # characters of a problem that the evidence shows


def generate(child: Child) -> dict[str, Any]:
    """Do what resolved.yaml names; see `Generation` for the files.

    Returns:
        rows, samples, mean_tokens, truncated (share), file, steps, funnel; and, for the steps done, verdicts,
        contamination, dataset (the exported folder), exported (rows per layout), hub (address).
    """
    child.interruptible = False  # every file is written between two looks at `check_stop`
    return Generation(child).run()


class Generation:
    """A run of the generate stage: the samples it works on, and the folder its steps write to.

    `verdicts.jsonl`, `selection.jsonl` and `contamination.jsonl` are looked for in the run's own folder, and
    then in that of the run it is from: `--only export` exports what that run selected. The last of `taken`
    has the samples.
    """

    def __init__(self, child: Child) -> None:
        self.child, self.values, self.folder = child, child.values, child.run.path
        self.taken = [Path(place) for place in child.config["plan"].get("taken", [])]
        self.funnel = Funnel()
        self.result: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """All steps in order."""
        self.samples = self._samples()
        self.facts = self.samples.facts
        steps = self.steps
        self._begin(steps)
        for step in steps:
            self.child.check_stop()
            getattr(self, f"_{step}")()
        self.result["funnel"] = self.funnel.steps
        write_json(self.folder / "funnel.json", self.result)
        return self.result

    def _samples(self) -> SampleSet:
        if self.taken:
            made = SampleSet(self.taken[-1])
            self._check(made.facts["columns"], str(made.facts["dataset"]))
            return made
        from openr1.generation.sample import sample

        return sample(self.child, self._check)

    def _check(self, columns: list[str], dataset: str) -> None:
        """What the steps need, before anything is sampled: their columns, and the evaluation sets.

        Raises:
            RecipeError: nothing to judge by where that was asked for.
            EnvironmentProblem: an evaluation set that cannot be had.
        """
        values, self.columns = self.values, columns
        windowed = values["pass_rate_min"] is not None or values["pass_rate_max"] is not None
        try:
            self.verifiable = can_verify(columns, values["solution_column"])
            self.steps = asked_steps(values, can_verify=self.verifiable)
            if "verify" in self.steps:
                check_columns(columns, values["solution_column"], values["reward_funcs"])
            elif windowed and "filter" in self.steps and not self._found(VERDICTS).exists():
                raise RecipeError(
                    "a pass rate needs right answers or rewards, and here is neither",
                    fix=f"the dataset has: {', '.join(columns)}; set solution_column to the gold answer's, "
                    "or name reward_funcs",
                )
        except RecipeError as error:
            error.where = dataset
            raise
        if "decontaminate" in self.steps:
            self.child.events.send("phase", name="loading evaluation sets")
            self.sets = evaluation_sets.load_sets(values["against"] or list(evaluation_sets.UPSTREAM))
        if values["only"] is None and "verify" not in self.steps:
            self._say("no column holds a gold answer: nothing is verified, and every completion is kept")

    def _begin(self, steps: list[str]) -> None:
        rows, samples = self.facts["rows"], self.facts["samples"]
        self.funnel.add("sampled", rows, samples, cut_off=self.facts["truncated_samples"])
        self.result |= {
            "rows": rows,
            "samples": samples,
            "mean_tokens": self.facts["tokens"] / samples if samples else 0.0,
            "truncated": self.facts["truncated_samples"] / samples if samples else 0.0,
            "failed": self.facts.get("failed", 0),
            "file": str(self.samples.path),
            "steps": steps,
        }

    def _verify(self) -> None:
        self.child.events.send("start", total=self.facts["rows"], done=0, unit="problem")

        def on_chunk(done: int, counts: Counter[str]) -> None:
            judged = sum(counts.values())
            right = counts["right"] / judged if judged else 0.0
            self.child.events.send(
                "progress", done=done, phase="verifying", metrics={"rewards/accuracy/mean": right}
            )
            self.child.check_stop()

        counts = verify(
            self.samples.problems(),
            self.folder / VERDICTS,
            columns=self.columns,
            solution_column=self.values["solution_column"],
            reward_funcs=self.values["reward_funcs"],
            on_chunk=on_chunk,
        )
        if self.verifiable:
            self.result["verdicts"] = dict(counts.most_common())
        self.funnel.add("verified", self.facts["rows"], self.facts["samples"], verdicts=dict(counts))

    def _filter(self) -> None:
        self.child.events.send("phase", name="filtering")
        rules = self._rules()
        verdicts = Verdicts(self._found(VERDICTS))
        selections = (select(p, verdicts.get(p.row), rules) for p in self.samples.problems())
        _write_lines(self.folder / SELECTION, (s.as_line() for s in self.funnel.counted(selections)))

    def _rules(self) -> Rules:
        values = self.values
        verified = self.verifiable and self._found(VERDICTS).exists()
        keep: Any = values["keep"] or ("right" if verified and values["choose"] != "majority" else "any")
        return Rules(
            keep=keep,
            min_tokens=values["min_completion_tokens"],
            max_tokens=values["max_completion_tokens"],
            **{key: values[key] for key in RULES},
        )

    def _decontaminate(self) -> None:
        self.child.events.send("phase", name="comparing with evaluation sets")
        sets = self.sets
        index = Index(sets, self.values["ngram_size"], self.values["match"])
        path, found = self.folder / CONTAMINATION, set[int]()

        def evidence() -> Iterator[dict[str, Any]]:
            for problem in self.samples.problems():
                text = prompt_text(problem.columns, self.facts["prompt_column"])
                if index.is_contaminated(text):
                    found.add(problem.row)
                    yield _evidence(problem.row, text, index.hits(text), sets)

        _write_lines(path, evidence())
        report = {
            "problems": len(found),
            "ngram_size": self.values["ngram_size"],
            "match": self.values["match"],
            "sets": {name: len(items) for name, items in sets.items()},
            **summary(
                [Hit(h["set"], h["item"], h["ngram"]) for h in line["hits"]] for line in read_lines(path)
            ),
        }
        write_json(self.folder / "contamination.json", report)
        self.result["contamination"] = report
        self._count_clean("not contaminated", found)

    def _export(self) -> None:
        self.child.events.send("phase", name="exporting")
        contaminated, verdicts = self._contaminated(), Verdicts(self._found(VERDICTS))

        def problems() -> Iterator[Chosen]:
            for problem, line in zip(self.samples.problems(), self._selection(), strict=True):
                if line["chosen"] and problem.row not in contaminated:
                    yield Chosen(
                        problem,
                        verdicts.get(problem.row),
                        line["chosen"],
                        line["pass_rate"],
                        self.facts["prompt_column"],
                        self.values["messages_prompt"] == "problem",
                        self.facts["model"],
                    )

        report = self._found("contamination.json")
        compared = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
        folder = self.folder / "dataset"
        counts = export(
            problems,
            self.values["layouts"],
            folder,
            lambda counts, files: card(self.facts, self._said_rules(), self.funnel.steps, files, compared),
        )
        if contaminated and "decontaminate" not in self.result["steps"]:
            self._count_clean("not contaminated (found earlier)", contaminated)
        self.result["exported"] = counts
        if not counts:
            self._say(
                "no completion is left, so nothing is exported; the counts say where they were lost. With "
                f"looser rules: openr1 generate --from {self.folder} --only {','.join(self.steps)} …"
            )
            return
        self.result["dataset"] = str(folder)
        first = self.values["layouts"][0]
        self.funnel.add(f"exported ({first})", sum(1 for _ in problems()), counts[first])
        if self.values["hub_dataset_id"]:
            self.result["hub"] = push(
                folder, self.values["hub_dataset_id"], self.values["private"], self._say
            )

    def _said_rules(self) -> dict[str, Any]:
        """The rules in force, for the card."""
        rules = vars(self._rules())
        return {key: value for key, value in rules.items() if value is not None}

    def _selection(self) -> Iterator[Row]:
        """What is chosen of each problem, in their order; everything, where nothing was filtered."""
        path = self._found(SELECTION)
        if path.exists():
            yield from read_lines(path)
            return
        for problem in self.samples.problems():
            everything = list(range(len(problem.generations)))
            yield Selected(problem.row, [("all", everything)], None).as_line()

    def _count_clean(self, step: str, contaminated: set[int]) -> None:
        """A step of the funnel: what is chosen, without the contaminated problems."""
        problems = samples = 0
        for line in self._selection():
            if line["chosen"] and line["row"] not in contaminated:
                problems += 1
                samples += len(line["chosen"])
        self.funnel.add(step, problems, samples)

    def _contaminated(self) -> set[int]:
        return {line["row"] for line in read_lines(self._found(CONTAMINATION))}

    def _found(self, name: str) -> Path:
        """A step's file: this run's, else that of the run it takes its samples from, and so on."""
        places = [place / name for place in (self.folder, *self.taken)]
        return next((place for place in places if place.exists()), places[0])

    def _say(self, text: str) -> None:
        self.child.events.send("notice", text=text)


def prompt_text(columns: Row, prompt_column: str) -> str:
    """The problem as text: of a conversation the last user turn."""
    value = columns[prompt_column]
    if isinstance(value, list):
        turns = [str(m.get("content")) for m in value if isinstance(m, dict) and m.get("role") == "user"]
        return turns[-1] if turns else ""
    return str(value)


def _evidence(row: int, text: str, hits: list[Hit], sets: dict[str, list[str]]) -> dict[str, Any]:
    """One line of contamination.jsonl."""
    return {
        "row": row,
        "problem": text[:EXCERPT],
        "hits": [
            {"set": h.set, "item": h.item, "ngram": h.ngram, "test_problem": sets[h.set][h.item][:EXCERPT]}
            for h in hits
        ],
    }


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    write_whole(path, (json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
