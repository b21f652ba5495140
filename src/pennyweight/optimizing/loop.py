"""The whole product in one loop: measure the control, search under the floor, certify the winner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pennyweight import levers
from pennyweight.certify import certify, reachable
from pennyweight.control.forecast import Pace, chance
from pennyweight.control.stop import Budget, Prospect, worth
from pennyweight.core import YES, Cost, Front, Objective, Plan, Run, Score, Stage
from pennyweight.engine import Book, Engine, Evidence, Shop
from pennyweight.errors import BadInputError, CorruptError, PennyweightError, StorageError, UnknownNameError
from pennyweight.search.base import Scope
from pennyweight.search.find import load as load_strategy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pennyweight.core import Job, Lever, Verdict
    from pennyweight.search.base import Strategy

_PATIENCE = 8  # plans in a row that are not worth a trial end the search


@dataclass(frozen=True)
class Search:
    """How to search: the strategy's name, the levers to choose from (None: all that fit), the seed.

    The `objective` "train" counts finding and training only, as for a model that is trained again and again, and looks
    at levers of the stages DATA and TRAIN; "total" counts the whole horizon.
    """

    strategy: str = "greedy"
    levers: Collection[str] | None = None
    seed: int = 0
    objective: str = Objective.TOTAL.value

    def of(self, job: Job) -> Job:
        """The job as this search sees it; raises `UnknownNameError` for another objective."""
        if self.objective not in set(Objective):
            raise UnknownNameError.of("objective", self.objective, tuple(Objective))
        return job.to_train() if self.objective == Objective.TRAIN else job


def optimize(job: Job, search: Search | None = None, *, shop: Shop | None = None) -> Front:
    """Find the cheapest way to do `job` that keeps its floor, and certify it.

    Every plan is carried out in `shop` (default: the one in `store.home()`), where a plan that is on the ledger is not
    done again, and no run is certified twice. Ctrl-C ends the search and returns the front so far, without a
    certificate. Raises `FloorUnreachableError` if not even the control keeps an absolute floor, `OverBudgetError` if
    the limits do not allow even the control.
    """
    how, place = search or Search(), shop or Shop.at()
    job = how.of(job)
    engine = Engine(job, place)
    scope = scope_of(engine, how)
    budget = Budget.afford(job.limits, engine.effort(scope.control))
    control = engine.execute(scope.control)
    reachable(job.floor, control.score)
    strategy = load_strategy(how.strategy).start(scope)
    strategy.tell(control)
    front = Front.of(control)
    try:
        for run in _runs(engine, strategy, budget, front):
            front = front.add(run)
    except KeyboardInterrupt:
        place.watch("stop", text="Interrupted; what was finished is kept, and a second run goes on from there.")
        return replace(front, spent=engine.bill())
    certificate = certify(front, Evidence(engine), book=Book(job, place))
    return replace(front, certificate=certificate, spent=engine.bill())


def foresee(job: Job, search: Search | None = None, *, shop: Shop | None = None) -> Front:
    """The predicted front of single levers, without carrying out anything.

    Quality cannot be predicted: every run carries the control's unknown score.
    """
    how = search or Search()
    engine = Engine(how.of(job), shop or Shop.at())
    scope = scope_of(engine, how)
    unknown = Score(job.floor.metric, 0.0, 0.0, 0)
    front = Front.of(Run(scope.control, engine.foresee(scope.control), unknown))
    for plan in _on_paper(scope):
        front = front.add(Run(plan, scope.predict(plan), unknown))
    return front


def _on_paper(scope: Scope) -> list[Plan]:
    """Every lever alone, and the mildest settings together, as long as each lowers the predicted bill."""
    alone = [scope.control.then(lever) for lever in scope.levers if lever.fits(scope.job.spec)]
    together, tried = scope.control, set[str]()
    for lever in sorted(scope.levers, key=lambda lever: lever.stage):
        if lever.name not in tried and lever.fits(together.spec):
            tried.add(lever.name)
            more = together.then(lever)
            together = more if scope.predict(more) < scope.predict(together) else together
    return [*alone, together] if len(together.levers) > 1 else alone


def scope_of(engine: Engine, how: Search) -> Scope:
    """What the search may choose from; raises `UnknownNameError` for a lever there is none of."""
    names = how.levers if how.levers is not None else levers.find()
    kinds = [levers.load(name) for name in names]
    if engine.job.objective is Objective.TRAIN and how.levers is None:
        kinds = [kind for kind in kinds if kind.stage <= Stage.TRAIN]
    choices: list[Lever] = [lever for kind in kinds for lever in kind.choices(engine.job)]
    if not choices:
        raise BadInputError("None of these levers has a setting for this job.", "see pennyweight levers RECIPE.")
    return Scope(engine.job, tuple(choices), engine.foresee, engine.job.floor, how.seed)


def _runs(engine: Engine, strategy: Strategy, budget: Budget, front: Front) -> Iterator[Run]:
    """The runs of a search, until the strategy, the budget or the worth of another trial comes to an end."""
    idle, pace = 0, Pace()
    while idle < _PATIENCE and (plan := strategy.ask()) is not None:
        if not (allowed := budget.spend(engine.spent, len(front.seen)).allows(pace.expect(engine.effort(plan)))):
            engine.shop.watch("stop", text=allowed.reason)
            return
        foreseen, before = engine.effort(plan), engine.spent
        if not (weighed := _worth(engine, front, plan)):
            engine.shop.watch("struck", text=f"not worth a trial: {plan}", reason=weighed.reason)
            idle += 1
        elif (run := _try(engine, plan)) is not None:
            idle, front = 0, front.add(run)
            pace = pace.learn(foreseen, engine.spent + before * -1)
            strategy.tell(run)
            yield run


def _try(engine: Engine, plan: Plan) -> Run | None:
    """Carry out a plan; one that cannot be carried out is said and costs what it cost.

    Where nothing can be kept any more, or what was kept is damaged, the next plan would fare no better: that is raised.
    """
    try:
        return engine.execute(plan)
    except (StorageError, CorruptError):
        raise
    except PennyweightError as error:
        engine.shop.watch("struck", text=f"{plan}: {error.problem}")
        return None


def _worth(engine: Engine, front: Front, plan: Plan) -> Verdict:
    """Whether what a plan may still save over the horizon is more than trying it costs.

    Where training is all that counts, it is to be done more than once: whatever may be cheaper is worth a trial.
    """
    if plan.is_control:
        return YES
    best, floor = front.best(engine.job.floor).plan, engine.job.floor
    likely = chance(plan, front.seen, floor, front.control.score)
    effort = Cost() if engine.job.objective is Objective.TRAIN else engine.effort(plan)
    return worth(engine.foresee(best), [Prospect(engine.foresee(plan.at(1.0)), likely, effort)])
