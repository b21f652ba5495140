from dataclasses import dataclass

import pytest

from pennyweight.cli.training_screen import now
from pennyweight.core import Cost, Limits, Score


@dataclass(frozen=True)
class At:
    """A place in a training."""

    step: int = 3
    steps: int = 9
    loss: float = 0.25


@pytest.mark.parametrize(
    ("metric", "mean", "told"),
    [
        ("accuracy", 0.5, "accuracy 50.00% ± 1.96%"),
        ("rmse", 0.5, "rmse 0.5 ± 0.0196"),
        ("log_loss", 0.25, "log_loss 0.25 ± 0.0196"),
        ("perplexity", 4.5, "perplexity 4.5 ± 0.0196"),
    ],
)
def test_shares_are_percentages_and_errors_are_numbers(metric, mean, told):
    line = now(at=At(), score=Score(metric, mean, 0.01, 100), spent=Cost(), ahead=None, asked=Limits())
    assert told in line.split(" · ")
