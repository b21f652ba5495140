"""The guarantee: fixed-sequence tests along the front, on data the search never saw."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, final

from pennyweight.core import Certificate, Look, Slack, Trial
from pennyweight.core.look import SPENT, left
from pennyweight.errors import BadInputError, FloorUnreachableError
from pennyweight.evals import load
from pennyweight.evals.paired import PairedTest, needed, p_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pennyweight.core import Floor, Front, Run, Score

_HOPELESS = -1.0  # standard errors below the floor on the select split
_NO_TEST = "none: no cheaper run keeps the floor on the select split"


class Outcomes(Protocol):
    """What the runs answer. `fresh` is asked for a run only when the sequence reaches it: it looks at untouched data.

    `y_select` and `y_certify` are the true answers, `groups_select` and `groups_certify` the groups of examples that
    depend on each other (None if all are independent); predictions are as `evals` takes them.
    """

    @property
    def y_select(self) -> NDArray[Any]:
        """True answers of the select split."""

    @property
    def y_certify(self) -> NDArray[Any]:
        """True answers of the certify split."""

    @property
    def groups_select(self) -> NDArray[Any] | None:
        """Groups of the select split."""

    @property
    def groups_certify(self) -> NDArray[Any] | None:
        """Groups of the certify split."""

    def seen(self, run: Run) -> NDArray[Any]:
        """What the run answers on the select split."""

    def fresh(self, run: Run) -> NDArray[Any]:
        """What the run answers on the certify split."""


@dataclass(frozen=True, slots=True)
class _Hope:
    """A cheaper run and how surely it keeps the floor on the select split, where the search has looked already."""

    run: Run
    test: PairedTest

    def sureness(self, control: PairedTest) -> float:
        """Standard errors between the run and the floor, when it clears the floor no further than the control does.

        A standard error stands for what was seen and one for what was not: of few examples that a run answers unlike
        the control, luck decides which way. A run that answers just like it has only the second kind.
        """
        clear = min(self.test.effect, control.effect)
        alike = (self.test.effect, self.test.se) == (control.effect, control.se)
        spread = control.se if alike else math.hypot(self.test.se, control.se)
        return clear / spread if spread > 0 else math.copysign(math.inf, clear)


class Book(Protocol):
    """The memory of every look at the certify split of one job, whatever the floor."""

    def looks(self) -> Sequence[Look]:
        """All of them, in order."""

    def add(self, look: Look) -> bool:
        """Keep one more for good; False if its number is taken, for then somebody else looked at the same time."""


@final
class Blank:
    """A book for a split that nobody has looked at; it forgets with the process."""

    def __init__(self) -> None:
        self._looks: list[Look] = []

    def looks(self) -> Sequence[Look]:
        """What was added, in order."""
        return tuple(self._looks)

    def add(self, look: Look) -> bool:
        """Keep one more."""
        self._looks.append(look)
        return True


def certify(front: Front, outcomes: Outcomes, *, alpha: float | None = None, book: Book | None = None) -> Certificate:
    """Find the cheapest run on the front of which it is certain, but for a chance of `alpha`, that it keeps the floor.

    `alpha` (default: one minus the floor's confidence) bounds the chance that *any* certified run breaks the floor.
    The runs cheaper than the control are put in a sequence on the select split, the surest first and each next one
    cheaper; each is then tested at the same level on the certify split, until the first that fails. As the sequence
    is fixed before that split is touched, testing many costs no level (Learn then Test, Angelopoulos et al. 2021;
    Pareto Testing, Laufer-Goldshtein et al. 2023). The last to pass wins; if none does, the control stands.

    `book` remembers what was tested on this split before (default: nothing). A verdict stands: no run is tested twice
    for one floor, and without new runs the split is not touched. New ones are tested at the level that is `left`, so
    that `alpha` holds for all looks together. A look is in the book before anybody hears of it.
    """
    floor = front.control.plan.job.floor
    if alpha is not None:
        if not 0 < alpha < 0.5:
            raise BadInputError(f"A level of {alpha:g} is no guarantee.", "use one between 0 and 0.5, such as 0.05.")
        floor = replace(floor, confidence=1 - alpha)
    pages = Blank() if book is None else book
    while (look := _look(front, outcomes, floor, pages.looks())) is not None and not pages.add(look):
        pass  # somebody was quicker: what was just seen is forgotten, and theirs counts
    return _verdict(front, floor, pages.looks(), len(outcomes.y_certify))


def reachable(floor: Floor, control: Score) -> None:
    """Raise `FloorUnreachableError` if an absolute floor is clearly out of reach of the control.

    Clearly: even the optimistic bound on its score, at the floor's own confidence, misses the floor. A control within
    the noise of the floor passes; a lever may then still better it. A relative floor is always in its reach.
    """
    if floor.slack is not Slack.ABSOLUTE:
        return
    hopeful = control.bound(1 - floor.confidence)
    if hopeful < floor.amount if control.higher_is_better else hopeful > floor.amount:
        raise FloorUnreachableError(
            f"The job as asked reaches {control.metric} {control.mean:.4g} (± {control.se:.2g}, {control.n} examples); "
            f"the floor is {floor.amount:g}.",
            "lower the floor, ask for one relative to the control (--give-up), or give a better model or more data.",
        )


def sequence(front: Front, outcomes: Outcomes, floor: Floor, runs: Iterable[Run]) -> list[_Hope]:
    """Those of `runs` that are worth testing, the surest on the select split first, each cheaper than all before.

    A run that is no cheaper than a surer one could only end the sequence early, and so could one that is clearly below
    the floor there. How sure a run is: by how many standard errors it clears the floor, where being better than the
    control earns nothing, for on the split that the search looked at it may be luck. Runs that others beat are in it
    too: one that answers just like the control is sure.
    """
    y, groups = outcomes.y_select, outcomes.groups_select
    beside = outcomes.seen(front.control)
    most = p_value(floor, y, beside, beside, groups)
    hopes = [_Hope(run, p_value(floor, y, outcomes.seen(run), beside, groups)) for run in runs]
    chain: list[_Hope] = []
    for hope in sorted(hopes, key=lambda hope: (-hope.sureness(most), hope.test.p_value, hope.run.bill.usd)):
        if hope.sureness(most) >= _HOPELESS and (not chain or hope.run.bill < chain[-1].run.bill):
            chain.append(hope)
    return chain


def cheaper(front: Front) -> list[Run]:
    """The runs on full data that cost less than the control."""
    control = front.control
    return [run for run in front.seen if run.plan.fidelity >= 1 and run != control and run.bill < control.bill]


def _look(front: Front, outcomes: Outcomes, floor: Floor, looks: Sequence[Look]) -> Look | None:
    """Look at the certify split for what is new and cheaper than all that passed; None if that is nothing."""
    mine = _about(front, floor, looks)
    known = {name for look in mine for name in (*look.runs, *look.aside)}
    passed = {name for look in mine for name in look.passed}
    best_usd = min((run.bill.usd for run in cheaper(front) if _name(run) in passed), default=math.inf)
    runs = {_name(run): run for run in cheaper(front) if run.bill.usd < best_usd and _name(run) not in known}
    hopes = sequence(front, outcomes, floor, runs.values()) if runs else []
    if not hopes:
        return None
    level = SPENT * left(looks) * (1 - floor.confidence)
    names = tuple(_name(hope.run) for hope in hopes)
    before = Look(len(looks) + 1, floor, _name(front.control), names, tuple(sorted(runs.keys() - set(names))), level)
    return _test(before, [front.control, *(hope.run for hope in hopes)], outcomes)


def _test(look: Look, runs: Sequence[Run], outcomes: Outcomes) -> Look:
    """Test `runs`, the first of which is the control, until one fails; only here is the certify split touched."""
    metric, floor = load(look.floor.metric), replace(look.floor, confidence=1 - look.level)
    y, groups = outcomes.y_certify, outcomes.groups_certify
    beside = outcomes.fresh(runs[0])
    look = replace(look, scores=(metric.score(y, beside, groups),), n=len(y))
    for run in runs[1:]:
        answers = outcomes.fresh(run)
        test = p_value(floor, y, answers, beside, groups)
        scores, p_values = (*look.scores, metric.score(y, answers, groups)), (*look.p_values, test.p_value)
        look = replace(look, scores=scores, p_values=p_values, test=test.test)
        if test.p_value > look.level:
            return replace(look, needed=needed(floor, test))
    return look


def _verdict(front: Front, floor: Floor, looks: Sequence[Look], n: int) -> Certificate:
    """What all looks say about the runs on the front: the cheapest that passed wins, the control if none did."""
    runs = {_name(run): run for run in cheaper(front)}
    told = [
        (look, Trial(runs[name], score, look.scores[0], p, look.level))
        for look in _about(front, floor, looks)
        for name, p, score in zip(look.runs, look.p_values, look.scores[1:], strict=False)
        if name in runs
    ]
    if not told:
        return Certificate(front.control, floor, _NO_TEST, n, SPENT * (1 - floor.confidence), held=False)
    passed = [(look, trial.run) for look, trial in told if trial.passed]
    look, run = min(passed, key=lambda each: each[1].bill.usd, default=(told[-1][0], front.control))
    return Certificate(
        run,
        floor,
        look.test,
        look.n,
        look.level,
        held=bool(passed),
        trials=tuple(trial for _, trial in told),
        needed=told[-1][0].needed,
        uses=look.number - 1,
    )


def _about(front: Front, floor: Floor, looks: Iterable[Look]) -> list[Look]:
    """The looks for this floor beside this control."""
    return [look for look in looks if look.floor == floor and look.control == _name(front.control)]


def _name(run: Run) -> str:
    return run.artifact or run.plan.key
