"""The guarantee, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.core.look import SPENT

if TYPE_CHECKING:
    from pennyweight.core.run import Run
    from pennyweight.core.score import Floor, Score


@dataclass(frozen=True, slots=True)
class Trial:
    """One test in a fixed sequence: a run, its score and the control's on fresh examples, the p-value, the level."""

    run: Run
    score: Score
    control: Score
    p_value: float
    level: float

    @property
    def passed(self) -> bool:
        """Whether the run keeps the floor."""
        return self.p_value <= self.level


@dataclass(frozen=True, slots=True)
class Certificate:
    """Which run holds which floor, by which test, on how many fresh examples, at what level.

    `run` is the certified winner (the control if nothing passed, then `held` is False); `trials` are the tests in the
    order they were made; `n` is the number of fresh examples; `uses` counts the looks at them before the one that
    decided, which is why its `level` may be small; `needed` estimates how many would have been needed for the cheapest
    promising candidate that did not pass (None if none could help).
    """

    run: Run
    floor: Floor
    test: str
    n: int
    level: float
    held: bool
    trials: tuple[Trial, ...] = ()
    needed: int | None = None
    uses: int = 0

    @property
    def alpha(self) -> float:
        """The chance of a false certificate that was asked for, all looks at the split together."""
        return 1 - self.floor.confidence

    @property
    def p_value(self) -> float:
        """The p-value of the winner, 1 if nothing passed."""
        return next((trial.p_value for trial in self.trials if self.held and trial.run == self.run), 1.0)

    def explain(self) -> str:
        """The certificate in words."""
        if self.held:
            return (
                f"{self.run.plan}: {self.floor} — holds (p = {self.p_value:.2g} ≤ {self.level:.2g}, {self.test}, "
                f"{self.n} fresh examples).{self._used()}"
            )
        if not self.trials:
            return f"No cheaper run keeps {self.floor} on the select split; none was tested, the control stands."
        more = f" About {self.needed} fresh examples would be needed to be sure." if self.needed else ""
        return (
            f"No cheaper run could be certified for {self.floor} at level {self.level:.2g} with {self.n} "
            f"fresh examples; the control stands.{more}{self._used()}"
        )

    def _used(self) -> str:
        if not self.uses:
            return ""
        return (
            f" These examples were used {'once' if self.uses == 1 else f'{self.uses} times'} before, so the test was "
            f"at level {self.level:.2g}; for the full {SPENT * self.alpha:.2g} certify on fresh ones."
        )
