"""`--simulate "8xH100"`: the facts of a machine one does not have."""

from __future__ import annotations

import re
from dataclasses import replace

from openr1.errors import UsageError
from openr1.hardware.catalogue import GIB, GpuSpec, find_spec, known_names
from openr1.hardware.facts import Finding, Gpu, Machine, SlurmPartition, unknown
from openr1.hardware.profiles import choose_profile

EXAMPLES = '"8xH100", "2x RTX 4090", "RTX 3060", "4xA100-40GB, 2 nodes", "cpu"'
_COUNT = re.compile(r"^(?:(\d+)(?:\s*[x×*]\s*|\s+))?(.+)$", re.IGNORECASE)
# Words that may stand around a card's name without changing which card it is.
_AROUND = re.compile(
    r"\b(nvidia|geforce|tesla|amd|instinct|gpus?|cards?|sxm\d?|hbm\d?)\b|[\s-]", re.IGNORECASE
)
_NODES_FIRST = re.compile(r"^(\d+)\s*[x×*]\s*(\d+\s*[x×*].+)$", re.IGNORECASE)
_NODES = re.compile(r"^(\d+)\s*nodes?$", re.IGNORECASE)
_CORES = re.compile(r"^(\d+)\s*(?:cpu\s*)?cores?$", re.IGNORECASE)
_RAM = re.compile(r"^(\d+)\s*g(?:i?b)?\s*(?:of\s*)?ram$", re.IGNORECASE)


def simulate(spec: str, base: Machine | None = None) -> Machine:
    """The machine that `spec` describes: `[[NODESx]COUNTx]CARD[, N nodes][, N cores][, N GB RAM]` or `cpu`.

    What the text does not say is taken from `base` (disk), or set by a plain rule that is said in the
    reason (cores and RAM of a GPU host).

    Raises:
        UsageError: the text does not parse, or names a card the catalogue does not know.
    """
    parts = [p.strip() for p in spec.split(",")]
    nodes = 1
    cores: int | None = None
    ram_gib: int | None = None
    for part in parts[1:]:
        if found := _NODES.match(part):
            nodes = int(found[1])
        elif found := _CORES.match(part):
            cores = int(found[1])
        elif found := _RAM.match(part):
            ram_gib = int(found[1])
        else:
            raise _unreadable(spec, f"{part!r} is not a number of nodes, cores or GB of RAM")
    head = parts[0]
    if found := _NODES_FIRST.match(head):
        if any(map(_NODES.match, parts[1:])):
            raise _unreadable(spec, "the number of nodes is said twice")
        nodes, head = int(found[1]), found[2]
    if nodes < 1 or cores == 0 or ram_gib == 0:
        raise _unreadable(spec, "counts start at 1")
    why = f"simulated: {spec}"
    if head.lower() == "cpu" or _CORES.match(head):
        found = _CORES.match(head)
        cores = int(found[1]) if found else cores
        return _host(spec, (), f"{why} (no GPU)", nodes, cores, ram_gib, base)
    match = _COUNT.match(head)
    count = int(match[1]) if match and match[1] else 1
    card = match[2].strip() if match else ""
    known = _card(card)
    if count < 1:
        raise _unreadable(spec, "counts start at 1")
    if known is None:
        raise _unreadable(spec, f"no card called {card!r} in the catalogue ({', '.join(known_names())})")
    if count > 64:
        raise _unreadable(spec, f"{count} cards in one node; say how many nodes instead")
    gpus = tuple(simulated_gpu(known, i, why) for i in range(count))
    return _host(spec, gpus, why, nodes, cores, ram_gib, base)


def partition_machine(partition: SlurmPartition, nodes: int = 1, base: Machine | None = None) -> Machine:
    """The machine a Slurm partition offers, as far as its GRES tells: never the login node's own facts.

    Raises:
        UsageError: the partition has no GPUs, or does not name a card the catalogue knows.
    """
    if partition.gpus_per_node < 1:
        raise UsageError(
            f"partition {partition.name!r} has no GPUs", where="--partition", fix="name a partition with GPUs"
        )
    spec = _card((partition.gpu_type or "").replace("_", " "))
    if spec is None:
        raise UsageError(
            f"partition {partition.name!r} offers {partition.gpu_type or 'GPUs without a name'}, "
            "which the catalogue does not know",
            where="--partition",
            fix=f'say what they are: --simulate "{partition.gpus_per_node}xH100"',
        )
    together = f", {nodes} nodes" if nodes > 1 else ""
    return simulate(f"{partition.gpus_per_node}x{spec.key}{together}", base)


def _card(text: str) -> GpuSpec | None:
    """The catalogue's card, if the text is its name and nothing else: half a match would be a guess."""
    text = re.sub(r"^\d{4}\b", r"RTX \g<0>", text)  # a 3090
    spec = find_spec(text)
    if spec is None:
        return None
    memory = rf"{spec.memory_gb}\s*g?b?\b"
    rest = re.sub(memory, "", re.sub(spec.pattern, "", text, flags=re.IGNORECASE), flags=re.IGNORECASE)
    return spec if _AROUND.sub("", rest) == "" else None


def _unreadable(spec: str, why: str) -> UsageError:
    return UsageError(
        f"cannot simulate {spec!r}: {why}",
        where="--simulate",
        fix=f"write for example {EXAMPLES}",
    )


def simulated_gpu(spec: GpuSpec, index: int, why: str) -> Gpu:
    """One idle card of the catalogue. What only a real card has is unknown."""
    nothing = unknown("a simulated card")
    source = f"{why}; {spec.source}"
    return Gpu(
        index=index,
        name=Finding(spec.key, why),
        total_bytes=Finding(spec.visible_bytes, source),
        free_bytes=Finding(spec.visible_bytes, f"{why}: idle"),
        compute_capability=Finding(spec.compute_capability, source),
        interconnect=Finding(spec.interconnect, source),
        bandwidth_gb_s=Finding(spec.bandwidth_gb_s, source),
        bf16_tflops=Finding(spec.bf16_tflops, source),
        flash_attention=Finding(spec.flash_attention, source),
        uuid=nothing,
        used_by=nothing,
        temperature_c=nothing,
        power_w=nothing,
        mig=Finding(False, why),
    )


def _host(
    spec: str,
    gpus: tuple[Gpu, ...],
    why: str,
    nodes: int,
    cores: int | None,
    ram_gib: int | None,
    base: Machine | None,
) -> Machine:
    """The node around the cards. Without `base`, disk and packages are unknown, not invented."""
    nothing = unknown("a simulated machine")
    # Rule of thumb for a host: 8 cores and 32 GiB a card at least, a 2-core laptop class for "cpu".
    default_cores, default_ram = (8 * len(gpus), max(32, 128 * len(gpus))) if gpus else (2, 16)
    if gpus and len(gpus) == 1 and gpus[0].interconnect.value == "pcie":
        default_ram = 32
    cores_found: Finding[float] = Finding(
        float(cores or default_cores), why if cores else f"{why}; assumed, add ', N cores' to say otherwise"
    )
    ram: Finding[int] = Finding(
        (ram_gib or default_ram) * GIB,
        why if ram_gib else f"{why}; assumed, add ', N GB RAM' to say otherwise",
    )
    machine = Machine(
        profile=choose_profile(gpus, why, nodes),
        gpus=gpus,
        gpus_reason=why,
        driver=nothing,
        cuda=nothing,
        cpu_name=nothing,
        cpu_cores=cores_found,
        cpu_features=nothing,
        ram_bytes=ram,
        ram_available_bytes=ram,
        disk_free_bytes=nothing,
        cache_free_bytes=nothing,
        nodes=Finding(nodes, why),
        slurm=nothing,
        packages=unknown("a simulated machine: the declared extras are assumed to be installed"),
        simulated=spec,
    )
    if base is None:
        return machine
    return replace(machine, disk_free_bytes=base.disk_free_bytes, cache_free_bytes=base.cache_free_bytes)
