"""The guarantee, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.units import percent

if TYPE_CHECKING:
    from pennyweight.core.run import Run
    from pennyweight.core.score import Floor, Score


@dataclass(frozen=True, slots=True)
class Trial:
    """One test in the fixed sequence: a run, its score and the control's on fresh examples, and the p-value."""

    run: Run
    score: Score
    control: Score
    p_value: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Certificate:
    """Which run holds which floor, by which test, on how many fresh examples, at what level.

    `run` is the certified winner (the control if nothing passed, then `held` is False); `trials` are the tests in the
    order they were made; `n` is the number of fresh examples; `needed` estimates how many would have been needed for
    the cheapest promising candidate that did not pass (None if none could help).
    """

    run: Run
    floor: Floor
    test: str
    n: int
    alpha: float
    held: bool
    trials: tuple[Trial, ...] = ()
    needed: int | None = None

    @property
    def p_value(self) -> float:
        """The p-value of the winner, 1 if nothing passed."""
        return next((trial.p_value for trial in self.trials if self.held and trial.run == self.run), 1.0)

    def explain(self) -> str:
        """The certificate in words."""
        if self.held:
            return (
                f"{self.run.plan}: {self.floor} — holds (p = {self.p_value:.2g} ≤ {self.alpha:g}, {self.test}, "
                f"{self.n} fresh examples)."
            )
        more = f" About {self.needed} fresh examples would be needed to be sure." if self.needed else ""
        return (
            f"No cheaper run could be certified for {self.floor} at level {percent(self.alpha, 0)} with {self.n} "
            f"fresh examples; the control stands.{more}"
        )
