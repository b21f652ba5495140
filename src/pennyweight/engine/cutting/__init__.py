"""Parts of a language model taken out, block by block: whole blocks, groups of heads, neurons, tokens."""

from pennyweight.engine.cutting.planning import Plan, plan
from pennyweight.engine.cutting.receipt import Receipt
from pennyweight.engine.cutting.run import cut, needed_byte
from pennyweight.engine.cutting.wish import Wish
from pennyweight.engine.shrinking import Calibration

__all__ = ["Calibration", "Plan", "Receipt", "Wish", "cut", "needed_byte", "plan"]
