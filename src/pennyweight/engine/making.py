"""Make the model of a plan, lever by lever, sharing what plans have in common."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

from pennyweight import backends
from pennyweight.catalog import machine
from pennyweight.catalog.devices import cores
from pennyweight.core import Cost, Form, Phase, Stage
from pennyweight.cost.count import flop, wire_byte
from pennyweight.cost.meter import meter
from pennyweight.cost.wires import waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pennyweight.core import Lever, Plan, Spec, Work
    from pennyweight.cost.meter import Measurement

    Note = Callable[[Phase, str, Measurement], None]

_KEPT = 48
_WORTH_SHARING_FLOP = 2e10
_NOTHING = Cost()


@dataclass(frozen=True, slots=True)
class Made:
    """A model on its way, and what it has cost so far: training (data levers included) and compressing."""

    work: Work
    train: Cost = _NOTHING
    tune: Cost = _NOTHING


@final
class Maker:
    """Makes models; what two plans begin with alike is made once and kept (the last 48 stages made)."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._kept: dict[tuple[object, ...], Made] = {}

    def make(self, plan: Plan) -> Made:
        """Everything up to serving: data prepared, model trained and compressed; SERVE levers are pulled as well."""
        return self._upto(plan, plan.levers)

    def missing(self, plan: Plan) -> tuple[Phase, ...]:
        """The phases that making a plan would have to pay for."""
        before = [levers for levers in _prefixes(plan.levers) if (levers, plan.fidelity, plan.seed) in self._kept]
        longest = max(map(len, before), default=-1)
        rest = plan.levers[max(longest, 0) :]
        compress = any(lever.stage is Stage.COMPRESS for lever in rest) or self._trains_more(plan, longest)
        train = longest < sum(lever.stage < Stage.COMPRESS for lever in plan.levers)
        return (Phase.TRAIN,) * train + (Phase.COMPRESS,) * compress

    def _trains_more(self, plan: Plan, made: int) -> bool:
        """Whether a lever of serving, not among the first `made`, tunes or trains a model of its own."""
        if not any(lever.stage > Stage.COMPRESS for lever in plan.levers[max(made, 0) :]):
            return False
        key = (plan.levers[:made], plan.fidelity, plan.seed)
        before = self._kept[key].work.spec.tune_rows if made >= 0 else 0.0
        return plan.spec.tune_rows > before

    def _upto(self, plan: Plan, levers: tuple[Lever, ...]) -> Made:
        key = (levers, plan.fidelity, plan.seed)
        if key not in self._kept:
            last = levers[-1] if levers else None
            trained = last is None or last.stage < Stage.COMPRESS
            made = self._train(plan, levers) if trained else self._pull(self._upto(plan, levers[:-1]), levers[-1])
            self._kept[key] = made
            self._forget()
        return self._kept[key]

    def _train(self, plan: Plan, levers: tuple[Lever, ...]) -> Made:
        backend = backends.load(plan.job.backend)
        workers = plan.spec.train.team.workers
        with threads_for(plan.spec), meter(children=workers > 1) as window:
            work = backend.open(plan.job, fidelity=plan.fidelity, seed=plan.seed)
            for lever in levers:
                work = lever.pull(work)
            work = trained(work)
        self._note(Phase.TRAIN, " → ".join(map(str, levers)), window.measured)
        return Made(work, train=window.measured.cost() + waited(work.spec))

    def _pull(self, made: Made, lever: Lever) -> Made:
        with threads_for(made.work.spec), meter() as window:
            work = lever.pull(made.work)
        self._note(Phase.COMPRESS, str(lever), window.measured)
        return replace(made, work=work, tune=made.tune + window.measured.cost())

    def _forget(self) -> None:
        while len(self._kept) > _KEPT:
            self._kept.pop(next(iter(self._kept)))


def _prefixes(levers: tuple[Lever, ...]) -> list[tuple[Lever, ...]]:
    return [levers[:length] for length in range(len(levers) + 1)]


@contextmanager
def threads_for(spec: Spec) -> Generator[None]:
    """Let torch train on all cores where a step is worth sharing, on one where threads would mostly wait; then restore.

    A core does some 10¹¹ FLOP a second, and handing work to another costs tens of microseconds per operator.
    """
    if spec.form is not Form.MODULE:
        yield
        return
    import torch

    before = torch.get_num_threads()
    step_flop = 3 * sum(map(flop, spec.ops)) * spec.train.batch
    torch.set_num_threads(cores() if step_flop > _WORTH_SHARING_FLOP else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def waited(spec: Spec) -> Cost:
    """What workers would wait for the bytes they have sent, on the link that their team has.

    Here they talk within one machine, where nothing is waited for; so it is no entry of the ledger.
    """
    team = spec.train.team
    return waiting(wire_byte(spec), team, machine()) if team.workers > 1 else _NOTHING


def trained(work: Work) -> Work:
    """Train the work's model as its spec says; the spec then holds the epochs it took and how trees grew.

    Where workers train together, it holds the bytes that they have sent each other, too.
    """
    settings = work.spec.train
    if work.trained:
        return work
    if work.spec.form is Form.ESTIMATOR:
        from pennyweight.train.estimator import fit_estimator

        model = fit_estimator(work.model, work.data.train, settings, seed=work.seed)
        grown = work.having(model=model, trained=True)
        return grown.having(spec=replace(work.spec, ops=backends.load("sklearn").table(grown)))
    from pennyweight.train.augmenting import augmenter
    from pennyweight.train.distributed.forked import train_together
    from pennyweight.train.loop import How, fit
    from pennyweight.train.server.order import is_asynchronous

    how = How(seed=work.seed, task=work.spec.data.task, augment=augmenter(work.spec))
    if settings.team.workers < 2 or is_asynchronous(settings.team):
        done = fit(work.model, work.data.train, settings, how=how)
        sent_byte = done.sent_byte
    else:
        together = train_together(work.model, work.data.train, settings, how)
        done, sent_byte = together.trained, together.sent_byte
    team = replace(settings.team, sent_byte=sent_byte)
    spec = replace(work.spec, train=replace(settings, epochs=done.epochs, team=team))
    return work.having(model=done.model, spec=spec, trained=True)
