"""A sum of physical terms whose multipliers are learned in logarithms, drawn to what kernels measured by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Values = Mapping[str, NDArray[np.float64]]

_SHARP = 4.0  # how sharply the larger of two terms that overlap wins: its norm
_STEPS = 40
_ENOUGH = 1e-6  # of the cost, between one step and the next
_DIGITS = 6
_TINY = 1e-30
_FAR = 8.0  # logarithms too much, beyond which a row is not pulled further


@dataclass(frozen=True, slots=True)
class Term:
    """One addend: how far its multiplier may be from one (`sd`, of its logarithm), and which families move it.

    Terms of one `roof` overlap in time: of these the largest counts, softly (a roofline), before the sum.
    """

    name: str
    sd: float
    families: tuple[str, ...] = ()
    roof: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """What is added up: terms, and families of marks (such as engines), each mark with a multiplier of its own.

    A family's figure is the standard deviation of a mark's effect on the logarithm of the terms it moves.
    """

    terms: tuple[Term, ...]
    families: Mapping[str, tuple[float, tuple[str, ...]]]

    @property
    def names(self) -> tuple[str, ...]:
        """What is learned, in order."""
        marks = (f"{family}:{mark}" for family, (_, marks) in self.families.items() for mark in marks)
        return (*(term.name for term in self.terms), *marks)

    @property
    def sds(self) -> NDArray[np.float64]:
        """How far each is expected from zero."""
        marks = [sd for sd, marks in self.families.values() for _ in marks]
        return np.array([*(term.sd for term in self.terms), *marks])


@dataclass(frozen=True, slots=True)
class SoftL1:
    """The square of an error of logarithms, and beyond `odd` its size: odd rows move little."""

    odd: float

    def cost(self, error: NDArray[np.float64]) -> NDArray[np.float64]:
        """What errors (n,) cost."""
        found: NDArray[np.float64] = 2 * self.odd**2 * (np.sqrt(1 + (error / self.odd) ** 2) - 1)
        return found

    def pull(self, error: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half the slope of that cost (n,), over the error."""
        found: NDArray[np.float64] = 1 / np.sqrt(1 + (error / self.odd) ** 2)
        return found


@dataclass(frozen=True, slots=True)
class Percent:
    """|predicted / measured - 1|, and within `odd` its square: the mean relative error, but smooth.

    Too much by any factor costs that factor, too little at most one: a row that waited for something nobody foresees
    pulls the less the further off it is.
    """

    odd: float

    def cost(self, error: NDArray[np.float64]) -> NDArray[np.float64]:
        """What errors (n,) of logarithms cost."""
        found: NDArray[np.float64] = 2 * self.odd * (np.hypot(self.odd, self._off(error)) - self.odd)
        return found

    def pull(self, error: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half the slope of that cost (n,), over the error."""
        off, small = self._off(error), np.abs(error) < _TINY
        slope = np.where(small, 1.0, off / np.where(small, 1.0, error))
        found: NDArray[np.float64] = self.odd * (1 + off) * slope / np.hypot(self.odd, off)
        return found

    @staticmethod
    def _off(error: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.expm1(np.minimum(error, _FAR))
        return found


@dataclass(frozen=True, slots=True)
class Additive:
    """A form with its learned logarithms `x`; those of marks never seen stay zero."""

    form: Form
    x: NDArray[np.float64]

    @classmethod
    def prior(cls, form: Form) -> Self:
        """Before anything was measured: every multiplier is one."""
        return cls(form, np.zeros(len(form.names)))

    @classmethod
    def fit(
        cls, form: Form, values: Values, measured: NDArray[np.float64], weight: NDArray[np.float64], odd: float
    ) -> Self:
        """Learn from terms (n,), marks (n,) of 0 and 1, seconds measured (n,) and weights (n,).

        Maximum a posteriori under normal priors, where a row of weight one counts as a logarithm measured with a
        standard deviation of one; errors beyond `odd` count by their size instead of its square (soft L1).
        """
        return cls.prior(form).refined(values, measured, weight, SoftL1(odd))

    def refined(
        self, values: Values, measured: NDArray[np.float64], weight: NDArray[np.float64], loss: SoftL1 | Percent
    ) -> Self:
        """Learn as `fit` does, beginning from here, for another loss; by damped Gauss-Newton steps."""
        target, prior = np.log(measured), 1 / self.form.sds**2
        best, damping, least = self, 1.0, np.inf
        made, step, bend = best, np.zeros(len(prior)), np.diag(prior)
        for _ in range(_STEPS):
            said, slopes = made.slopes(values)
            error = np.log(said) - target
            cost = float((weight * loss.cost(error)).sum()) + float((made.x**2 * prior).sum())
            if cost > least:
                damping *= 4
            elif least - cost < _ENOUGH * cost:
                break
            else:
                best, least, damping = made, cost, max(damping / 3, 1e-3)
                pull = weight * loss.pull(error)
                step = slopes.T @ (pull * error) + made.x * prior
                bend = slopes.T @ (slopes * pull[:, None]) + np.diag(prior)
            made = type(self)(self.form, best.x - np.linalg.solve(bend + damping * np.diag(np.diag(bend)) * 0.01, step))
        return best

    def add_up(self, values: Values) -> NDArray[np.float64]:
        """The sum (n,) in the terms' unit."""
        return np.asarray(sum(self.parts(values).values()), dtype=np.float64)

    def parts(self, values: Values) -> dict[str, NDArray[np.float64]]:
        """Each addend (n,), learned multipliers included; terms under one roof together."""
        sized = self.sized(values)
        found: dict[str, NDArray[np.float64]] = {}
        for term in self.form.terms:
            key = term.roof or term.name
            found[key] = found.get(key, 0.0) + sized[term.name] ** (_SHARP if term.roof else 1.0)
        roofs = {term.roof for term in self.form.terms if term.roof}
        return {key: each ** (1 / _SHARP) if key in roofs else each for key, each in found.items()}

    def sized(self, values: Values) -> dict[str, NDArray[np.float64]]:
        """Each term (n,) by itself, multiplied by what was learned."""
        moves = self._moves(values)
        return {
            term.name: values[term.name]
            * np.exp(self.x[at] + sum((moves[family] for family in term.families), start=np.zeros(1)))
            for at, term in enumerate(self.form.terms)
        }

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy: what differs from zero, by name."""
        rounded = (float(f"{value:.{_DIGITS}g}") for value in self.x)
        return {name: value for name, value in zip(self.form.names, rounded, strict=True) if value}

    @classmethod
    def restore(cls, form: Form, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, under the same form."""
        try:
            known = {str(name): float(value) for name, value in body.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise CorruptError(f"These are no coefficients: {error!r}.", "fit them again.") from error
        strange = sorted(set(known) - set(form.names))
        if strange:
            raise CorruptError(f"There is no coefficient {strange[0]} in this form.", "fit them again.")
        return cls(form, np.array([known.get(name, 0.0) for name in form.names]))

    def _moves(self, values: Values) -> dict[str, NDArray[np.float64]]:
        moves, at = {}, len(self.form.terms)
        for family, (_, marks) in self.form.families.items():
            effects = self.x[at : at + len(marks)]
            moves[family] = np.asarray(
                sum((effect * values[mark] for effect, mark in zip(effects, marks, strict=True)), start=np.zeros(1))
            )
            at += len(marks)
        return moves

    def slopes(self, values: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The sum (n,), and the derivative of its logarithm (n, p) by each learned figure."""
        sized, parts = self.sized(values), self.parts(values)
        total = np.asarray(sum(parts.values()))
        shares = {}
        for term in self.form.terms:
            share = np.asarray(sized[term.name] / total)
            if term.roof:
                share *= (sized[term.name] / np.maximum(parts[term.roof], _TINY)) ** (_SHARP - 1)
            shares[term.name] = share
        columns: list[NDArray[np.float64]] = [shares[term.name] for term in self.form.terms]
        for family, (_, marks) in self.form.families.items():
            moved = np.asarray(sum(shares[each.name] for each in self.form.terms if family in each.families))
            columns += [moved * values[mark] for mark in marks]
        return total, np.stack(np.broadcast_arrays(*columns), axis=1)


def marks_of(kind: str, names: NDArray[np.str_], known: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Marks (n,) of 0 and 1, one for each `known` name of this kind."""
    return {f"{kind}={name}": (names == name).astype(np.float64) for name in known}
