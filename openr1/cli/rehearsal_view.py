"""A rehearsal on the screen: measured beside predicted, and go or the flag to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openr1.cli.printer import Printer
from openr1.cli.words import duration, gib

if TYPE_CHECKING:
    from openr1.services.rehearse import Rehearsal


def show(printer: Printer, found: Rehearsal) -> None:
    """The rehearsal in a few lines."""
    from rich.table import Table

    printer.text(f"peak        {gib(found.peak_bytes)} of {gib(found.capacity_bytes)}")
    table = Table(box=None, pad_edge=False)
    for name in ("phase", "measured", "predicted", "seconds"):
        table.add_column(name, justify="left" if name == "phase" else "right")
    for name, one in found.phases.items():
        said = one["predicted_bytes"]
        planned = "–" if said is None else gib(said)
        table.add_row(f"  {name}", gib(one["peak_bytes"]), planned, f"{one['seconds']:.3g}")
    printer.table(table)
    if found.step_seconds is not None:
        said = found.predicted_step_seconds
        predicted = "not predicted" if said is None else f"predicted {said:.3g} s"
        printer.text(f"step        {found.step_seconds:.3g} s at full length ({predicted})")
    if found.run_seconds is not None and found.run_error_seconds is not None:
        printer.text(
            f"whole run   {duration(found.run_seconds)} ± {duration(found.run_error_seconds)} at most, "
            f"{found.steps} steps and {found.saves} checkpoints"
        )
    printer.text(
        f"disk        {gib(found.checkpoint_bytes)} a checkpoint, {gib(found.disk_bytes)} in all, "
        f"{gib(found.disk_free_bytes)} free"
    )
    if found.temperatures_c:
        printer.text(f"GPU         {max(found.temperatures_c)} °C at the end")
    if found.problem:
        printer.text(f"no go: {found.problem}", style="bold yellow")
    else:
        printer.text(f"go (rehearsed in {duration(found.seconds)})", style="bold green")
