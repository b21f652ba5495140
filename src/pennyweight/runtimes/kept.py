"""Answers that are kept: a session that rounds what it is asked, and a memory of the latest rows and their answers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pennyweight.core import ServeSpec, Session

    Key = tuple[str, tuple[int, ...], bytes]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """A session asked about the nearest multiples of `grid`: near rows have one answer, whoever was asked first.

    So an answer depends on its own row alone, and what was certified of it holds whatever was asked before.
    """

    session: Session
    grid: float

    def predict(self, x: Any) -> Any:
        """Answer a batch; whole numbers stay as they are."""
        return self.session.predict(rounded(np.asarray(x), self.grid))


def served(session: Session, serve: ServeSpec) -> Session:
    """The session as it is served: rounding, where the spec says so."""
    return Rounded(session, serve.grid) if serve.grid else session


def rounded(x: NDArray[Any], grid: float) -> NDArray[Any]:
    """The nearest multiples of `grid`, in the type of `x`; 0: `x` itself."""
    if not grid or not np.issubdtype(x.dtype, np.floating):
        return x
    scaled: NDArray[Any] = np.divide(x, grid, dtype=x.dtype)
    np.rint(scaled, out=scaled)
    scaled *= grid
    scaled += 0.0  # no -0.0: it would be another row
    return scaled


@final
@dataclass(slots=True, eq=False)
class Kept:
    """The answers to the latest `most` rows, by the bytes of the row and by who asked; the one unused longest goes.

    Nobody is answered, or answered sooner, by what somebody else has asked: that would tell them that it was.
    """

    most: int
    grid: float = 0.0
    _answers: OrderedDict[Key, NDArray[Any]] = field(default_factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, rows: NDArray[Any], whose: str = "") -> NDArray[Any] | None:
        """The answers to all of `rows` (B, …), or None if one of them is not kept."""
        keys = self._keys(rows, whose)
        answers = self._answers
        if not keys or any(key not in answers for key in keys):
            return None
        for key in keys:
            answers.move_to_end(key)
        return np.stack([answers[key] for key in keys])

    def keep(self, rows: NDArray[Any], answers: NDArray[Any], whose: str = "") -> None:
        """Remember what the rows of a request were answered."""
        for key, answer in zip(self._keys(rows, whose), answers, strict=True):
            self._answers[key] = answer.copy()  # a view would hold the whole batch
            self._answers.move_to_end(key)
        while len(self._answers) > self.most:
            self._answers.popitem(last=False)

    def forget(self, rows: NDArray[Any], whose: str = "") -> None:
        """Keep no answers to these."""
        for key in self._keys(rows, whose):
            self._answers.pop(key, None)

    def _keys(self, rows: NDArray[Any], whose: str) -> list[Key]:
        plain = np.ascontiguousarray(rounded(rows, self.grid))
        shape = plain.shape[1:]
        return [(whose, shape, row.tobytes()) for row in plain]


def hit_share(trace: Iterable[NDArray[Any]], most: int, grid: float = 0.0) -> float:
    """The share of requests of a trace, arrays (B, …) in the order in which they came, that `Kept` would answer."""
    kept, hits, count = Kept(most, grid), 0, 0
    for rows in trace:
        count += 1
        if kept.find(rows) is not None:
            hits += 1
        else:
            kept.keep(rows, np.zeros((len(rows), 1), np.float32))
    return hits / count if count else 0.0
