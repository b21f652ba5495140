"""What a million generated tokens cost on a device: measured on this machine, predicted on accelerators."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self, final

from pennyweight.core import Basis

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MILLION = 1e6


@final
@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens of answers, `low` to `high` (95% where measured, 90% where predicted), by one runtime.

    `token_s` is seconds of the device per token (of a core on a CPU), `joule` of electricity per token (None: not
    known), `byte` the weights as they are held, `at_once` the requests that run together. `outside` names the nearest
    measured deployment where none is like this one.
    """

    device: str
    runtime: str
    basis: Basis
    usd: float
    low: float
    high: float
    token_s: float
    joule: float | None
    byte: float
    at_once: int
    outside: str = ""

    def cheaper(self, other: Price) -> bool:
        """Whether this is the cheaper one.

        A predicted price is not held against a measured one as its equal: there it counts as cheaper only with the
        whole of its interval.
        """
        if self.basis is other.basis:
            return self.usd < other.usd
        if self.basis is Basis.PREDICTED:
            return self.high < other.low
        return not other.high < self.low

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**asdict(self), "basis": self.basis.value}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """What `facts` told."""
        return cls(**{**facts, "basis": Basis(facts["basis"])})


def cheapest(prices: Iterable[Price]) -> Price | None:
    """The cheapest of some prices, None of none."""
    best: Price | None = None
    for each in prices:
        best = each if best is None or each.cheaper(best) else best
    return best
