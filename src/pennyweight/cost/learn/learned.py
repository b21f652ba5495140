"""Everything learned from measured runs: factors per runtime and precision, corrections between neighbours, errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.cost.learn.local import PRIOR_SD, Local
from pennyweight.cost.learn.sample import Sample
from pennyweight.cost.learn.solve import solve
from pennyweight.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FOLDS = 5
_LATEST = 240  # samples: a machine and its libraries change, and learning must cost less than it saves
_NEIGHBOURS = 64  # of these, interpolated between
_TRUST = 4.0  # as many imagined samples whose error was as expected


@dataclass(frozen=True, slots=True)
class Fit:
    """What was learned of one target; without samples, everything is at the prior."""

    by_runtime: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    by_group: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    local: Local | None = None
    scale: float = 1.0
    errors: tuple[float, ...] = ()

    def factors(self, runtime: str, group: str, parts: int) -> tuple[float, ...]:
        """How many times its prior each of the `parts` takes, for one runtime and group."""
        found = self.by_group.get(group) or self.by_runtime.get(runtime)
        return found or (1.0,) * parts

    def correct(self, group: str, place: tuple[float, ...]) -> tuple[float, float]:
        """Logarithm of measured / (factors · parts) expected at `place`, and its standard deviation."""
        if self.local is None:
            return 0.0, PRIOR_SD
        mean, sd = self.local.at(group, place)
        return mean, sd * self.scale

    def predict(self, sample: Sample) -> tuple[float, float]:
        """Logarithm of what is predicted for a sample, and its standard deviation."""
        factors = self.factors(sample.runtime, sample.group, len(sample.parts))
        mean, sd = self.correct(sample.group, sample.place)
        return _log(factors, sample.parts) + mean, sd


@dataclass(frozen=True)
class Learned:
    """What `samples` teach, target by target; a Learned without samples is the prior.

    The factors of a group (runtime and precision) are drawn to those of its runtime, and these to one. What they leave
    unexplained is interpolated between neighbours. Error bars are scaled by what leaving samples out really missed by.
    Of each target only the latest samples count. They hold what the roofline says on ONE machine: what was learned on
    it says nothing about another.
    """

    samples: tuple[Sample, ...] = ()

    def with_samples(self, more: Sequence[Sample]) -> Self:
        """The same with more samples."""
        return type(self)((*self.samples, *more))

    def knows(self, target: str) -> bool:
        """Whether anything was measured of `target`."""
        return target in self._fits

    def fit(self, target: str) -> Fit:
        """What was learned of `target`."""
        return self._fits.get(target, _PRIOR)

    def errors(self, target: str) -> tuple[float, ...]:
        """Relative error of each sample's prediction from the others alone."""
        return self.fit(target).errors

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return {"samples": [sample.to_dict() for sample in self.samples]}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        if not isinstance(body.get("samples"), list):
            raise CorruptError("This holds nothing learned: it has no samples.", "calibrate again.")
        return cls(tuple(Sample.from_dict(each) for each in body["samples"]))

    @cached_property
    def _fits(self) -> dict[str, Fit]:
        targets = dict.fromkeys(sample.target for sample in self.samples)
        return {target: _fit([each for each in self.samples if each.target == target][-_LATEST:]) for target in targets}


_PRIOR = Fit()


def _fit(samples: Sequence[Sample]) -> Fit:
    """Learn one target, then leave samples out in turn to see how far the error bars must be stretched."""
    folds = min(len(samples), _FOLDS)
    missed, errors = 0.0, [0.0] * len(samples)
    for fold in range(folds if folds > 1 else 0):
        rest = _condition([each for i, each in enumerate(samples) if i % folds != fold])
        for i in range(fold, len(samples), folds):
            log, sd = rest.predict(samples[i])
            off = log - math.log(samples[i].measured)
            missed += (off / sd) ** 2
            errors[i] = math.expm1(off)
    tested = len(samples) if folds > 1 else 0
    whole = _condition(samples)
    scale = math.sqrt((missed + _TRUST) / (tested + _TRUST))
    return Fit(whole.by_runtime, whole.by_group, whole.local, scale, tuple(errors[:tested]))


def _condition(samples: Sequence[Sample]) -> Fit:
    ones = (1.0,) * len(samples[0].parts)
    runtimes = dict.fromkeys(sample.runtime for sample in samples)
    groups = {sample.group: sample.runtime for sample in samples}
    by_runtime = {name: solve([each for each in samples if each.runtime == name], ones) for name in runtimes}
    by_group = {
        name: solve([each for each in samples if each.group == name], by_runtime[runtime])
        for name, runtime in groups.items()
    }
    if not samples[0].place:
        return Fit(by_runtime, by_group)
    near = samples[-_NEIGHBOURS:]
    logs = [math.log(each.measured) - _log(by_group[each.group], each.parts) for each in near]
    local = Local.of([each.group for each in near], [each.place for each in near], np.array(logs))
    return Fit(by_runtime, by_group, local)


def _log(factors: Sequence[float], parts: Sequence[float]) -> float:
    return math.log(max(sum(f * p for f, p in zip(factors, parts, strict=True)), 1e-12))
