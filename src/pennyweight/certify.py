"""The guarantee: fixed-sequence tests along the front, on data the search never saw."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pennyweight.core import Certificate, Slack, Trial
from pennyweight.errors import BadInputError, FloorUnreachableError
from pennyweight.evals import load
from pennyweight.evals.paired import PairedTest, needed, p_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Floor, Front, Run, Score

_NO_TEST = "none: nothing on the front is cheaper than the control"


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

    def sureness(self, most: float) -> float:
        """Standard errors between the run and the floor, when it clears the floor by `most` at the most."""
        clear = min(self.test.effect, most)
        if self.test.se > 0:
            return clear / self.test.se
        return math.copysign(math.inf, clear)


class _Tested(NamedTuple):
    trials: tuple[Trial, ...]
    test: str
    missed: PairedTest | None = None


def certify(front: Front, outcomes: Outcomes, *, alpha: float | None = None) -> Certificate:
    """Find the cheapest run on the front of which it is certain, but for a chance of `alpha`, that it keeps the floor.

    `alpha` (default: one minus the floor's confidence) bounds the chance that *any* certified run breaks the floor.
    The runs cheaper than the control are put in a sequence on the select split, the surest first and each next one
    cheaper; each is then tested at the full level on the certify split, until the first that fails. As the sequence
    is fixed before that split is touched, testing many costs no level (Learn then Test, Angelopoulos et al. 2021;
    Pareto Testing, Laufer-Goldshtein et al. 2023). The last to pass wins; if none does, the control stands.
    """
    floor = front.control.plan.job.floor
    if alpha is not None:
        if not 0 < alpha < 0.5:
            raise BadInputError(f"A level of {alpha:g} is no guarantee.", "use one between 0 and 0.5, such as 0.05.")
        floor = replace(floor, confidence=1 - alpha)
    hopes = sequence(front, outcomes, floor)
    trials, test, missed = _test(front, outcomes, floor, hopes)
    passed = [trial.run for trial in trials if trial.passed]
    return Certificate(
        run=passed[-1] if passed else front.control,
        floor=floor,
        test=test,
        n=len(outcomes.y_certify),
        alpha=1 - floor.confidence,
        held=bool(passed),
        trials=trials,
        needed=needed(floor, missed) if missed else None,
    )


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


def sequence(front: Front, outcomes: Outcomes, floor: Floor) -> list[_Hope]:
    """The cheaper runs that are worth testing, the surest on the select split first, each cheaper than all before.

    A run that is no cheaper than a surer one could only end the sequence early. How sure a run is: by how many standard
    errors it clears the floor, where being better than the control earns nothing, for on the split that the search
    looked at it may be luck. Runs that others beat are in it too: one that answers just like the control is sure.
    """
    control = front.control
    full = [run for run in front.seen if run.plan.fidelity >= 1 and run != control]
    if not (cheaper := [run for run in full if run.bill < control.bill]):
        return []
    y, groups = outcomes.y_select, outcomes.groups_select
    beside = outcomes.seen(control)
    most = p_value(floor, y, beside, beside, groups).effect
    hopes = [_Hope(run, p_value(floor, y, outcomes.seen(run), beside, groups)) for run in cheaper]
    chain: list[_Hope] = []
    for hope in sorted(hopes, key=lambda hope: (-hope.sureness(most), hope.test.p_value, hope.run.bill.usd)):
        if not chain or hope.run.bill < chain[-1].run.bill:
            chain.append(hope)
    return chain


def _test(front: Front, outcomes: Outcomes, floor: Floor, hopes: list[_Hope]) -> _Tested:
    """Test in order until one fails; the only place where the certify split is touched."""
    if not hopes:
        return _Tested((), _NO_TEST)
    metric, alpha = load(floor.metric), 1 - floor.confidence
    y, groups = outcomes.y_certify, outcomes.groups_certify
    beside = outcomes.fresh(front.control)
    control = metric.score(y, beside, groups)
    trials: list[Trial] = []
    for hope in hopes:
        answers = outcomes.fresh(hope.run)
        test = p_value(floor, y, answers, beside, groups)
        passed = test.p_value <= alpha
        trials.append(Trial(hope.run, metric.score(y, answers, groups), control, test.p_value, passed))
        if not passed:
            return _Tested(tuple(trials), test.test, test)
    return _Tested(tuple(trials), test.test)
