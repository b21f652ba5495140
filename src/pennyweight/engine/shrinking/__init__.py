"""A checkpoint larger than memory made smaller: planned from heads alone, streamed, resumable, read back."""

from pennyweight.engine.shrinking.checking import Checked, check
from pennyweight.engine.shrinking.planning import Plan, Wish, plan
from pennyweight.engine.shrinking.run import Receipt, needed_byte, shrink

__all__ = ["Checked", "Plan", "Receipt", "Wish", "check", "needed_byte", "plan", "shrink"]
