"""Bayesian search: a tree-structured Parzen estimator over the settings of all levers, the floor as its constraint."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pennyweight.errors import MissingExtraError
from pennyweight.search.base import HOLDS, Strategy
from pennyweight.search.lattice import Lattice

if TYPE_CHECKING:
    import optuna

    from pennyweight.core import Run
    from pennyweight.search.base import Steps
    from pennyweight.search.lattice import Point

_PAPER = 8  # trials before the estimator has seen enough to suggest
_DRAWS = 12  # suggestions it makes for one that is tried
_PATIENCE = 20  # trials in a row without a cheaper run that keeps the floor


@final
class Bayes(Strategy):
    """Let Optuna's TPE sampler suggest points (Bergstra et al. 2011; with constraints, Watanabe & Hutter 2023).

    Of a dozen suggestions, and of the points one lever away from the best run so far until eight trials are made, the
    one that promises most on paper is tried. If no suggestion is new, fits, and promises to undercut that run, points
    near it are looked at. The search ends when there is none of those either, or after 20 trials in a row in vain.
    """

    def steps(self) -> Steps:
        """Yield the control, then one suggestion after the other."""
        control = yield self.scope.control
        if control is None:
            return
        self._lattice, self._study = Lattice(self.scope, control.score), _study(self.scope.seed)
        best, here, vain = control, self._lattice.origin, 0
        self._seen = {here}
        self._note(here, control)
        while vain < _PATIENCE and (point := self._suggest(here)) is not None:
            vain += 1
            self._seen.add(point)
            plan = self._lattice.plan(point)
            run = (yield plan) if plan else None
            if run is None:
                continue
            self._note(point, run)
            if point in self._lattice.held and run.bill < best.bill:
                best, here, vain = run, point, 0

    def _suggest(self, here: Point) -> Point | None:
        """The next point to try, None if nothing promises to undercut the run at `here`."""
        lattice = self._lattice
        near = lattice.changes(here) if len(self._seen) <= _PAPER else ()
        for points in ([*near, *self._draw()], lattice.changes(here), lattice.swaps(here)):
            worth = {point: lattice.worth_usd(point, here) for point in points if point not in self._seen}
            best = max(worth, key=lambda point: worth[point], default=here)
            if worth.get(best, 0.0) > 0:
                return best
        return None

    def _draw(self) -> list[Point]:
        """What the estimator suggests; no trial of it is kept, for a point is noted once it has an outcome."""
        trials = [self._study.ask() for _ in range(_DRAWS)]
        points = [self._point(trial) for trial in trials]
        for trial in trials:
            self._study.tell(trial, state=_state("FAIL"))
        return points

    def _note(self, point: Point, run: Run) -> None:
        """Tell the study, and the lattice, how a point did."""
        chance = self._lattice.learn(point, run.score)
        self._study.enqueue_trial({_name(place): at for place, at in enumerate(point)})
        trial = self._study.ask()
        self._point(trial)
        trial.set_constraint("floor", HOLDS - chance)
        self._study.tell(trial, run.bill.usd)

    def _point(self, trial: optuna.Trial) -> Point:
        return tuple(
            trial.suggest_categorical(_name(place), range(len(group) + 1))
            for place, group in enumerate(self._lattice.groups)
        )


def _name(place: int) -> str:
    return f"lever {place}"


def _study(seed: int) -> optuna.Study:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError.of("optuna", "search") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_PAPER))


def _state(name: str) -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState[name]
