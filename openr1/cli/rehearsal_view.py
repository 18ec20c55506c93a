"""A rehearsal on the screen: measured beside predicted, and go or the flag to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openr1.cli.printer import Printer
from openr1.cli.words import duration, gib
from openr1.language import label, translate

if TYPE_CHECKING:
    from openr1.services.rehearse import Rehearsal


def show(printer: Printer, found: Rehearsal) -> None:
    """The rehearsal in a few lines."""
    from rich.table import Table

    printer.field("peak", f"{gib(found.peak_bytes)} / {gib(found.capacity_bytes)}")
    table = Table(box=None, pad_edge=False)
    for name in ("phase", "measured", "predicted", "seconds"):
        table.add_column(name, justify="left" if name == "phase" else "right")
    for name, one in found.phases.items():
        said = one["predicted_bytes"]
        planned = "–" if said is None else gib(said)
        shown = label("optimizer step" if name == "optimizer" else name)
        table.add_row(f"  {shown}", gib(one["peak_bytes"]), planned, f"{one['seconds']:.3g}")
    printer.table(table)
    if found.step_seconds is not None:
        took, said = f"{found.step_seconds:.3g}", found.predicted_step_seconds
        alone = f"{took} s at full length (not predicted)"
        beside = f"{took} s at full length (predicted {said or 0:.3g} s)"
        printer.field("step", translate(alone if said is None else beside))
    if found.run_seconds is not None and found.run_error_seconds is not None:
        total = f"{duration(found.run_seconds)} ± {duration(found.run_error_seconds)}"
        printer.field(
            "whole run", translate(f"{total} at most, {found.steps} steps and {found.saves} checkpoints")
        )
    each, whole, free = map(gib, (found.checkpoint_bytes, found.disk_bytes, found.disk_free_bytes))
    printer.field("disk", translate(f"{each} a checkpoint, {whole} in all, {free} free"))
    if found.temperatures_c:
        printer.field("GPU", translate(f"{max(found.temperatures_c)} °C at the end"))
    if found.problem:
        printer.say(f"no go: {found.problem}", style="bold yellow")
    else:
        printer.say(f"go (rehearsed in {duration(found.seconds)})", style="bold green")
