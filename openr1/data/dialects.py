"""Ways in which datasets write down reasoning, all turned into `<think>…</think>`. Pure functions on text.

thought tags    <|begin_of_thought|>…<|end_of_thought|> <|begin_of_solution|>…<|end_of_solution|>
                (Bespoke-Stratos, OpenThoughts, Sky-T1)
no opening      …</think> answer: what a server returns whose template had opened `<think>` (DeepSeek-R1)
field           the reasoning in a field of its own: `reasoning_content` (DeepSeek's API), `reasoning` (vLLM)
"""

from __future__ import annotations

from typing import Literal

Style = Literal["think", "think_answer", "keep"]
"""`think`: `<think>` blocks; `think_answer`: and what follows in `<answer>`; `keep`: as it was written."""

REASONING_NAMES = ("reasoning_content", "reasoning", "deepseek_reasoning", "thinking")
"""Fields of a row or a message that hold the reasoning alone."""

THOUGHT, THOUGHT_END = "<|begin_of_thought|>", "<|end_of_thought|>"
SOLUTION, SOLUTION_END = "<|begin_of_solution|>", "<|end_of_solution|>"

# How `to_style` names what it found, and how a person is told.
WORDS = {
    "thought tags": f"reasoning between {THOUGHT} and {THOUGHT_END}",
    "no opening": "reasoning that is closed by </think> and never opened",
    "field": "reasoning in a field of its own",
    "unclosed": "reasoning that is opened and never closed (left as it is)",
    "think": "reasoning between <think> and </think>",
}


def to_style(text: str, style: Style, reasoning: str | None = None) -> tuple[str, str]:
    """One answer in the wanted style.

    Args:
        text: the assistant's text.
        reasoning: the reasoning, where it came in a field of its own.

    Returns:
        The text, and what was found: a key of `WORDS`, or "" where there is no reasoning.
    """
    found = _found(text, reasoning)
    if style == "keep" or found in ("", "unclosed"):
        return text, found
    thought, answer = _parts(text, reasoning, found)
    if found == "think" and style == "think":
        return text, found
    return _written(thought, answer, style), found


def system_to_style(text: str, style: Style) -> str:
    """A system message that asks for the thought tags asks for what the answers are given in."""
    if style == "keep" or THOUGHT not in text:
        return text
    answer, answer_end = ("<answer>", "</answer>") if style == "think_answer" else ("", "")
    pairs = ((THOUGHT, "<think>"), (THOUGHT_END, "</think>"), (SOLUTION, answer), (SOLUTION_END, answer_end))
    for tag, ours in pairs:
        text = text.replace(tag, ours)
    return text


def _found(text: str, reasoning: str | None) -> str:
    if reasoning and "<think>" not in text:
        return "field"
    if THOUGHT in text:
        return "thought tags" if THOUGHT_END in text else "unclosed"
    if "<think>" in text:
        return "think" if "</think>" in text else "unclosed"
    return "no opening" if "</think>" in text else ""


def _parts(text: str, reasoning: str | None, found: str) -> tuple[str, str]:
    """Reasoning and answer, without their tags."""
    if found == "field":
        thought, answer = str(reasoning), text.partition("</think>")[2] or text
    elif found == "thought tags":
        before, _, rest = text.partition(THOUGHT)
        thought, _, answer = rest.partition(THOUGHT_END)
        thought = f"{before.strip()}\n{thought.strip()}" if before.strip() else thought
    else:
        thought, _, answer = text.partition("</think>")
        thought = thought.replace("<think>", "", 1)
    for tag in (SOLUTION, SOLUTION_END):
        answer = answer.replace(tag, "")
    return thought.strip(), answer.strip()


def _written(thought: str, answer: str, style: Style) -> str:
    if style == "think_answer":
        answer = answer if "<answer>" in answer else f"<answer>\n{answer}\n</answer>"
        return f"<think>\n{thought}\n</think>\n{answer}"
    return f"<think>\n{thought}\n</think>\n\n{answer}"


def explain(counts: dict[str, int], style: Style) -> list[str]:
    """What is said once about a dataset's reasoning.

    Args:
        counts: rows by what `to_style` found in them.
    """
    said = []
    changed = {k: n for k, n in counts.items() if n and k in ("thought tags", "no opening", "field")}
    if style == "keep" and changed.pop("field", 0):
        said.append("reasoning in a field of its own is not used (reasoning_style: keep)")
    if changed:
        rows = ", ".join(f"{WORDS[kind]} ({n:,} rows)" for kind, n in changed.items())
        if style == "keep":
            said.append(f"{rows}: kept as written (reasoning_style: keep)")
        else:
            target = "<think>…</think>" + ("<answer>…</answer>" if style == "think_answer" else "")
            said.append(f"{rows} is now {target}; `reasoning_style: keep` leaves it")
    if counts.get("unclosed"):
        said.append(f"{counts['unclosed']:,} rows open their reasoning and never close it; left as they are")
    return said
