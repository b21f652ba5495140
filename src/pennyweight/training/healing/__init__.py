"""A language model's checkpoint that was cut, mended by what the one it was made of says of a text."""

from pennyweight.training.healing.asking import Asked
from pennyweight.training.healing.planning import Plan, needed_byte, plan
from pennyweight.training.healing.results import Healed
from pennyweight.training.healing.run import heal
from pennyweight.training.healing.watching import Now

__all__ = ["Asked", "Healed", "Now", "Plan", "heal", "needed_byte", "plan"]
