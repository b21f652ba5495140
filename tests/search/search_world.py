"""A small world to search in: a job whose levers, bills and scores follow formulas, with a known optimum."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import product
from typing import TYPE_CHECKING, ClassVar

from pennyweight.core import (
    YES,
    Basis,
    Bill,
    Cost,
    DataSpec,
    Demand,
    Floor,
    Form,
    Job,
    Kind,
    Op,
    Plan,
    Run,
    Score,
    ServeSpec,
    Spec,
    Stage,
    TrainSpec,
    no,
)
from pennyweight.search import Scope
from pennyweight.search.lattice import Lattice
from pennyweight.testing.paper import Paper

if TYPE_CHECKING:
    from pennyweight.core import Lever

SPEED = {"torch": 1.0, "compiled": 0.7, "graph": 0.35, "graph8": 0.15}


@dataclass(frozen=True)
class Short(Paper):
    """Train less."""

    share: float
    stage: ClassVar[Stage] = Stage.TRAIN

    def rewrite(self, spec):
        return replace(spec, train=replace(spec.train, epochs=spec.train.epochs * self.share))


@dataclass(frozen=True)
class Round(Paper):
    """Fewer bits, which fixes the model; nothing can be thinned after."""

    bits: int
    stage: ClassVar[Stage] = Stage.COMPRESS

    def fits(self, spec):
        return YES if spec.form is Form.MODULE else no("It is rounded already.")

    def rewrite(self, spec):
        fixed = spec.map(lambda op: replace(op, weight_bits=self.bits))
        return replace(fixed, form=Form.GRAPH, tune_rows=spec.tune_rows + 10)


@dataclass(frozen=True)
class Thin(Paper):
    """Fewer channels."""

    keep: float
    stage: ClassVar[Stage] = Stage.COMPRESS

    def fits(self, spec):
        return YES if spec.form is Form.MODULE else no("Only modules can be thinned.")

    def rewrite(self, spec):
        thinner = spec.resize({name: max(1, round(width * self.keep)) for name, width in spec.widths().items()})
        return replace(thinner, tune_rows=spec.tune_rows + 200)


@dataclass(frozen=True)
class Host(Paper):
    """Another runtime; the fast ones only take fixed models, as a real one might."""

    runtime: str
    stage: ClassVar[Stage] = Stage.SERVE

    def fits(self, spec):
        need = self.runtime == "graph8"
        return no("It runs rounded models only.") if need and spec.form is Form.MODULE else YES

    def rewrite(self, spec):
        return replace(spec, serve=replace(spec.serve, runtime=self.runtime))


@dataclass(frozen=True)
class Never(Paper):
    """Fits nothing."""

    stage: ClassVar[Stage] = Stage.DATA

    def fits(self, spec):
        return no("It never fits.")

    def rewrite(self, spec):
        raise NotImplementedError


LEVERS = (
    Never(),
    *(Short(share) for share in (0.6, 0.3, 0.1)),
    *(Round(bits) for bits in (8, 6, 4)),
    *(Thin(keep) for keep in (0.9, 0.7, 0.5, 0.3, 0.2)),
    *(Host(name) for name in ("compiled", "graph", "graph8")),
)

SPEC = Spec(
    Form.MODULE,
    (
        Op("one", Kind.CONV, 1, 32, 9, 64, writes="a"),
        Op("two", Kind.LINEAR, 32, 64, 64, reads="a", writes="b"),
        Op("head", Kind.LINEAR, 64, 10, reads="b"),
    ),
    DataSpec(1000, 64.0),
    TrainSpec(epochs=10),
    ServeSpec(),
)


@dataclass(frozen=True)
class World:
    """What plans really cost and reach here: formulas with a wobble that depends on `seed` and the plan alone."""

    seed: int = 0
    give_up: float = 0.01
    wobble: float = 0.04
    error: float = 0.0
    predictions: float = 1e6
    levers: tuple[Lever, ...] = LEVERS
    asked: list[Plan] = field(default_factory=list)

    @property
    def job(self) -> Job:
        return Job("world", SPEC, Floor("accuracy", self.give_up), Demand(self.predictions), fingerprint=str(self.seed))

    @property
    def scope(self) -> Scope:
        return Scope(self.job, self.levers, self.predict, self.job.floor, self.seed)

    def predict(self, plan: Plan) -> Bill:
        return _bill(plan, Basis.PREDICTED, 1.0, self.error)

    def carry_out(self, plan: Plan) -> Run:
        """The run of a plan: its bill may be a little off what was predicted, its score follows the levers."""
        self.asked.append(plan)
        off = 1 + self.wobble * (2 * self._dice(plan, "bill") - 1)
        noise = 0.002 * (2 * self._dice(plan, "score") - 1) if plan.levers else 0.0
        mean = 0.95 - self._fall(plan.spec) - 0.1 * (1 / math.sqrt(plan.fidelity) - 1) / 2 + noise
        return Run(plan, _bill(plan, Basis.MEASURED, off), Score("accuracy", mean, 0.004, 3000), self.predict(plan))

    def _dice(self, plan: Plan, what: str) -> float:
        text = f"{self.seed} {what} {sorted(map(str, plan.levers))}"
        return int.from_bytes(sha256(text.encode()).digest()[:4]) / 2**32

    def _fall(self, spec: Spec) -> float:
        thin = 1 - spec.ops[0].n_out / SPEC.ops[0].n_out
        short = 1 - spec.train.epochs / SPEC.train.epochs
        bits = (32 - spec.ops[0].weight_bits) / 32
        tilt = (self.seed % 5 + 1) / 3  # some worlds forgive thinning, others rounding
        return 0.02 * tilt * thin**3 + 0.016 / tilt * bits**6 + 0.008 * short**4 + 0.02 * thin * bits * short

    def best(self) -> Run:
        """The cheapest run of all that keeps the floor, by trying everything."""
        quiet = replace(self, asked=[])
        control = quiet.carry_out(self.scope.control)
        lattice = Lattice(self.scope, control.score)
        plans = (lattice.plan(point) for point in product(*(range(len(group) + 1) for group in lattice.groups)))
        runs = [quiet.carry_out(plan) for plan in plans if plan]
        held = [run for run in runs if self.job.floor.chance(run.score, control.score) >= 0.5]
        return min(held, key=lambda run: run.bill.usd)


def _bill(plan: Plan, basis: Basis, off: float, error: float = 0.0) -> Bill:
    spec = plan.spec
    work = sum(op.n_in * op.n_out * op.fan * op.positions for op in spec.ops) / 1e6
    bits = 0.4 + 0.6 * spec.ops[0].weight_bits / 32
    unit_s = 1e-4 * (work * bits * SPEED[spec.serve.runtime] + 0.01) * off
    train_s = spec.data.rows * spec.train.epochs * plan.fidelity * 1e-3
    tune_s = spec.tune_rows * 1e-3
    usd = 1e-3
    return Bill.of(
        basis,
        error=error,
        unit=Cost(unit_s, unit_s, 0, unit_s * usd),
        train=Cost(train_s, train_s, 0, train_s * usd),
        compress=Cost(tune_s, tune_s, 0, tune_s * usd),
        serve=Cost(unit_s, unit_s, 0, unit_s * usd) * plan.job.demand.predictions,
    )


def search(world: World, strategy, most: int = 200) -> list[Run]:
    """Ask, carry out and tell until the strategy or the number of trials ends it."""
    runs: list[Run] = []
    while len(runs) < most and (plan := strategy.ask()) is not None:
        runs.append(world.carry_out(plan))
        strategy.tell(runs[-1])
    return runs


def winner(world: World, runs: list[Run]) -> Run:
    """The cheapest full run that probably keeps the floor."""
    control = next(run for run in runs if run.plan.is_control and run.plan.fidelity >= 1)
    full = [run for run in runs if run.plan.fidelity >= 1]
    return min(
        (run for run in full if world.job.floor.chance(run.score, control.score) >= 0.5), key=lambda run: run.bill.usd
    )
