"""What measured deployments teach the physics of serving: multipliers, and which releases ran speculative decoding."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import starmap
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.errors import CorruptError
from pennyweight.layout.serving.additive import Additive, Percent
from pennyweight.layout.serving.closed_loop import decode_values, first_values, settle
from pennyweight.layout.serving.forms import DECODE, FIRST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.serving.fleet import Fleet
    from pennyweight.layout.tables.serving_columns import Read

    Floats = NDArray[np.float64]
    Both = tuple[Floats, Floats]

DRAFTS = 2.0  # where speculative decoding is possible and not said, and is taken to be on
_NOISE = (6.0, 1.5)  # so far whole models are off alike: the more, the less their rows move the multipliers
_ODD = (0.15, 0.3)  # errors beyond this say that a row is odd
_PERCENT = 0.2  # errors of first tokens beyond this share count by their size
_BALANCE = 0.5  # how far families of many rows weigh no more than those of few
_ROUNDS = 2
# Of rows where drafting is possible, before a release is known: what was published before 2026 did not draft.
_USUAL_SHARE, _EARLY_SHARE = {"trtllm": 0.6, "sglang": 0.1, "vllm": 0.1}, 0.05
_EARLY = re.compile(r"\|20(?:1\d|2[0-5])-\d\d$")
_KNOWN_AFTER = 2.0  # rows that this counts for
_SPREAD = 0.15  # of errors, in telling drafting from not


@dataclass(frozen=True, slots=True)
class Physics:
    """Multipliers of the seconds per token (`decode`) and to the first token (`first`).

    `shares` says of each release which share of its rows, where it was possible, drafted ahead.
    """

    decode: Additive
    first: Additive
    shares: Mapping[str, float]

    @classmethod
    def prior(cls) -> Self:
        """What kernels measured by themselves say, before any deployment was seen."""
        return cls(Additive.prior(DECODE), Additive.prior(FIRST), {})

    @classmethod
    def fit(cls, read: Read, tpot_s: Floats, ttft_s: Floats) -> Self:
        """Learn from rows read (all complete) and what was measured (n,).

        Where drafting is not said, whether a row did is a hidden variable: both are weighed by how well they fit, given
        its release (expectation maximisation).
        """
        made = cls.prior()
        weight = balanced(read.family)
        plain, ahead = sides(read)
        for _ in range(_ROUNDS):
            errors = [np.log(tpot_s / settle(side, made.decode).tpot_s) for side in (plain, ahead)]
            chance, shares = _drafted(errors, read)
            pair = _Pair((plain, ahead), read.cold, np.concatenate([weight * (1 - chance), weight * chance]))
            decode = pair.fit(made, tpot_s, first=False)
            made = cls(decode, made.first, shares)
        return cls(made.decode, pair.fit(made, ttft_s, first=True), shares)

    def told(self, read: Read, tpot_s: Floats) -> Self:
        """The same, knowing from a stack's own rows which of its releases draft ahead."""
        errors = [np.log(tpot_s / settle(side, self.decode).tpot_s) for side in sides(read)]
        errors = [each - np.median(each) * 0.5 for each in errors]
        return replace(self, shares={**self.shares, **_drafted(errors, read)[1]})

    def seconds(self, fleet: Fleet, cold: Floats | float = 1.0) -> Both:
        """Seconds per token and to the first token (n,) of deployments that say whether they draft.

        `cold` (n,): how far all users begin at once (see `first_values`).
        """
        load = settle(fleet, self.decode)
        return load.tpot_s, self.first.add_up(first_values(fleet, load, cold))

    def modes(self, read: Read) -> tuple[Both, Both, Floats]:
        """Seconds (n,) without and with drafting, and the chance that rows which do not say did."""
        plain, ahead = sides(read)
        pairs = zip(read.release.tolist(), usual_shares(read).tolist(), strict=True)
        chance = np.array(list(starmap(self.shares.get, pairs)))
        unsaid = np.isnan(read.drafts)
        without = self.seconds(plain, read.cold)
        tpot_s, ttft_s = (each.copy() for each in without)
        if unsaid.any():
            tpot_s[unsaid], ttft_s[unsaid] = self.seconds(ahead.take(unsaid), read.cold[unsaid])
        return without, (tpot_s, ttft_s), np.where(unsaid, chance, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        shares = {name: round(share, 3) for name, share in self.shares.items()}
        return {"decode": self.decode.to_dict(), "first": self.first.to_dict(), "shares": shares}

    @classmethod
    def restore(cls, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        try:
            shares = {str(name): float(share) for name, share in body["shares"].items()}
            return cls(Additive.restore(DECODE, body["decode"]), Additive.restore(FIRST, body["first"]), shares)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"This is no physics of serving: {error!r}.", "fit it again.") from error


def likely(modes: tuple[Both, Both, Floats], which: int) -> Floats:
    """Of two answers (n,) the one with the smaller expected relative error.

    Missing by the same factor costs more in percent where the answer is too large, so each is weighed by its chance
    over its size.
    """
    plain, ahead, chance = modes[0][which], modes[1][which], modes[2]
    return np.where(chance / ahead > (1 - chance) / plain, ahead, plain)


def usual_shares(read: Read) -> Floats:
    """The share of rows (n,) that draft ahead, by engine and date, before anything else is known of a release."""
    pairs = zip(read.fleet.engine.tolist(), read.release.tolist(), strict=True)
    return np.array([_EARLY_SHARE if _EARLY.search(release) else _USUAL_SHARE[engine] for engine, release in pairs])


def sides(read: Read) -> tuple[Fleet, Fleet]:
    """The deployments as if none of those that do not say drafted ahead, and as if all did."""
    unsaid = np.isnan(read.drafts)
    return tuple(replace(read.fleet, drafts=np.where(unsaid, each, read.drafts)) for each in (0.0, DRAFTS))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Rows twice, without and with drafting, each weighed by its chance (2n,)."""

    sides: tuple[Fleet, Fleet]
    cold: Floats
    weight: Floats

    def fit(self, made: Physics, measured: Floats, *, first: bool) -> Additive:
        told = [self._values(side, made, first=first) for side in self.sides]
        used = self.weight > 1e-3
        values = {name: np.concatenate([each[name] for each in told])[used] for name in told[0]}
        form, which = (FIRST, 1) if first else (DECODE, 0)
        weight = self.weight[used] / _NOISE[which] ** 2
        seconds = np.tile(measured, 2)[used]
        learnt = Additive.fit(form, values, seconds, weight, _ODD[which])
        # Some first tokens wait seconds for what no column says: these rows shall not move what others are told.
        return learnt.refined(values, seconds, weight, Percent(_PERCENT)) if first else learnt

    def _values(self, side: Fleet, made: Physics, *, first: bool) -> dict[str, Floats]:
        load = settle(side, made.decode)
        return first_values(side, load, self.cold) if first else decode_values(side, load.batch)


def _drafted(errors: list[Floats], read: Read) -> tuple[Floats, dict[str, float]]:
    """The chance (n,) that each row drafted ahead, and the share of each release."""
    fits = [np.exp(-2 * np.sqrt(1 + (each / _SPREAD) ** 2)) for each in errors]
    unsaid = np.isnan(read.drafts)
    names, at, codes = np.unique(read.release, return_index=True, return_inverse=True)
    usual = usual_shares(read)[at]
    share = usual.copy()
    chance = np.zeros(len(codes))
    for _ in range(20):
        ahead = share[codes] * fits[1]
        chance = np.where(unsaid, ahead / (ahead + (1 - share[codes]) * fits[0] + 1e-12), 0.0)
        counts = np.bincount(codes, unsaid, len(names))
        share = (np.bincount(codes, chance, len(names)) + _KNOWN_AFTER * usual) / (counts + _KNOWN_AFTER)
    seen = np.bincount(codes, unsaid, len(names)) > 0
    known = {str(name): float(each) for name, each, ok in zip(names, share, seen, strict=True) if ok}
    return chance, known


def balanced(family: NDArray[np.str_]) -> Floats:
    """Weights of rows (n,): a family counts by the root of how many rows it has."""
    _, codes, counts = np.unique(family, return_inverse=True, return_counts=True)
    return np.asarray((len(family) / len(counts) / counts[codes]) ** _BALANCE)
