"""What the training loop refuses before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.train.regular import check as check_bounds

if TYPE_CHECKING:
    from pennyweight.core import TeamSpec, TrainSpec
    from pennyweight.train.how import How

_OF_MATRICES = frozenset({"lamb", "muon"})


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
        check_parts(settings)
        if how.after_step is not None:
            raise BadInputError(
                "What is done after every step needs all weights, and the team keeps them in shards.",
                'use sync="each", or leave it out.',
            )
    if how.teacher_logits is not None and len(how.teacher_logits) != rows:
        raise BadInputError(
            f"The teacher answered {len(how.teacher_logits)} rows, but there are {rows}.",
            "let it answer the rows that are trained on, in their order.",
        )


def is_sharded(team: TeamSpec) -> bool:
    """Whether each of several workers holds only a part of every weight."""
    return team.workers > 1 and team.sync == "shard"


def check_parts(settings: TrainSpec) -> None:
    """Raise `BadInputError` for settings that cannot be trained with where each worker holds a part of every weight."""
    if settings.optimizer in _OF_MATRICES:
        raise BadInputError(
            f"The optimiser {settings.optimizer} looks at whole matrices, and the team keeps them in shards.",
            'use adamw, or sync="each".',
        )
