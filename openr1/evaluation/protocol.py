"""Under which conditions a score was taken, as one id. Scores with different ids are not compared."""

from __future__ import annotations

from typing import Any

PROTOCOLS: dict[str, dict[str, Any]] = {
    "quick": {"num_samples": 1, "temperature": 0.6, "top_p": 0.95, "top_k": None, "max_new_tokens": 4096}
}
VERSION = 1


def protocol_id(values: dict[str, Any], max_new_tokens: int) -> str:
    """`quick-v1`, with what was set otherwise behind it: `quick-v1 temperature=1.0 max_new_tokens=96`.

    Args:
        max_new_tokens: the limit in force, which a short context may have lowered.
    """
    base = PROTOCOLS[values["protocol"]]
    now = {**{key: values[key] for key in base}, "max_new_tokens": max_new_tokens}
    if now["temperature"] == 0:  # greedy: what the others say does not matter
        now |= {"top_p": base["top_p"], "top_k": base["top_k"]}
    changed = [f"{key}={_number(now[key])}" for key in base if now[key] != base[key]]
    if values["system_prompt"]:
        changed.append("system_prompt")
    return " ".join([f"{values['protocol']}-v{VERSION}", *changed])


def _number(value: float | None) -> str:
    """`1.0` and `1` alike as "1"; no exponent, however large."""
    return "off" if value is None else str(int(value) if int(value) == value else value)
