"""From a quantised graph and a chip to programs and a memory image."""

from scheduler.errors import PlanError
from scheduler.plan.layout import Blocked, Packed
from scheduler.plan.program import Launch, Part, Placement, Plan, Segment
from scheduler.schedule import schedule

__all__ = ["Blocked", "Launch", "Packed", "Part", "Placement", "Plan", "PlanError", "Segment", "schedule"]
