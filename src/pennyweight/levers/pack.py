"""Lay short texts end to end in shared rows, where each had a row of its own and the rest of it was padding."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.backends.torch_weights import unlike
from pennyweight.core import YES, Form, Lever, Stage, Task, no
from pennyweight.data.texts import joined, lengths, padding_of
from pennyweight.errors import BadInputError, NoEffectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from pennyweight.core import Job, Spec, Verdict, Work
    from pennyweight.data.splits import Arrays

_WORTH = 0.95  # of the rows: above, sharing is not worth the trouble


@final
@dataclass(frozen=True, slots=True)
class Pack(Lever):
    """Put texts into as few rows as best fit finds, and as many rows fewer into a mini-batch: it holds as many texts.

    A model whose `forward` takes `texts` (B, T), the number of the text that each token belongs to, keeps them apart:
    attention stays within a text and places are counted anew in each. For any other model texts must be told apart by a
    token: all begin with the same, or all end with it, or one is given as `separator`.
    """

    separator: int = -1

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = (
        "Krell et al. 2021, Efficient Sequence Packing without Cross-contamination (arXiv:2107.02027)"
    )
    trust: ClassVar[float] = 0.05  # paper leaves the separators out

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """The one without further knobs, where there is enough padding."""
        if cls().fits(job.spec):
            yield cls()

    def fits(self, spec: Spec) -> Verdict:
        """Fits language models that are still to be trained on rows with padding."""
        if spec.form is not Form.MODULE or spec.data.task is not Task.LANGUAGE:
            return no("only a language model that is still to be trained has texts to lay end to end")
        if self.separator >= spec.data.classes:
            return no(f"the vocabulary of {spec.data.classes} has no token {self.separator} to stand between texts")
        if spec.train.team.sync.startswith("async"):
            return no("a parameter server does not say which texts share a row; use another sync")
        if not spec.data.padding:
            return no("there is no padding in the rows")
        return YES if spec.data.joins <= _WORTH else no("texts are too long to share rows: hardly any would be saved")

    def rewrite(self, spec: Spec) -> Spec:
        """As many rows fewer, in the data and in a mini-batch, and hardly any padding."""
        data = spec.data
        kept = (1 - data.padding) / data.joins
        rows = max(1, round(data.rows * data.joins))
        return _with_rows(spec, rows, max(0.0, 1 - kept), data.joins)

    def pull(self, work: Work) -> Work:
        """Join the training rows; refuse a model, or texts, for which they could not be told apart."""
        train = work.data.train
        if train.groups is not None or train.weight is not None or train.texts is not None:
            raise BadInputError(
                "Rows with groups or weights of their own cannot be joined.", "leave pack or those columns out."
            )
        separator, inside = (None, True) if _takes_texts(work.model) else (self._separator(train), False)
        short = joined(train, separator)
        short = short if inside else replace(short, texts=None)
        if len(short) >= len(train):
            raise NoEffectError("No two texts fit into one row.", "leave pack out.")
        padding, _ = padding_of(short.y)
        spec = _with_rows(work.spec, len(short), padding, len(short) / len(train))
        return work.having(data=replace(work.data, train=short), spec=spec)

    def _separator(self, rows: Arrays) -> int | None:
        """The token to put between texts, None if all begin with one of their own."""
        last = rows.y[range(len(rows)), lengths(rows.y) - 1]
        if self.separator >= 0:
            return self.separator
        if (rows.x[:, 0] == rows.x[0, 0]).all():
            return None
        if (last == last[0]).all():
            return int(last[0])
        raise unlike("its forward() takes no texts, and no token shows where one begins; give pack a separator")


def _with_rows(spec: Spec, rows: int, padding: float, share: float) -> Spec:
    batch = max(1, round(spec.train.batch * share))
    data = replace(spec.data, rows=rows, padding=padding, joins=1.0)
    return replace(spec, data=data, train=replace(spec.train, batch=batch))


def _takes_texts(model: nn.Module) -> bool:
    """Whether the model's `forward` says that it keeps texts apart which share a row."""
    return "texts" in inspect.signature(model.forward).parameters
