"""Under which conditions a score was taken, as one id. Scores with different ids are not compared.

A protocol is a named, versioned set of prompt, sampling, answers per problem and length. Whoever changes one
of these here raises `version`, so that no old score changes its meaning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openr1.evaluation.tasks import Task

# DeepSeek-R1's README: no system prompt, the instruction in the user turn.
BOXED = "{problem}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."
# open-r1 from 2025-02-22 on (#392), after simple-evals and Llama 3; two spaces stand after "clearly.".
BOXED_LAST_LINE = (
    "Solve the following math problem efficiently and clearly.  The last line of your response should be of "
    "the following format: 'Therefore, the final answer is: $\\boxed{{ANSWER}}$. I hope it is correct' "
    "(without quotes) where ANSWER is just the final number or expression that solves the problem. Think "
    "step by step before answering.\n\n{problem}"
)
# simple-evals' wording for GPQA, which DeepSeek and open-r1 both use.
LETTER = (
    "Answer the following multiple choice question. The last line of your response should be of the "
    "following format: 'Answer: $LETTER' (without quotes) where LETTER is one of ABCD. Think step by step "
    "before answering.\n\n{problem}\n\nA) {A}\nB) {B}\nC) {C}\nD) {D}"
)
BARE = "{problem}"
THINK = "<think>\n"

EXTRACTION = "openr1-1"
"""How the answer is found and graded (`grading`); raised when a verdict may change."""


@dataclass(frozen=True)
class Protocol:
    """One named way of asking.

    Args:
        math, choice: user turns by kind of task, with {problem} (and {A}..{D}).
        samples: answers per problem, by task; `others` for tasks that are not named.
        prefill: text the answer is made to begin with, where the chat template does not write it anyway.
        about: what it is, in one line.
        doubt: what is not certain about it.
    """

    name: str
    version: int
    math: str
    choice: str
    temperature: float
    top_p: float
    max_new_tokens: int
    about: str
    samples: Mapping[str, int] = field(default_factory=dict)
    others: int = 1
    prefill: str = ""
    doubt: str | None = None

    def samples_of(self, task: str) -> int:
        return self.samples.get(task, self.others)

    def prompt_of(self, task: Task) -> str:
        return {"math": self.math, "choice": self.choice, "plain": BARE}[task.kind]


PROTOCOLS = {
    p.name: p
    for p in (
        Protocol(
            "quick",
            1,
            BOXED,
            LETTER,
            0.6,
            0.95,
            4096,
            "a first look: 4,096 tokens, 4 answers for AIME and 1 elsewhere",
            {"aime24": 4, "aime25": 4},
        ),
        Protocol(
            "open-r1",
            1,
            BOXED_LAST_LINE,
            LETTER,
            0.6,
            0.95,
            32768,
            "open-r1's tables from May 2025 on: 64 answers for AIME, 4 for MATH-500, 8 for GPQA",
            {"aime24": 64, "aime25": 64, "math_500": 4, "gpqa:diamond": 8},
        ),
        Protocol(
            "r1-paper",
            1,
            BOXED,
            LETTER,
            0.6,
            0.95,
            32768,
            "DeepSeek-R1's paper: 64 answers for AIME and GPQA, 16 for MATH-500, answers begin with <think>",
            {"aime24": 64, "aime25": 64, "math_500": 16, "gpqa:diamond": 64},
            prefill=THINK,
        ),
        Protocol(
            "open-r1-2025-02",
            1,
            BARE,
            LETTER,
            0.0,
            1.0,
            32768,
            "open-r1's tables of 2025-02-06: the bare problem, one greedy answer",
            doubt="its README says greedy, but the lighteval of that day passed no sampling values on, which "
            "is temperature 1 in vLLM; nobody can tell which it was",
        ),
    )
}


@dataclass(frozen=True)
class Conditions:
    """A protocol as it is applied to one task, options included."""

    protocol: Protocol
    task: str
    prompt: str
    num_samples: int
    temperature: float
    top_p: float
    top_k: int | None
    max_new_tokens: int
    system_prompt: str | None
    prefill: str
    chat_template: str | None

    def id(self, max_new_tokens: int | None = None, *, with_samples: bool = True) -> str:
        """`quick-v1`, with what was set otherwise behind it: `quick-v1 temperature=1 max_new_tokens=96`.

        Args:
            max_new_tokens: the limit in force, which a short context may have lowered.
            with_samples: False leaves the number of answers out: more answers of the same kind are no other
                kind of answer.
        """
        base, limit = self.protocol, max_new_tokens or self.max_new_tokens
        now = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "max_new_tokens": limit,
        }
        then = {
            "temperature": base.temperature,
            "top_p": base.top_p,
            "top_k": None,
            "max_new_tokens": base.max_new_tokens,
        }
        if with_samples:
            now = {"num_samples": self.num_samples, **now}
            then["num_samples"] = base.samples_of(self.task)
        if self.temperature == 0:  # greedy: what the others say does not matter
            now |= {"top_p": then["top_p"], "top_k": then["top_k"]}
        changed = [f"{key}={_number(now[key])}" for key in now if now[key] != then[key]]
        if self.prefill != base.prefill:
            changed.append(f"prefill={_short(self.prefill) if self.prefill else 'off'}")
        for key in ("system_prompt", "chat_template"):
            text = getattr(self, key)
            if text:
                changed.append(f"{key}={_short(text)}")
        return " ".join([f"{base.name}-v{base.version}", *changed])

    def as_dict(self, max_new_tokens: int) -> dict[str, Any]:
        """What stands beside every score."""
        return {
            "protocol": f"{self.protocol.name}-v{self.protocol.version}",
            "prompt": self.prompt,
            "num_samples": self.num_samples,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "max_new_tokens": max_new_tokens,
            "system_prompt": self.system_prompt,
            "prefill": self.prefill or None,
            "chat_template": _short(self.chat_template) if self.chat_template else "the model's own",
            "extraction": EXTRACTION,
        }


def conditions_of(task: Task, values: Mapping[str, Any]) -> Conditions:
    """The protocol of an eval section for one task; a value that was set (not None) wins over it."""
    base = PROTOCOLS[values["protocol"]]

    def chosen(key: str, otherwise: Any) -> Any:
        return otherwise if values.get(key) is None else values[key]

    return Conditions(
        protocol=base,
        task=task.name,
        prompt=base.prompt_of(task),
        num_samples=chosen("num_samples", base.samples_of(task.name)),
        temperature=chosen("temperature", base.temperature),
        top_p=chosen("top_p", base.top_p),
        top_k=values.get("top_k"),
        max_new_tokens=chosen("max_new_tokens", base.max_new_tokens),
        system_prompt=values.get("system_prompt"),
        prefill=chosen("prefill", base.prefill),
        chat_template=values.get("chat_template"),
    )


def default_protocol(profile: str) -> tuple[str, str]:
    """The protocol of a machine's profile, and why."""
    if profile in ("light", "cpu"):
        return "quick", f"what {profile} can finish; --protocol open-r1 takes open-r1's"
    return "open-r1", f"open-r1's own, which {profile} can finish; --protocol quick is shorter"


def base_of(protocol_id: str) -> str:
    """`quick-v1` of `quick-v1 temperature=1`."""
    return protocol_id.split(" ", 1)[0]


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What two scores' conditions do not share, in words, for as far as both say it.

    Args:
        ours, theirs: `Conditions.as_dict`.
    """
    found = []
    for key in ("prompt", "system_prompt", "prefill", "chat_template", "extraction"):
        if key in ours and key in theirs and ours[key] != theirs[key]:
            found.append(f"another {key.replace('_', ' ')}")
    for key in ("num_samples", "temperature", "top_p", "top_k", "max_new_tokens"):
        if key in ours and key in theirs and ours[key] != theirs[key]:
            greedy = ours.get("temperature") == 0 == theirs.get("temperature")
            if not (greedy and key in ("top_p", "top_k")):
                found.append(f"{key} {_number(ours[key])} instead of {_number(theirs[key])}")
    return found


def _number(value: float | None) -> str:
    """`1.0` and `1` alike as "1"; no exponent, however large."""
    return "off" if value is None else str(int(value) if int(value) == value else value)


def _short(text: str) -> str:
    """Six hex digits that name a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]
