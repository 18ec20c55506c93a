"""CUDA_VISIBLE_DEVICES as CUDA reads it, told in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Visible:
    """The chosen devices, in order. `problem` is set when the variable names something absent."""

    chosen: tuple[int, ...]
    reason: str
    problem: str | None = None


def visible_devices(variable: str | None, uuids: tuple[str, ...]) -> Visible:
    """Which of the machine's devices a process sees, given the variable and the devices' UUIDs.

    CUDA stops at the first entry it cannot resolve and shows the ones before it (CUDA C programming
    guide, "CUDA environment variables"); a lone -1 is the customary way to hide all.
    """
    count = len(uuids)
    if variable is None:
        return Visible(tuple(range(count)), f"NVML reports {count}")
    text = variable.strip()
    if text in ("", "-1"):
        return Visible((), f'CUDA_VISIBLE_DEVICES="{variable}" hides all {count} GPUs')
    chosen: list[int] = []
    problem: str | None = None
    for entry in (e.strip() for e in text.split(",")):
        index = _resolve(entry, uuids)
        if index is None or index in chosen:
            what = (
                f"{entry!r} twice"
                if index is not None
                else f"{entry!r}, which is not one of the {count} GPUs"
            )
            problem = f"CUDA_VISIBLE_DEVICES={variable!r} names {what}: CUDA ignores it and all after it"
            if index is not None:
                chosen = []  # a repeated device makes CUDA show none
            break
        chosen.append(index)
    reason = problem or f"CUDA_VISIBLE_DEVICES={variable} shows {len(chosen)} of {count}"
    return Visible(tuple(chosen), reason, problem)


def _resolve(entry: str, uuids: tuple[str, ...]) -> int | None:
    """A device number, or a UUID or its unambiguous beginning."""
    if entry.isdigit():
        return int(entry) if int(entry) < len(uuids) else None
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    matches = [i for i, uuid in enumerate(uuids) if uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None
