"""Whether one language-model checkpoint is as good as another: on text, on questions, and over long contexts."""

from pennyweight.engine.quality.asking import Asked
from pennyweight.engine.quality.comparing import compare
from pennyweight.engine.quality.results import Check, Comparison, Cost, Divergence, OnTasks, OnText, Retrieved

__all__ = ["Asked", "Check", "Comparison", "Cost", "Divergence", "OnTasks", "OnText", "Retrieved", "compare"]
