"""What the training loop refuses before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.train.regular import check as check_bounds

if TYPE_CHECKING:
    from pennyweight.core import TrainSpec
    from pennyweight.train.how import How


def check(rows: int, settings: TrainSpec, how: How) -> None:
    """Raise `BadInputError` for settings that cannot be trained with on `rows` rows."""
    if rows < 2:
        raise BadInputError(f"There are {rows} rows to train on.", "give at least two.")
    if min(settings.batch, settings.accumulate) < 1 or not settings.epochs > 0:
        raise BadInputError(
            f"Training for {settings.epochs:g} epochs, {settings.accumulate} batches of {settings.batch} a step, "
            "cannot be done.",
            "use at least one batch of at least one row, and more than 0 epochs.",
        )
    check_bounds(settings.regular, how.task)
    if not how.team.whole:
        raise BadInputError(
            "This loop needs all weights on every worker, and the team keeps them in shards.",
            "train in a loop of your own, as the how-to on distributed training shows, or use another sync.",
        )
    if how.teacher_logits is not None and len(how.teacher_logits) != rows:
        raise BadInputError(
            f"The teacher answered {len(how.teacher_logits)} rows, but there are {rows}.",
            "let it answer the rows that are trained on, in their order.",
        )
