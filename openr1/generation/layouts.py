"""The layouts a dataset is exported in: which rows a problem becomes, with which columns. Pure functions.

messages     one row per chosen completion, for SFT: `messages`, its tokens and verdict, the dataset's columns
full         one row per problem with all its completions, verdicts and pass rate; feeds `openr1 grpo` too
openr1-math  the columns of open-r1/OpenR1-Math-220k, and no others
distilabel   the columns of HuggingFaceH4/numina-deepseek-r1-qwen-7b: one row per chosen completion
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from openr1.data.columns import as_messages
from openr1.generation.samples import Problem
from openr1.generation.verify import Judged
from openr1.grading import Verdict

Layout = Literal["messages", "full", "openr1-math", "distilabel"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

# Columns that trainers take for what is to be learnt: beside `messages` they would win over it, or raise.
TRAINERS_OWN = frozenset(
    {"messages", "prompt", "completion", "conversations", "text", "chosen", "rejected", "system"}
)
MATH_TEXT = ("problem", "solution", "answer", "problem_type", "question_type", "source")

Message = dict[str, str]
Row = dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """One problem as it is exported.

    Args:
        kept: completions chosen, by number; never empty.
        prompt_column: the column that holds the problem.
        raw_prompt: put the problem itself before the answer, not what was sent around it.
        model: name of the model that answered.
    """

    problem: Problem
    judged: Judged | None
    kept: list[int]
    pass_rate: float | None
    prompt_column: str
    raw_prompt: bool
    model: str

    @property
    def uuid(self) -> str:
        """The dataset's own, else one made of what was asked."""
        own = self.problem.columns.get("uuid")
        return str(own) if own else str(uuid.uuid5(uuid.NAMESPACE_URL, f"openr1:{self.problem.hash}"))

    def messages(self, index: int) -> list[Message]:
        """The conversation with one completion, keys in the order of the published datasets."""
        value = self.problem.columns[self.prompt_column]
        asked = as_messages(value, None) if self.raw_prompt else self.problem.sent
        turns = [*asked, {"role": "assistant", "content": self.problem.generations[index]}]
        return [{"content": str(turn["content"]), "role": str(turn["role"])} for turn in turns]

    def correctness(self) -> list[bool | None] | None:
        """Right or not for each completion; None where nothing can be said, and for what was cut off."""
        if self.judged is None:
            return None
        return [correct(verdict) for verdict in self.judged.verdicts]


def correct(verdict: str) -> bool | None:
    """A verdict as a truth value: cut off is neither, and so is what could not be judged."""
    if verdict == Verdict.truncated or not Verdict(verdict).judged:
        return None
    return verdict == Verdict.right


def rows_in(layout: Layout, chosen: Chosen) -> Iterator[Row]:
    """The rows of one problem in a layout."""
    yield from _MAKERS[layout](chosen)


def _messages(chosen: Chosen) -> Iterator[Row]:
    problem = chosen.problem
    others = {k: v for k, v in problem.columns.items() if k not in TRAINERS_OWN}
    for index in chosen.kept:
        verdict = chosen.judged.verdicts[index] if chosen.judged else None
        yield {
            **others,
            "uuid": chosen.uuid,
            "messages": chosen.messages(index),
            "num_tokens": problem.tokens[index],
            "finish_reason": problem.finish_reasons[index],
            "is_reasoning_complete": problem.complete[index],
            "verdict": verdict,
            "pass_rate": chosen.pass_rate,
            "model_name": chosen.model,
        }


def _full(chosen: Chosen) -> Iterator[Row]:
    problem, correctness = chosen.problem, chosen.correctness()
    yield {
        **problem.columns,
        "uuid": chosen.uuid,
        "messages": chosen.messages(chosen.kept[0]),
        "generations": problem.generations,
        "finish_reasons": problem.finish_reasons,
        "is_reasoning_complete": problem.complete,
        "correctness_math_verify": correctness,
        "correctness_llama": None,
        "correctness_count": _count(correctness),
        "pass_rate": chosen.pass_rate,
        "kept": chosen.kept,
        "api_metadata": problem.metadata,
        "model_name": chosen.model,
        "prompt_hash": problem.hash,
    }


def _openr1_math(chosen: Chosen) -> Iterator[Row]:
    problem, correctness = chosen.problem, chosen.correctness()
    text: Row = {name: _text(problem.columns.get(name)) for name in MATH_TEXT}
    if text["problem"] is None:
        text["problem"] = chosen.messages(chosen.kept[0])[-2]["content"]
    yield {
        **text,
        "uuid": chosen.uuid,
        "is_reasoning_complete": problem.complete,
        "generations": problem.generations,
        "correctness_math_verify": correctness,
        "correctness_llama": None,
        "finish_reasons": problem.finish_reasons,
        "correctness_count": _count(correctness),
        "messages": chosen.messages(chosen.kept[0]),
    }


def _distilabel(chosen: Chosen) -> Iterator[Row]:
    for index in chosen.kept:
        generation = chosen.problem.generations[index]
        sent = [{"content": str(m["content"]), "role": str(m["role"])} for m in chosen.problem.sent]
        yield {
            **chosen.problem.columns,
            "generation": generation,
            "distilabel_metadata": {
                "raw_input_text_generation_0": sent,
                "raw_output_text_generation_0": generation,
            },
            "model_name": chosen.model,
        }


def _count(correctness: list[bool | None] | None) -> int | None:
    return None if correctness is None else sum(value is True for value in correctness)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


_MAKERS: Mapping[Layout, Callable[[Chosen], Iterator[Row]]] = {
    "messages": _messages,
    "full": _full,
    "openr1-math": _openr1_math,
    "distilabel": _distilabel,
}
