"""What came of a healing, as values; `facts` is all of it, for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, final


@final
@dataclass(frozen=True, slots=True)
class Healed:
    """Perplexities on what is held out: of the student that came in, of the one written, and of the teacher.

    `tokens` were learnt from in `updates` changes of `learning` weights, of which the one after `best` was kept;
    `points` are the perplexities after so many changes. The cost is that of all visits; `most_byte` is the memory
    promised, `peak_byte` that held.
    """

    before: float
    after: float
    teacher: float
    tokens: int
    held_tokens: int
    updates: int
    best: int
    points: tuple[tuple[int, float], ...]
    learning: int
    parameters: int
    why: str
    cpu_s: float
    seconds: float
    joule: float
    joule_basis: str
    usd: float
    peak_byte: float
    most_byte: float

    @property
    def recovered(self) -> float:
        """The share of what was lost, in nats a token, that came back; not a number where nothing was lost."""
        lost = math.log(self.before / self.teacher)
        return math.log(self.before / self.after) / lost if lost > 0 else math.nan

    def facts(self) -> dict[str, Any]:
        """All of it."""
        return {**asdict(self), "recovered": self.recovered}
