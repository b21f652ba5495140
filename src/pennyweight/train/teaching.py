"""A teacher for language models that is counted, not trained: what follows what in the training rows themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.core import Task
from pennyweight.errors import BadInputError
from pennyweight.train.ngrams import NGrams

if TYPE_CHECKING:
    from pennyweight.core import TrainSpec
    from pennyweight.train.how import How
    from pennyweight.train.objective import Batch

_KIND = "ngrams"
_MOST_BYTE = 2**30  # of all that the teacher says
_FLOAT_BYTE = 4


def order_of(teacher: str) -> int:
    """The longest sequence that "ngrams:5" counts, 5; raises `BadInputError` for a text that names no teacher."""
    kind, _, order = teacher.partition(":")
    if kind != _KIND or not (order.isascii() and order.isdigit() and int(order) > 0):
        raise BadInputError(f"There is no teacher {teacher!r}.", "write ngrams:5, for example.")
    return int(order)


def taught(rows: Batch, settings: TrainSpec, how: How, vocabulary: int) -> tuple[Batch, How]:
    """The rows with what the teacher of `settings` says after every token, and how to train to learn from that alone.

    The chances are counted in these very rows, so what is held back stays unknown to the teacher. Without a teacher,
    both are as they were. Raises `BadInputError` where a teacher cannot be had.
    """
    if not settings.teacher:
        return rows, how
    order = order_of(settings.teacher)
    _check(rows, how, vocabulary)
    import torch

    x, y = rows.x.numpy(), rows.y.numpy()
    texts = None if rows.texts is None else rows.texts.numpy()
    counted = NGrams.of_rows(x, y, order=order, vocabulary=vocabulary, texts=texts)
    told = torch.from_numpy(counted.teach(x, texts))
    return replace(rows, teacher=told), replace(how, temperature=1.0, mix=1.0)


def _check(rows: Batch, how: How, vocabulary: int) -> None:
    if how.task is not Task.LANGUAGE:
        raise BadInputError(f"Counted sequences teach no model that is to {how.task.value}.", "leave the teacher out.")
    if rows.teacher is not None:
        raise BadInputError("There are two teachers.", "leave one of them out.")
    byte = rows.y.numel() * vocabulary * _FLOAT_BYTE
    if byte > _MOST_BYTE:
        raise BadInputError(
            f"What the teacher says takes {byte / 2**30:.3g} GiB.", "train on fewer rows, or without the teacher."
        )
