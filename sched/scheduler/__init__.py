"""From a quantised graph and a chip to programs and a memory image."""

from scheduler.errors import PlanError
from scheduler.plan.layout import Blocked, Packed
from scheduler.plan.program import Launch, Placement, Plan, Segment
from scheduler.schedule import schedule

__all__ = ["Blocked", "Launch", "Packed", "Placement", "Plan", "PlanError", "Segment", "schedule"]
