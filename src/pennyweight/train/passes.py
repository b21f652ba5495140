"""Which rows come when: shuffled passes over the data in mini-batches, some of which add up to one step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from pennyweight.core import TrainSpec
    from pennyweight.train.how import How
    from pennyweight.train.team import Team


@final
@dataclass(frozen=True, slots=True)
class Portion:
    """The rows of one mini-batch, the share its mean loss has in the change it adds to, and whether it is the last."""

    rows: Tensor
    share: float
    last: bool


@final
class Passes:
    """`steps` mini-batches in shuffled passes over `rows` rows; this worker's share of them, if there are several."""

    def __init__(self, rows: int, bounds: list[tuple[int, int]], settings: TrainSpec, how: How) -> None:
        import torch

        self._rows, self._bounds, self._team = rows, bounds, how.team
        self._group = settings.accumulate
        self._pace, self._start = settings.pace, settings.start
        self._shuffle: Generator = torch.Generator().manual_seed(how.seed)
        self._drawn: Tensor | None = None
        self._order: Tensor | None = None
        self._at = 0
        self.step = 0
        self.steps = max(1, round(settings.epochs * len(bounds)))

    @classmethod
    def over(cls, rows: int, settings: TrainSpec, how: How, *, alone: bool) -> Passes:
        """Passes over `rows` rows as the settings say; no batch is one row where that may not stand `alone`."""
        mine = _share(rows, how.team)
        return cls(rows, _bounds(mine, settings.batch, alone=alone), settings, how)

    @property
    def updates(self) -> int:
        """How often the weights change in all steps."""
        whole, rest = divmod(self.steps, len(self._bounds))
        return whole * math.ceil(len(self._bounds) / self._group) + math.ceil(rest / self._group)

    @property
    def done(self) -> float:
        """The share of all steps that came before the last."""
        return max(0, self.step - 1) / self.steps

    @property
    def epoch(self) -> int:
        """The pass, from 1, that the last step was part of."""
        return max(0, self.step - 1) // len(self._bounds) + 1

    @property
    def ended(self) -> bool:
        """Whether the last step was the last of its pass."""
        return self._order is not None and self._at == self._length()

    @property
    def within(self) -> bool:
        """Whether a pass has begun and not been closed."""
        return self._order is not None

    def next(self) -> Portion:
        """The next mini-batch; opens a pass if none is open."""
        if self._order is None:
            self._drawn = self._draw()
            self._order = self._team.share(self._drawn)
            self._at = 0
        start, stop = self._bounds[self._at]
        rows = self._order[start:stop]
        share, last = self._portion(stop - start)
        self._at, self.step = self._at + 1, self.step + 1
        return Portion(rows, share, last)

    def close(self) -> None:
        """End the pass."""
        self._drawn = self._order = None
        self._at = 0

    def state(self) -> dict[str, Any]:
        """All that the next mini-batches depend on."""
        return {"step": self.step, "at": self._at, "order": self._drawn, "shuffle": self._shuffle.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.step, self._at, self._drawn = state["step"], state["at"], state["order"]
        self._order = None if self._drawn is None else self._team.share(self._drawn)
        self._shuffle.set_state(state["shuffle"])

    def _draw(self) -> Tensor:
        """The rows of a pass; while training goes by their order, those that have come up, more than once."""
        import torch

        up = 1.0
        if self._pace:
            up = min(1.0, self._start + (1 - self._start) * self.step / (self._pace * self.steps))
        rows = max(2, round(up * self._rows))
        if rows >= self._rows:
            return torch.randperm(self._rows, generator=self._shuffle)
        times = math.ceil(self._rows / rows)
        parts = [torch.randperm(rows, generator=self._shuffle) for _ in range(times)]
        return torch.cat(parts)[: self._rows]

    def _length(self) -> int:
        """The mini-batches of the pass that is open; the last pass may be cut short."""
        return min(len(self._bounds), self._at + self.steps - self.step)

    def _portion(self, rows: int) -> tuple[float, bool]:
        if self._group == 1:
            return 1.0, True
        end = self._length()
        first = self._at - self._at % self._group
        final = min(first + self._group, end) - 1
        return rows / (self._bounds[final][1] - self._bounds[first][0]), self._at == final


def _share(rows: int, team: Team) -> int:
    import torch

    return rows if team.size == 1 else len(team.share(torch.arange(rows)))


def _bounds(rows: int, batch: int, *, alone: bool) -> list[tuple[int, int]]:
    """First and last row of each batch; the last may be short, but is not one row where it may not stand `alone`."""
    starts = list(range(0, rows, batch))
    if not alone and len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))
