"""GPUs as the driver's management library (NVML) describes them. The only file that knows it.

NVML is slow to fail when a driver hangs, so it is asked in a thread with a deadline; nothing here
creates a CUDA context, so looking costs no GPU memory.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openr1.hardware.catalogue import GpuSpec, find_spec
from openr1.hardware.facts import Finding, Gpu, unknown
from openr1.hardware.visible import visible_devices

DEADLINE_S = 10.0


@dataclass(frozen=True)
class GpuReport:
    """What NVML said: the visible cards, or why there are none. `problem` needs mending."""

    gpus: tuple[Gpu, ...]
    reason: str
    driver: Finding[str]
    cuda: Finding[str]
    problem: str | None = None


def _nobody(reason: str, problem: str | None = None) -> GpuReport:
    return GpuReport((), reason, unknown(reason), unknown(reason), problem)


def load_nvml() -> Any:
    """The binding module. Imported here so that a machine without it can still plan."""
    import pynvml

    return pynvml


def detect_gpus(load: Callable[[], Any] = load_nvml, deadline_s: float = DEADLINE_S) -> GpuReport:
    """The GPUs this process may use, without CUDA and without waiting for a dead driver."""
    try:
        nvml = load()
    except ImportError:
        reason = "the package nvidia-ml-py is missing, so GPUs cannot be looked for"
        return _nobody(reason, reason)
    answer: list[GpuReport] = []
    thread = threading.Thread(target=lambda: answer.append(_ask(nvml)), daemon=True, name="nvml")
    thread.start()
    thread.join(deadline_s)
    if not answer:
        reason = f"the NVIDIA driver did not answer within {deadline_s:g} s"
        return _nobody(reason, reason)
    return answer[0]


def _ask(nvml: Any) -> GpuReport:
    try:
        nvml.nvmlInit()
    except Exception as error:  # NVML raises its own types; all mean "no GPU can be used"
        return _explain_init(str(error))
    try:
        driver: Finding[str] = Finding(_text(nvml.nvmlSystemGetDriverVersion()), "NVML")
        cuda = _cuda_version(nvml)
        devices = _devices(nvml)
        uuids = tuple(uuid for _, uuid, _ in devices)
        seen = visible_devices(os.environ.get("CUDA_VISIBLE_DEVICES"), uuids)
        gpus = tuple(_describe(nvml, devices[i][0], i, devices[i][1], devices[i][2]) for i in seen.chosen)
        return GpuReport(gpus, seen.reason, driver, cuda, seen.problem)
    except Exception as error:
        reason = f"the NVIDIA driver answers, but not about its GPUs: {error}"
        return _nobody(reason, reason)
    finally:
        with contextlib.suppress(Exception):
            nvml.nvmlShutdown()


def _explain_init(error: str) -> GpuReport:
    """NVML's words for a failed start, as a plain reason. No driver at all is no problem."""
    lowered = error.lower()
    if "not found" in lowered or ("driver not loaded" in lowered and not Path("/dev/nvidiactl").exists()):
        return _nobody("no NVIDIA driver on this machine")
    if "mismatch" in lowered:
        reason = "the NVIDIA driver and its library have different versions (an update waits for a reboot)"
        return _nobody(reason, reason)
    reason = f"the NVIDIA driver does not answer: {error}"
    return _nobody(reason, reason)


def _cuda_version(nvml: Any) -> Finding[str]:
    def version() -> str:
        number = int(nvml.nvmlSystemGetCudaDriverVersion())
        return f"{number // 1000}.{number % 1000 // 10}"

    return _try(version, "NVML: the newest CUDA this driver runs")


def _devices(nvml: Any) -> list[tuple[Any, str, bool]]:
    """Handle, UUID and whether it is a slice, for every card, or each MIG slice of a split card."""
    devices: list[tuple[Any, str, bool]] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        card = nvml.nvmlDeviceGetHandleByIndex(index)
        slices = _mig_slices(nvml, card)
        if slices:
            devices += [(s, _text(nvml.nvmlDeviceGetUUID(s)), True) for s in slices]
        else:
            devices.append((card, _text(nvml.nvmlDeviceGetUUID(card)), False))
    return devices


def _mig_slices(nvml: Any, card: Any) -> list[Any]:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(card)
        if not current:
            return []
        slices = []
        for i in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card)):
            try:
                slices.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, i))
            except Exception:  # an empty slot
                continue
        return slices
    except Exception:  # a card that cannot be split
        return []


def _describe(nvml: Any, handle: Any, index: int, uuid: str, mig: bool) -> Gpu:
    name = _try(lambda: _text(nvml.nvmlDeviceGetName(handle)), "NVML")
    spec = find_spec(name.value) if name.value else None
    memory = _try(lambda: nvml.nvmlDeviceGetMemoryInfo(handle), "NVML")
    if memory.value is not None:
        total: Finding[int] = Finding(int(memory.value.total), "NVML")
        free: Finding[int] = Finding(int(memory.value.free), "NVML: free at this moment")
    else:
        total = free = unknown(memory.reason)
    capability = _try(lambda: tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle)), "NVML")
    # A slice has a part of the card's bandwidth and units; which part, NVML does not say plainly.
    speed_spec = None if mig else spec
    return Gpu(
        index=index,
        name=name,
        total_bytes=total,
        free_bytes=free,
        compute_capability=capability,
        interconnect=_interconnect(nvml, handle, mig),
        bandwidth_gb_s=_catalogued(speed_spec, "bandwidth_gb_s", name.value, mig),
        bf16_tflops=_catalogued(speed_spec, "bf16_tflops", name.value, mig),
        flash_attention=_flash(capability.value),
        uuid=Finding(uuid, "NVML"),
        used_by=_try(lambda: _others(nvml, handle), "NVML: compute processes on the card"),
        temperature_c=_try(lambda: int(nvml.nvmlDeviceGetTemperature(handle, 0)), "NVML"),
        power_w=_try(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000, "NVML"),
        mig=Finding(mig, "NVML: a MIG slice" if mig else "NVML: a whole card"),
    )


def _catalogued(spec: GpuSpec | None, field: str, name: str | None, mig: bool) -> Finding[Any]:
    if spec is None:
        why = "a MIG slice: its share is not known" if mig else f"the catalogue does not know {name!r}"
        return unknown(why)
    return Finding(getattr(spec, field), f"catalogue, {spec.source}")


def _flash(capability: tuple[int, ...] | None) -> Finding[str]:
    """What the generation can run: FA3 on 9.x, FA2 from 8.0 (flash-attention's README)."""
    if capability is None:
        return unknown("the compute capability is unknown")
    major = capability[0]
    word = "fa3" if major == 9 else "fa2" if major >= 8 else "none"
    return Finding(word, f"compute capability {'.'.join(map(str, capability))}")


def _interconnect(nvml: Any, handle: Any, mig: bool) -> Finding[str]:
    if mig:
        return Finding("pcie", "a MIG slice has no link to other GPUs")

    def link() -> str:
        for i in range(18):  # the most links any card has (NVLink 4: H100)
            try:
                if nvml.nvmlDeviceGetNvLinkState(handle, i):
                    return "nvlink"
            except Exception:  # this card has no such link
                break
        return "pcie"

    return _try(link, "NVML: state of the NVLink links")


def _others(nvml: Any, handle: Any) -> tuple[str, ...]:
    """Compute processes on the card other than this one."""
    lines = []
    for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
        if process.pid == os.getpid():
            continue
        used = process.usedGpuMemory
        lines.append(f"pid {process.pid}, {used} bytes" if used else f"pid {process.pid}")
    return tuple(lines)


def _try(ask: Callable[[], Any], reason: str) -> Finding[Any]:
    """The answer, or unknown with the driver's own words."""
    try:
        return Finding(ask(), reason)
    except Exception as error:
        return unknown(f"the driver does not say: {error}")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
