"""Train one job's model as its spec says: watched, paid for part by part, never over budget, and resumable."""

from pennyweight.training.outcome import Outcome
from pennyweight.training.run import Training, train_job

__all__ = ["Outcome", "Training", "train_job"]
