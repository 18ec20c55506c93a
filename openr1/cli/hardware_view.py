"""hw-profile on a screen."""

from __future__ import annotations

from typing import Any

from openr1.cli.printer import Printer
from openr1.cli.words import gib
from openr1.hardware import Finding
from openr1.services.hw_profile import HwReport


def show(report: HwReport, *, json: bool) -> None:
    printer = Printer(json=json)
    if json:
        printer.data(report.as_dict())
        return
    from rich.table import Table

    machine = report.machine
    table = Table(show_header=True, box=None, pad_edge=False)
    for column in ("what", "found", "how it is known"):
        table.add_column(column, style="dim" if column.startswith("how") else None)
    table.add_row("profile", str(machine.profile.value), machine.profile.reason)
    if machine.gpus:
        for gpu in machine.gpus:
            free, total = gib(gpu.free_bytes.value), gib(gpu.total_bytes.value)
            table.add_row(f"GPU {gpu.index}", f"{gpu.name.value}, {total}, {free} free", gpu.name.reason)
    else:
        table.add_row("GPUs", "none", machine.gpus_problem or machine.gpus_reason)
    table.add_row("CPU", _found(machine.cpu_name), machine.cpu_name.reason)
    table.add_row("CPU cores", _found(machine.cpu_cores), machine.cpu_cores.reason)
    table.add_row("CPU features", _found(machine.cpu_features), machine.cpu_features.reason)
    table.add_row("memory", gib(machine.ram_bytes.value), machine.ram_bytes.reason)
    table.add_row("memory free", gib(machine.ram_available_bytes.value), machine.ram_available_bytes.reason)
    table.add_row("disk free", gib(machine.disk_free_bytes.value), machine.disk_free_bytes.reason)
    table.add_row("nodes", _found(machine.nodes), machine.nodes.reason)
    printer.table(table)
    packages = machine.packages.value or {}
    printer.text()
    printer.text("packages  " + ", ".join(f"{name} {version}" for name, version in packages.items()))


def _found(finding: Finding[Any]) -> str:
    value = finding.value
    if value is None:
        return "unknown"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
