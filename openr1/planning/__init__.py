"""What fits and how it is split: memory model, batch solver, placement, ranked edits. Pure functions."""

from __future__ import annotations

from openr1.planning.calibration import Calibration
from openr1.planning.edits import Edit, PlanDoesNotFit
from openr1.planning.find_shape import find_shape
from openr1.planning.plan import Plan, Planned
from openr1.planning.planner import plan
from openr1.planning.shapes import ModelShape

__all__ = ["Calibration", "Edit", "ModelShape", "Plan", "PlanDoesNotFit", "Planned", "find_shape", "plan"]
