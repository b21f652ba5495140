"""One use of the certify split, and what it leaves of the level for the next."""

# no deferred annotations: a stored look is read back by the types of its fields
from collections.abc import Iterable
from dataclasses import dataclass

from pennyweight.core.score import Floor, Score

SPENT = 0.9
"""The share of what is left of the level that a look spends; the rest is kept for looking again."""


@dataclass(frozen=True, slots=True)
class Look:
    """One fixed sequence tested on the certify split: `runs` against `floor`, beside `control`, at `level`.

    `number` counts the looks at this split from 1; runs are named by their artifacts, `aside` are those that were there
    and not worth testing. There is one of `p_values` for each run that was tested, the last of which may have failed;
    `scores` are the control's and theirs on the `n` examples. `test` names the test, `needed` says how many examples
    might have certified the run that failed.
    """

    number: int
    floor: Floor
    control: str
    runs: tuple[str, ...]
    aside: tuple[str, ...]
    level: float
    p_values: tuple[float, ...] = ()
    scores: tuple[Score, ...] = ()
    test: str = ""
    n: int = 0
    needed: int | None = None

    @property
    def passed(self) -> tuple[str, ...]:
        """The runs that keep the floor."""
        return tuple(run for run, p in zip(self.runs, self.p_values, strict=False) if p <= self.level)


def left(looks: Iterable[Look]) -> float:
    """The share of the level that is left for the next look after `looks`.

    Whatever is tested next because of what passed and what failed so far, all looks together certify a run that breaks
    its floor with a chance of no more than the level. A look spends `SPENT` of what is left. If all of its runs passed,
    what it spent was not needed and goes on to the next, as in the fallback procedure (Wiens 2003; Wiens, Dmitrienko
    2005). The rest is divided by the number of answers the look could have given, as the next sequence may be another
    for each of them (the description length of Dwork, Feldman, Hardt, Pitassi, Reingold, Roth 2015: Generalization in
    adaptive data analysis and holdout reuse).
    """
    share = 1.0
    for look in looks:
        spent = SPENT * share
        unneeded = spent if len(look.passed) == len(look.runs) else 0.0
        share = (share - spent) / (len(look.runs) + 1) + unneeded
    return share
