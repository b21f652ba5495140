"""Dollars per million tokens on accelerators, by what measured deployments taught; nothing is rented or run.

A replica has as many requests as is cheapest while a token takes no longer than was asked for; machines are taken to be
busy. Keys and values stay in 16 bits, as they do where quality is judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.catalog.accelerators import accelerator
from pennyweight.core import Basis
from pennyweight.layout.deployments.ahead import PLAIN
from pennyweight.layout.deployments.choices import AT_ONCE, MARGIN, held_byte
from pennyweight.layout.deployments.lessons import Lessons
from pennyweight.layout.deployments.lines import lines
from pennyweight.layout.deployments.rent import Market
from pennyweight.layout.memory.remedies import Serving as Memory
from pennyweight.layout.serving.fleet import BYTE, Pool, Serving
from pennyweight.optimizing.checkpoints.pricing import MILLION, Price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.core.dims import Dims
    from pennyweight.optimizing.checkpoints.asking import Load

ENGINE, PLAIN_BITS = "vllm", "bf16"
# What the engine computes with; weights of more than 4 bits that it widens lie between two of these by their bytes.
_WIDENED = (PLAIN_BITS, "int4")
_LIKE: dict[str, tuple[str, ...]] = {
    "": (PLAIN_BITS,),
    "int8": _WIDENED,
    "int4": ("int4",),
    "mxfp4": ("mxfp4",),
}
_SCALE_BYTE = BYTE["int4"] - 0.5  # of a weight's share of a scale
_SPREADS = (1, 2, 4, 8)
_HOUR_S = 3600.0


@final
@dataclass(frozen=True)
class Predictor:
    """Prices of serving under a `load` on accelerators that somebody rents."""

    devices: tuple[str, ...]
    load: Load

    def serves(self, to: str) -> bool:
        """Whether the engine loads weights that are rounded `to` these numbers ("": not rounded)."""
        return bool(_like(to))

    def prices(self, model: Dims, to: str, byte: float) -> list[Price]:
        """The price on each device where the model fits; none for numbers that the engine does not load."""
        found = [self._on(device, model, to, byte) for device in self.devices] if self.serves(to) else []
        return [each for each in found if each is not None]

    @cached_property
    def _market(self) -> Market:
        return Market.open(self.devices, spare=False)

    @cached_property
    def _lessons(self) -> Lessons:
        return Lessons.of()

    def _on(self, device: str, model: Dims, to: str, byte: float) -> Price | None:
        ends = [self._in(device, model, precision, byte) for precision in _like(to)]
        known = [each for each in ends if each is not None]
        if len(known) < 2:
            return known[0] if known else None
        one, other = known
        share = (BYTE[PLAIN_BITS] - _byte(to)) / (BYTE[PLAIN_BITS] - BYTE["int4"])
        usd, token_s = ((1 - share) * a + share * b for a, b in ((one.usd, other.usd), (one.token_s, other.token_s)))
        low, high = min(one.low, other.low), max(one.high, other.high)
        return Price(device, ENGINE, Basis.PREDICTED, usd, low, high, token_s, None, byte, one.at_once, one.outside)

    def _in(self, device: str, model: Dims, precision: str, byte: float) -> Price | None:
        cases = self._fitting(device, model, precision)
        if not cases:
            return None
        timed = lines(cases, self._lessons, PLAIN)
        at_once = np.array([case.concurrency for case in cases])
        groups = np.array([case.decode.tp for case in cases])
        token_s = timed["step_s"] + timed["request_s"] * at_once
        replica_s = self.load.answer * token_s + at_once * self.load.prompt * timed["prompt_token_s"]
        per_s = at_once * self.load.answer / replica_s
        hour = np.array([self._market.least_usd(device, int(group)) for group in groups])
        usd = hour / _HOUR_S / per_s * MILLION
        best = _best(usd, token_s, self.load.token_s)
        told = self._lessons.forecasts([cases[best]])["tpot_s"]
        low, high = (float(usd[best] * end[0] / told.value[0]) for end in (told.low, told.high))
        more = (float(groups[best] / per_s[best]), None, byte, int(at_once[best]), str(told.outside[0]))
        return Price(device, ENGINE, Basis.PREDICTED, float(usd[best]), low, high, *more)

    def _fitting(self, device: str, model: Dims, precision: str) -> list[Serving]:
        known = accelerator(device)
        base = Serving(model, known, ENGINE, precision, prompt=self.load.prompt, output=self.load.answer)
        pools = [Pool(tp=tp) for tp in _SPREADS if tp <= self._market.most()[device] and _splits(model, tp)]
        cases = [_case(base, pool, users) for pool in pools for users in AT_ONCE]
        fits = held_byte(cases) * MARGIN <= known.memory_byte * Memory().utilization
        return [case for case, fine in zip(cases, fits.tolist(), strict=True) if fine]


def _like(to: str) -> tuple[str, ...]:
    """The precisions that such weights are served in, or lie between; none where the engine does not load them."""
    return _LIKE.get(to, _WIDENED if to[:1].isdigit() else ())


def _byte(to: str) -> float:
    """Bytes of a weight of whole numbers, of so many bits on average."""
    return float(to.removeprefix("int")) / 8 + _SCALE_BYTE


def _case(base: Serving, pool: Pool, users: int) -> Serving:
    return replace(base, decode=pool, concurrency=float(users))


def _splits(model: Dims, tp: int) -> bool:
    return model.heads % tp == 0 and (model.kv_heads % tp == 0 or tp % model.kv_heads == 0)


def _best(usd: NDArray[np.float64], token_s: Sequence[float] | NDArray[np.float64], most_s: float) -> int:
    """The cheapest that is fast enough; the fastest where none is."""
    fast = np.asarray(token_s) <= most_s
    return int(np.where(fast, usd, np.inf).argmin()) if fast.any() else int(np.asarray(token_s).argmin())
