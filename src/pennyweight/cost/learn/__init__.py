"""What the predictor learns: how far each runtime is from its roofline, and what neighbours say about the rest."""

from pennyweight.cost.learn.learned import Learned
from pennyweight.cost.learn.local import PRIOR_SD
from pennyweight.cost.learn.sample import Sample

__all__ = ["PRIOR_SD", "Learned", "Sample"]
