"""What a plan will cost here before anything runs: a roofline, what was learned of it, and how far it may be off."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from operator import mul
from typing import TYPE_CHECKING

from pennyweight.catalog import load_efficiency
from pennyweight.core import Basis, Bill, Cost, Form
from pennyweight.cost.count import data_byte, learning_share, wire_byte
from pennyweight.cost.keeping import answered_s, computed_s, kept_byte
from pennyweight.cost.known import Known, keep
from pennyweight.cost.learn import PRIOR_SD, Learned, Sample
from pennyweight.cost.price import Parts, bill
from pennyweight.cost.roofline import Ceiling
from pennyweight.cost.wires import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pennyweight.catalog import Device, Efficiency, PriceSheet
    from pennyweight.core import Demand, Spec
    from pennyweight.cost.roofline import Table

    # What a figure is made of: its target, runtime and group, its parts, and its place among neighbours.
    Facts = tuple[str, str, str, tuple[float, ...], tuple[float, ...]]

_WHOLE = "int8"  # a kind of models: computed in whole numbers
_COPIES = 2.0  # a runtime keeps the weights as read and as its kernels want them
_UNMEASURED_SD = 0.7  # of the logarithm, where not even the machine's ceilings were measured


@dataclass(frozen=True, slots=True)
class Observation:
    """What one run of a spec really took, to learn from; what was not measured is left at zero.

    `unit_s`: CPU seconds per prediction; `train_s` and `tune_s`: CPU seconds of training and of compressing;
    `memory_byte`: held while serving; `trained`: the spec as it stood when it was trained, if that was another.
    """

    spec: Spec
    unit_s: float = 0.0
    train_s: float = 0.0
    tune_s: float = 0.0
    memory_byte: float = 0.0
    trained: Spec | None = None


@dataclass(frozen=True, slots=True)
class Guess:
    """One predicted figure: its value, and the standard deviation of its logarithm."""

    value: float
    sd: float


_NOTHING = Cost(), 0.0


@dataclass(frozen=True)
class Predictor:
    """Predicts bills on one machine under one price sheet, from the prior table and from all it has `learned`.

    A unit's CPU seconds are, for a batch of B:
    ``(Σ_ops θ_kind · max(flop / rate, byte / bandwidth) / share_kind + θ_op · Σ_ops op_s + θ_call · call_s) / B``
    (the roofline of Williams et al. 2009 with the shares of the catalog's efficiency table, θ learned), times a tax on
    threads beyond the first, times the correction learned from neighbours. Answers that are kept are not computed again
    (`cost.keeping`).
    """

    machine: Device
    sheet: PriceSheet
    learned: Learned = field(default_factory=Learned)
    _known: Known = field(default_factory=Known, init=False, repr=False, compare=False)

    def predict(self, spec: Spec, demand: Demand, trained: Spec | None = None) -> Bill:
        """The bill of `spec` over the horizon; `trained` is the spec as it stands when it is trained (default: `spec`).

        Its error is the relative half-width of a 95% interval: the standard deviations of the lines, as independent.
        """
        unit, unit_sd, held_byte = self._answering(spec)
        train, train_sd = self._training(trained or spec)
        tune, tune_sd = self._tuning(spec) if spec.tune_rows else _NOTHING
        disk_byte = self._known.tables.of(spec).disk_byte
        parts = Parts(unit, train, tune, held_byte, None, disk_byte, data_byte=data_byte(spec))
        return bill(Basis.PREDICTED, demand, parts, self.sheet, (train_sd, tune_sd, unit_sd))

    def unit(self, spec: Spec) -> Guess:
        """CPU seconds of one prediction."""
        cost, sd, _ = self._answering(spec)
        return Guess(cost.device_s, sd)

    def training(self, spec: Spec) -> Guess:
        """CPU seconds of training from scratch."""
        cost, sd = self._training(spec)
        return Guess(cost.device_s, sd)

    def tuning(self, spec: Spec) -> Guess:
        """CPU seconds of the passes that compressing takes."""
        cost, sd = self._tuning(spec)
        return Guess(cost.device_s, sd)

    def memory(self, spec: Spec) -> Guess:
        """Bytes held while serving: what the runtime holds without a model, the stored model twice, kept answers."""
        guess = self._guess(self._holding(spec))
        return replace(guess, value=guess.value + kept_byte(spec))

    def learn(self, observations: Sequence[Observation]) -> Predictor:
        """A predictor that has also seen these; what they did not measure is skipped."""
        samples = [sample for seen in observations for sample in self._samples(seen)]
        return Predictor(self.machine, self.sheet, self.learned.with_samples(samples))

    def _samples(self, seen: Observation) -> Iterator[Sample]:
        spec, trained = seen.spec, seen.trained or seen.spec
        unit_s = computed_s(seen.unit_s, spec.serve)
        if unit_s:
            yield Sample(*self._serving(spec), unit_s * spec.serve.batch)
        if seen.train_s:
            yield Sample(*self._passing("train", trained, _learning(trained)), seen.train_s)
        if seen.tune_s and spec.tune_rows:
            yield Sample(*self._passing("tune", spec, spec.tune_rows), seen.tune_s)
        if seen.memory_byte:
            yield Sample(*self._holding(spec), seen.memory_byte - kept_byte(spec))

    def _answering(self, spec: Spec) -> tuple[Cost, float, float]:
        """What a prediction costs, the standard deviation of the logarithm of that, and the bytes held meanwhile."""
        serve = spec.serve
        question = (self._known.tables.of(spec), serve)
        known = self._known.answering.get(question)
        if known is None:
            call, held = self._guess(self._serving(spec)), self._guess(self._holding(spec))
            cost = self._cost(answered_s(call.value / serve.batch, serve), serve.threads)
            known = keep(self._known.answering, question, (cost, call.sd, held.value))
        cost, sd, held_byte = known
        return cost, sd, held_byte + kept_byte(spec)

    def _training(self, spec: Spec) -> tuple[Cost, float]:
        """What training costs; several workers share the work and wait for what they tell each other."""
        cost, sd = self._passes("train", spec, _learning(spec))
        team = spec.train.team
        if team.workers < 2:
            return cost, sd
        return replace(cost, wall_s=cost.wall_s / team.workers) + waiting(wire_byte(spec), team, self.machine), sd

    def _tuning(self, spec: Spec) -> tuple[Cost, float]:
        return self._passes("tune", spec, spec.tune_rows)

    def _passes(self, target: str, spec: Spec, rows: float) -> tuple[Cost, float]:
        """What passing `rows` through training costs, and the standard deviation of the logarithm of that."""
        question = (target, self._known.tables.of(spec), spec.form, spec.train, rows)
        known = self._known.passing.get(question)
        if known is None:
            guess = self._guess(self._passing(target, spec, rows))
            known = keep(self._known.passing, question, (self._cost(guess.value, 1), guess.sd))
        return known

    def _guess(self, facts: Facts) -> Guess:
        learned, (target, runtime, group, parts, place) = self.learned, facts
        if not learned.knows(target):
            return Guess(sum(parts), PRIOR_SD if self.machine.measured else _UNMEASURED_SD)
        fit, where = learned.fit(target), (target, group, place)
        corrections = self._known.corrections
        log, sd = corrections.get(where) or keep(corrections, where, fit.correct(group, place))
        return Guess(sum(map(mul, fit.factors(runtime, group, len(parts)), parts)) * math.exp(log), sd)

    def _serving(self, spec: Spec) -> Facts:
        """What a call is made of."""
        serve, table = spec.serve, self._known.tables.of(spec)
        ceiling, prior = self._ceiling(serve.runtime, serve.precision, _kind(spec, table))
        parts = ceiling.forward(table, serve.batch)
        if serve.threads > 1:
            tax = 1 + prior.thread_tax * (serve.threads - 1)
            parts = [tax * each for each in parts]
        place = (*table.place(serve.batch), math.log(serve.threads))
        return "serve", serve.runtime, ceiling.name, tuple(parts), place

    def _passing(self, target: str, spec: Spec, rows: float) -> Facts:
        """What passing `rows` forward and backward is made of."""
        table = self._known.tables.of(spec)
        runtime = "sklearn.train" if spec.form is Form.ESTIMATOR or table.is_grown else "torch.train"
        ceiling, _ = self._ceiling(runtime, spec.train.precision, table.family)
        parts = ceiling.learn(table, spec.train.batch, rows)
        place = (*table.place(spec.train.batch), math.log(max(rows, 1.0)) / 4)
        return target, runtime, ceiling.name, tuple(parts), place

    def _holding(self, spec: Spec) -> Facts:
        """What the memory of serving is made of."""
        runtime = spec.serve.runtime
        empty_byte = self._ceiling(runtime, spec.serve.precision)[1].memory_byte
        return "memory", runtime, runtime, (empty_byte, _COPIES * self._known.tables.of(spec).disk_byte), ()

    def _ceiling(self, runtime: str, precision: str, kind: str = "") -> tuple[Ceiling, Efficiency]:
        """What a runtime reaches in a precision, and with one `kind` of models: trees of a family, whole numbers."""
        key = (runtime, precision, kind)
        found = self._known.ceilings.get(key)
        if found is None:
            name, table = "/".join(each for each in key if each), load_efficiency()
            nearest = (name, f"{runtime}/float32/{kind}", f"{runtime}/{precision}", runtime, "*")
            prior = next(table[each] for each in nearest if each in table)
            found = self._known.ceilings[key] = (Ceiling.of(self.machine, name, prior), prior)
        return found

    def _cost(self, cpu_s: float, threads: int) -> Cost:
        wall_s = cpu_s / min(threads, self.machine.cores)
        return Cost(cpu_s, wall_s, self.machine.joule(cpu_s, wall_s))


def _kind(spec: Spec, table: Table) -> str:
    """Models that a runtime treats in a way of its own: in whole numbers, or (scikit-learn) trees of one family.

    Boosting has a longer way from scores to answers where there are more than two classes.
    """
    if table.is_whole:
        return _WHOLE
    if spec.serve.runtime != "sklearn":
        return ""
    many = f"{table.family}/many"
    return many if spec.data.classes > 2 and f"sklearn/float32/{many}" in load_efficiency() else table.family


def _learning(spec: Spec) -> float:
    """The rows passed through training, those through a network of which only a part learns counted for their share."""
    return spec.passes * learning_share(spec)
