"""A checkpoint larger than memory made smaller: planned from heads alone, streamed, resumable, read back."""

from pennyweight.engine.shrinking.calibrating import Calibration
from pennyweight.engine.shrinking.checking import Checked, check
from pennyweight.engine.shrinking.planning import Plan, plan
from pennyweight.engine.shrinking.run import Receipt, needed_byte, shrink
from pennyweight.engine.shrinking.wish import WIDTHS, Wish

__all__ = ["WIDTHS", "Calibration", "Checked", "Plan", "Receipt", "Wish", "check", "needed_byte", "plan", "shrink"]
