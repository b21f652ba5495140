"""The cheapest form of a language model's checkpoint that keeps a floor: searched, certified, and kept."""

from pennyweight.optimizing.checkpoints.asking import Ask, Load
from pennyweight.optimizing.checkpoints.result import Result
from pennyweight.optimizing.checkpoints.run import foresee_checkpoint, optimize_checkpoint

__all__ = ["Ask", "Load", "Result", "foresee_checkpoint", "optimize_checkpoint"]
