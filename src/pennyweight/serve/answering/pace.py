"""How long a batch takes, learned while serving: seconds = a + b · rows, the last few hundred batches counting most."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

_FADE = 0.995  # what a batch still counts after the next one
_LEAST_SPREAD = 1e-9


@final
@dataclass(slots=True)
class Pace:
    """Least squares with forgetting on (rows, seconds); constant time and memory per batch."""

    first_s: float = 1e-3
    weight: float = field(default=0.0, init=False)
    rows: float = field(default=0.0, init=False)
    seconds: float = field(default=0.0, init=False)
    squares: float = field(default=0.0, init=False)
    products: float = field(default=0.0, init=False)
    line: tuple[float, float] = field(init=False)  # the seconds of any batch, and those that each row adds

    def __post_init__(self) -> None:
        """Begin with what is said of a batch that nobody has seen."""
        self.line = self.first_s, 0.0

    def saw(self, rows: int, seconds: float) -> None:
        """Learn that a batch of `rows` took `seconds`."""
        self.weight = _FADE * self.weight + 1
        self.rows = _FADE * self.rows + rows
        self.seconds = _FADE * self.seconds + seconds
        self.squares = _FADE * self.squares + rows * rows
        self.products = _FADE * self.products + rows * seconds
        self.line = self._line()

    def _line(self) -> tuple[float, float]:
        """The line through what was seen; neither of its numbers is less than nothing."""
        mean_rows, mean_s = self.rows / self.weight, self.seconds / self.weight
        spread = self.squares / self.weight - mean_rows**2
        if spread <= _LEAST_SPREAD * mean_rows**2:
            return 0.0, mean_s / mean_rows
        each = max(0.0, (self.products / self.weight - mean_rows * mean_s) / spread)
        start = mean_s - each * mean_rows
        return (start, each) if start > 0 else (0.0, mean_s / mean_rows)

    def expected_s(self, rows: int) -> float:
        """The seconds that a batch of `rows` will take."""
        start, each = self.line
        return start + each * rows

    def most(self, target_s: float, limit: int) -> int:
        """The most rows, at least one and at most `limit`, that are answered within `target_s`."""
        start, each = self.line
        return limit if each <= 0 else max(1, min(limit, int((target_s - start) / each)))
