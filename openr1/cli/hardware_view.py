"""hw-profile on a screen: the machine, what it can train, a recipe's memory as bars, what to mend."""

from __future__ import annotations

import itertools
from typing import Any

from openr1.cli.printer import Printer
from openr1.cli.words import duration, gib, percent
from openr1.hardware import Finding, Gpu, Machine
from openr1.language import label, translate
from openr1.planning.abilities import METHODS, STAGES, Ability
from openr1.services.hw_profile import HwReport, Planning

BAR = 30  # characters of the longest bar
MARKS = {"ok": "ok", "warn": "look", "fail": "mend", "unknown": "unknown"}
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "unknown": "dim"}


def show(printer: Printer, report: HwReport, *, only_checks: bool = False) -> None:
    if printer.json:
        printer.data(report.as_dict())
        return
    if printer.quiet:
        _shortly(printer, report, only_checks)
        return
    if not only_checks:
        _machine(printer, report.machine)
    if report.plans:
        for planning in report.plans:
            _plan(printer, planning)
    elif not only_checks:
        _abilities(printer, report.abilities)
    _checks(printer, report)


def _shortly(printer: Printer, report: HwReport, only_checks: bool) -> None:
    """The profile, or whether each section fits, and what is to be mended."""
    if not only_checks and not report.plans:
        printer.text(str(report.machine.profile.value))
    for planning in report.plans:
        fits = "fits" if planning.plan is not None and planning.refused is None else "does not fit"
        verdict = "cannot be split" if planning.problem is not None else fits
        printer.text(f"{planning.section}: {translate(verdict)}")
    _checks(printer, report)


def _checks(printer: Printer, report: HwReport) -> None:
    for found in report.checks:
        if printer.quiet and found.state == "ok":
            continue
        said = f"{label(found.name)}: {translate(found.words)}"
        printer.field(MARKS[found.state], said, width=8, style=STYLES[found.state])
        if found.fix and found.state != "ok":
            printer.command(f"        {label('do')}  {translate(found.fix)}")


def show_verified(printer: Printer, found: dict[str, Any]) -> bool:
    """Show, and return whether every prediction is within the tolerance.

    Predicted against simulated peaks; the simulation runs the model's own code without weights."""
    good = all(abs(row["error"]) <= found["tolerance"] for row in found["rows"])
    if printer.json:
        printer.data(found)
        return good
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("model", "tokens", "checkpointing", "precision", "predicted", "simulated", "error"):
        table.add_column(name, justify="left" if name in ("model", "precision") else "right")
    for row in found["rows"]:
        table.add_row(
            str(row["model"]),
            f"{row['tokens']:,}",
            "on" if row["checkpointing"] else "off",
            str(row["precision"]),
            gib(row["predicted_bytes"]),
            gib(row["simulated_bytes"]),
            f"{100 * row['error']:+.1f} %",
        )
    printer.table(table)
    printer.hint(f"tolerance: {percent(found['tolerance'])}")
    return good


def _machine(printer: Printer, machine: Machine) -> None:
    from rich.table import Table

    table = Table(show_header=True, box=None, pad_edge=False)
    for column in ("what", "found", "how it is known"):
        table.add_column(column, style="dim" if column.startswith("how") else None)

    def row(name: str, found: str, why: str) -> None:
        indent = name[: len(name) - len(name.lstrip())]
        table.add_row(indent + label(name.lstrip()), translate(found), translate(why))

    row("profile", str(machine.profile.value), machine.profile.reason)
    for lines, alike in itertools.groupby(machine.gpus, _gpu):
        numbers = [gpu.index for gpu in alike]
        _, found, why = lines[0]
        row(f"GPU {_span(numbers)}", f"{len(numbers)} × {found}" if len(numbers) > 1 else found, why)
        for line in lines[1:]:
            row(*line)
    if not machine.gpus:
        row("GPUs", "none", machine.gpus_problem or machine.gpus_reason)
    for name, finding in (
        ("driver", machine.driver),
        ("CPU", machine.cpu_name),
        ("CPU cores", machine.cpu_cores),
        ("CPU features", machine.cpu_features),
    ):
        if finding.known or name != "driver" or machine.gpus:
            row(name, _found(finding), finding.reason)
    for name, size in (
        ("memory", machine.ram_bytes),
        ("memory free", machine.ram_available_bytes),
        ("disk free", machine.disk_free_bytes),
        ("cache disk free", machine.cache_free_bytes),
    ):
        row(name, gib(size.value), size.reason)
    row("nodes", _found(machine.nodes), machine.nodes.reason)
    for partition in machine.slurm.value.partitions if machine.slurm.value else ():
        gpus = f"{partition.gpus_per_node} × {partition.gpu_type or 'GPU'}"
        offers = f"{partition.nodes} nodes of {gpus}, limit {partition.time_limit}"
        row(f"Slurm {partition.name}", offers, machine.slurm.reason)
    printer.table(table)
    packages = machine.packages.value or {}
    listed = ", ".join(f"{name} {version}" for name, version in packages.items())
    printer.text()
    if machine.packages.known:
        printer.field("packages", listed or translate("none of the training set"), width=10)
        together = translate("openr1 hw-profile --check says whether they belong together")
        printer.field("", together, width=10, style="dim")
    else:
        printer.field("packages", translate(machine.packages.reason), width=10)


def _gpu(gpu: Gpu) -> tuple[tuple[str, str, str], ...]:
    """What the table says of a GPU: (name, found, how it is known); equal for cards that are alike."""
    free, total = gib(gpu.free_bytes.value), gib(gpu.total_bytes.value)
    lines = [("", f"{gpu.name.value}, {total}, {free} free", gpu.name.reason)]
    capability = gpu.compute_capability
    if capability.value is not None:
        lines.append(("  capability", ".".join(map(str, capability.value)), capability.reason))
    facts: tuple[tuple[str, Finding[Any]], ...] = (
        ("link", gpu.interconnect),
        ("temperature, °C", gpu.temperature_c),
        ("power, W", gpu.power_w),
    )
    lines += [(f"  {name}", _found(fact), fact.reason) for name, fact in facts if fact.known]
    lines += [("", f"used by {other}", gpu.used_by.reason) for other in gpu.used_by.value or ()]
    return tuple(lines)


def _span(numbers: list[int]) -> str:
    """`0–7`, or `0, 2, 3` where some are not to be used."""
    whole = len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
    return f"{numbers[0]}–{numbers[-1]}" if whole else ", ".join(map(str, numbers))


def _found(finding: Finding[Any]) -> str:
    value = finding.value
    if value is None:
        return "unknown"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _abilities(printer: Printer, cells: tuple[Ability, ...]) -> None:
    """Models × methods: the most tokens a micro-batch can hold, or a dash."""
    from rich.table import Table

    if not cells:
        return
    by_place = {(c.model, c.stage, c.method): c for c in cells}
    table = Table(box=None, pad_edge=False, title="What fits: tokens per micro-batch", title_justify="left")
    table.add_column("model", no_wrap=True)
    for stage in STAGES:
        for method in METHODS:
            table.add_column(f"{stage}\n{method.replace('full, ', '')}", justify="right")
    for model in dict.fromkeys(c.model for c in cells):
        marks = [_tokens(by_place[model, stage, method]) for stage in STAGES for method in METHODS]
        table.add_row(model.split("/")[-1], *marks)
    printer.text()
    printer.table(table)
    largest = next((c for c in cells if c.tokens is None), None)
    if largest is not None:
        name, why = largest.model.split("/")[-1], translate(largest.note)
        words = f"{name}, {largest.stage}, {largest.method}: {why}"
        printer.hint(f"–: does not fit ({words}; all reasons: --json)")


def _tokens(cell: Ability) -> str:
    if cell.tokens is None:
        return "–"
    return f"{cell.tokens / 1000:.1f}k" if cell.tokens < 10_000 else f"{cell.tokens // 1000}k"


def _plan(printer: Printer, planning: Planning) -> None:
    plan, refused = planning.plan, planning.refused
    printer.text()
    printer.say(f"section {planning.section}", style="bold")
    if planning.problem is not None:
        printer.text(f"  {translate(planning.problem.what)}", style="bold red")
        for name, text in (("at", planning.problem.where), ("do", planning.problem.fix)):
            if text:
                printer.field(name, translate(text), indent=2, width=4)
    if plan is not None:
        ranks = f"{plan.processes} process" + ("es" if plan.processes > 1 else "")
        printer.say(f"  {ranks}: {plan.processes_reason}")
        printer.say(f"  sharding {plan.sharding}: {plan.sharding_reason}")
        for key, chosen in plan.values.items():
            printer.text(f"  {key} = {chosen.value}  ({translate(chosen.reason)})", style="dim")
        if plan.step_seconds.value:
            printer.say(
                f"  a step takes about {duration(plan.step_seconds.value)}: {plan.step_seconds.reason}"
            )
        for warning in plan.warnings:
            printer.note(warning)
    capacity = plan.capacity_bytes if plan is not None else refused.capacity_bytes if refused else None
    if planning.memory:
        _bars(printer, planning.memory, capacity)
    elif plan is not None:
        printer.say(f"  memory not known: {plan.memory_reason}")
    if refused is not None:
        printer.text(f"  {translate(refused.what)}", style="bold red")
        for edit in refused.edits:
            saved = gib(edit.saves_bytes)
            said = translate(f"makes it fit, saves {saved}" if edit.suffices else f"helps, saves {saved}")
            printer.command(f"  {said}:  {edit.flags}   ({translate(edit.words)})")


def _bars(printer: Printer, memory: dict[str, dict[str, int]], capacity: int | None) -> None:
    """One bar per phase, as long as its share of the card; under it the bytes by cause."""
    peaks = {phase: sum(terms.values()) for phase, terms in memory.items()}
    scale = max([*peaks.values(), capacity or 0]) or 1
    for phase, terms in memory.items():
        filled = round(BAR * peaks[phase] / scale)
        over = capacity is not None and peaks[phase] > capacity
        limit = translate(f"of {gib(capacity)}") if capacity else ""
        bar = "█" * filled + "·" * (BAR - filled)
        said = f"{bar} {gib(peaks[phase])} {limit}".rstrip()
        printer.field(phase, said, indent=2, width=11, style="bold red" if over else None)
        largest = sorted(terms.items(), key=lambda item: -item[1])
        causes = ", ".join(f"{label(name)} {gib(size)}" for name, size in largest if size >= 2**20 * 50)
        printer.field("", causes, width=13, style="dim")
