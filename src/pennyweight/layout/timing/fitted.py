"""Steps learned: physics with few coefficients, then what neighbours say is left, then an honest interval.

Coefficients of a `Stack` are fitted in relative error and drawn towards what is usual; log(measured / physics) is a
Gaussian process that falls back to nought away from what was measured; the interval is conformal, on whole groups left
out of both, as wide as the process is unsure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.leaving import folds_of
from pennyweight.cost.learn.process import Process
from pennyweight.errors import CorruptError
from pennyweight.layout.timing.stack import STACK, Stack
from pennyweight.layout.timing.step import step_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.cost.learn.process import Part
    from pennyweight.layout.timing.cases import Cases

    Traits = Mapping[str, NDArray[Any]]
    Floats = NDArray[np.float64]

ROUNDS = 40  # of the fit, at most
PASSES = 3  # until pseudo-values no longer move by more than their noise


@dataclass(frozen=True, slots=True)
class Prior:
    """What coefficients of a stack are before anything is measured: `start`, and how far their logarithms stray.

    Coefficients that are not in `loose` are not fitted. `noise` is the standard deviation of log(measured / predicted)
    expected of good physics: the smaller, the less the prior holds; errors beyond `robust` of it count linearly.
    """

    loose: Mapping[str, float]
    start: Stack = field(default_factory=lambda: STACK)
    noise: float = 0.05
    robust: float = 1.5

    def fit(self, cases: Cases, measured_s: Floats) -> Stack:
        """The stack that explains measured steps (n,) best, in the logarithm, given the prior."""
        from scipy.optimize import least_squares

        if not self.loose:
            return self.start
        names = tuple(self.loose)
        start = np.log([getattr(self.start, name) for name in names])
        spread = np.array([self.loose[name] for name in names])

        def stack_of(strayed: Floats) -> Stack:
            values = np.exp(start + strayed * spread)
            return self.start.changed({name: float(f"{v:.6g}") for name, v in zip(names, values, strict=True)})

        def off(strayed: Floats) -> Floats:
            values = np.exp(start + strayed * spread)
            stack = self.start.changed(dict(zip(names, values.tolist(), strict=True)))
            residual = np.log(step_s(cases, stack) / measured_s) / self.noise
            return np.concatenate([_softened(residual, self.robust), strayed])

        return stack_of(least_squares(off, np.zeros(len(names)), max_nfev=ROUNDS).x)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of rows is learned: its physics, why two residuals are alike (`parts`), and what no trait explains.

    `splits` name the traits whose groups are left out to make intervals; `refit` says whether physics is fitted again
    without them, which matters where groups are few. A row that is further than `robust` standard deviations from what
    all others say of it counts as if it were no further (pseudo-values: Huber & Ronchetti 2009, section 7.8); 0: each
    counts as it is.
    """

    prior: Prior
    parts: tuple[Part, ...]
    noise: float
    splits: tuple[str, ...]
    refit: bool = True
    robust: float = 0.0

    def process(self, traits: Traits, values: Floats) -> Process:
        """What neighbours say of values (n,), rows unlike all others counting less."""
        found = Process(self.parts, self.noise, traits, values)
        for _ in range(PASSES if self.robust else 0):
            mean, sd = found.left_out(np.arange(len(values)).astype(np.str_))
            near = mean + np.clip(values - mean, -self.robust * sd, self.robust * sd)
            found = Process(self.parts, self.noise, traits, near)
        return found


@dataclass(frozen=True, slots=True)
class Sample:
    """Measured rows: cases, traits by name (n,), and seconds per step (n,)."""

    cases: Cases
    traits: Traits
    measured_s: Floats

    def take(self, chosen: NDArray[np.bool_]) -> Self:
        """The chosen rows."""
        traits = {name: column[chosen] for name, column in self.traits.items()}
        return type(self)(self.cases.take(chosen), traits, self.measured_s[chosen])

    def left(self, stack: Stack) -> Floats:
        """log(measured / predicted) (n,) of physics alone."""
        return np.asarray(np.log(self.measured_s / step_s(self.cases, stack)))


@dataclass(frozen=True, slots=True)
class Fitted:
    """What one kind of rows taught."""

    stack: Stack
    process: Process
    conformal: Conformal

    @classmethod
    def learn(cls, recipe: Recipe, sample: Sample) -> Self:
        """Fit on n rows."""
        stack, process = _fit(recipe, sample)
        errors, scales, groups = [], [], []
        for split in recipe.splits:
            error, scale = _left_out(recipe, sample, split, (stack, process))
            errors.append(error)
            scales.append(scale)
            groups.append(np.char.add(f"{split}:", sample.traits[split].astype(np.str_)))
        together = np.concatenate(errors), np.concatenate(groups), np.concatenate(scales)
        return cls(stack, process, Conformal.of(*together))

    def predict(self, cases: Cases, traits: Traits) -> tuple[Floats, Floats, Floats]:
        """Seconds (n,) per step, and the ends of the interval."""
        mean, sd = self.process.at(traits)
        value = step_s(cases, self.stack) * np.exp(mean)
        low, high = self.conformal.interval(value, sd)
        return value, low, high

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return {
            "stack": self.stack.to_dict(),
            "process": self.process.to_dict(),
            "conformal": self.conformal.to_dict(),
        }

    @classmethod
    def restore(cls, recipe: Recipe, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, under the same recipe."""
        try:
            stack = STACK.changed({str(name): float(value) for name, value in body["stack"].items()})
            process = Process.restore(recipe.parts, recipe.noise, body["process"])
            return cls(stack, process, Conformal.from_dict(body["conformal"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"This is no fit of steps: {error!r}.", "fit it again.") from error


def _fit(recipe: Recipe, sample: Sample) -> tuple[Stack, Process]:
    stack = recipe.prior.fit(sample.cases, sample.measured_s)
    return stack, recipe.process(sample.traits, sample.left(stack))


def _left_out(recipe: Recipe, sample: Sample, split: str, whole: tuple[Stack, Process]) -> tuple[Floats, Floats]:
    """log(measured / predicted) (n,) of rows whose group was left out, and how unsure (n,) the process was of them."""
    groups = sample.traits[split]
    if not recipe.refit or len(set(groups.tolist())) < 2:
        mean, sd = whole[1].left_out(groups)
        return sample.left(whole[0]) - mean, sd
    error, scale = np.empty(len(groups)), np.empty(len(groups))
    for asked in folds_of(groups):
        stack, others = _fit(recipe, sample.take(~asked))
        mine = sample.take(asked)
        mean, scale[asked] = others.at(mine.traits)
        error[asked] = mine.left(stack) - mean
    return error, scale


def _softened(residual: Floats, bend: float) -> Floats:
    """Residuals whose squares grow like the Huber loss: quadratic up to `bend`, then linear."""
    size = np.abs(residual)
    linear = np.sqrt(np.maximum(2.0 * bend * size - bend * bend, 0.0))
    return np.where(size <= bend, residual, np.sign(residual) * linear)
