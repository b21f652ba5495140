"""A fair sample of the rows that passed by since the last look at drift, however many they were."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.serve.watch.reference import flat, narrow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Pair = tuple[NDArray[Any], NDArray[Any]]


@final
@dataclass(slots=True, eq=False)
class Window:
    """Rows (N, D) and the answers to them (N, K), at most `size`; each row that was added has the same chance.

    Every row draws a number, and those of the smallest numbers stay. Rows that are wider or narrower than the first
    ones, or not finite, are left out: nothing could be said about them.
    """

    size: int
    width: tuple[int, int] | None = None  # of rows and answers; the first ones' unless it is said
    rng: np.random.Generator | None = None  # made when it is needed: importing it takes memory
    _lots: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), init=False)
    _rows: NDArray[Any] | None = field(default=None, init=False)
    _answers: NDArray[Any] | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self._lots)

    def add(self, pairs: Iterable[Pair]) -> None:
        """Take in rows (B, …) and the answers (B, …) to them."""
        found = [pair for each in pairs if self._fits(pair := (narrow(flat(each[0])), flat(each[1])))]
        if not found:
            return
        rows, answers = (np.concatenate([pair[n] for pair in found]).astype(np.float32) for n in (0, 1))
        fine = np.isfinite(rows).all(axis=1) & np.isfinite(answers).all(axis=1)
        self._mix(rows[fine], answers[fine])

    def take(self) -> Pair | None:
        """The rows and the answers, if there are as many as wanted, and begin anew; None if there are fewer."""
        if len(self) < self.size or self._rows is None or self._answers is None:
            return None
        found = self._rows, self._answers
        self._lots, self._rows, self._answers = np.zeros(0), None, None
        return found

    def _fits(self, pair: Pair) -> bool:
        width = pair[0].shape[1], pair[1].shape[1]
        self.width = self.width or width
        return len(pair[0]) == len(pair[1]) and width == self.width

    def _mix(self, rows: NDArray[Any], answers: NDArray[Any]) -> None:
        self.rng = self.rng or np.random.default_rng(0)
        lots = np.append(self._lots, self.rng.random(len(rows)))
        if self._rows is not None and self._answers is not None:
            rows, answers = np.concatenate([self._rows, rows]), np.concatenate([self._answers, answers])
        stay = np.sort(np.argsort(lots)[: self.size])
        self._lots, self._rows, self._answers = lots[stay], rows[stay], answers[stay]
