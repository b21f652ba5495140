"""The floor, watched: alert as soon as it is surely broken, then back to the last version that was certified."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np
from sqlalchemy import select

from pennyweight.errors import BadInputError
from pennyweight.serve.watch.bets import Capital, Claim, bet
from pennyweight.store.team import alerts, registry
from pennyweight.store.team.alerts import Alert
from pennyweight.store.team.registry import PRODUCTION, Move
from pennyweight.store.team.tables import event
from pennyweight.units import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from pennyweight.serve.money.book import Book
    from pennyweight.store.team.registry import Version

WATCHER = "watch"  # who moved the alias, as the history tells it
_ABSOLUTE = re.compile(r"accuracy at least ([0-9.e-]+),")
_POINTS = re.compile(r"accuracy at most ([0-9.e-]+) points worse than the control,")
_RECENT = 500  # answers by which an alert says how good the version is now
_QUIET_NS = 86_400 * 10**9  # an alert about one version is given once a day


@dataclass(frozen=True, slots=True)
class Terms:
    """When a floor counts as broken.

    `alpha`: the most chance of a false alarm in `horizon` labelled answers. `gap`: how far below the floor quality must
    be to be found soon.
    """

    alpha: float = 0.05
    horizon: int = 10_000
    gap: float = 0.02


@final
@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """The evidence that the share of right answers is below `floor` now; new evidence counts however old the rest is.

    Fed with right answers (1) and wrong ones (0) whose labels came, or with calibrated chances to be right where none
    come; then an alarm is as true as the calibration.
    """

    floor: float
    terms: Terms
    capital: Capital
    claim: Claim = field(repr=False)
    recent: NDArray[Any] = field(repr=False)

    @classmethod
    def begin(cls, floor: float, terms: Terms | None = None, shape: tuple[int, ...] = ()) -> Self:
        """Before the first answer; raises `BadInputError` for a floor that nothing can break."""
        terms = terms or Terms()
        if not 0 < floor <= 1:
            raise BadInputError(f"A floor of {floor:g} cannot be watched.", "give a share of right answers, as 0.97.")
        claim = Claim(1 - floor, terms.gap, horizon=terms.horizon)
        return cls(floor, terms, Capital.begin(claim, shape), claim, np.zeros((*shape, 0)))

    def saw(self, right: NDArray[Any]) -> Watched:
        """After more answers (…, N), each from 0 (wrong) to 1 (right)."""
        values = np.asarray(right, dtype=np.float64)
        capital, _ = bet(self.capital, self.claim, 1 - values)
        recent = np.concatenate([self.recent, values], axis=-1)[..., -_RECENT:]
        return replace(self, capital=capital, recent=recent)

    @property
    def broken(self) -> NDArray[np.bool_]:
        """Whether the floor is surely broken, or was at some moment (…)."""
        return np.asarray(self.capital.peak >= -math.log(self.terms.alpha))

    @property
    def quality(self) -> float:
        """The share of right answers among the last ones, of all experiments together."""
        return float(self.recent.mean()) if self.recent.size else math.nan


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a version in production: nothing, tell somebody, or go back to version `to` as well."""

    kind: Literal["keep", "alert", "rollback"]
    model: str
    number: int
    to: int = 0
    text: str = ""
    value: float = 0.0


def least(certificate: Mapping[str, Any] | None) -> float | None:
    """The accuracy that a certificate guarantees, for those in points below the control too; None for any other."""
    if not certificate or not certificate.get("held", True):
        return None
    text = str(certificate.get("floor", ""))
    if found := _ABSOLUTE.match(text):
        return float(found[1])
    found = _POINTS.match(text)
    trials = [each for each in certificate.get("trials", ()) if each.get("passed")]
    if not found or not trials:
        return None
    return float(trials[-1]["control"]["mean"]) - float(found[1]) / 100


def certified(version: Version) -> bool:
    """Whether a version has a certificate that holds."""
    return bool(version.certificate) and bool((version.certificate or {}).get("held", True))


def last_certified(link: Connection, model: str, number: int, alias: str = PRODUCTION) -> int:
    """The version other than `number` that the alias stood for last, that was certified and not retired; 0 for none.

    One whose own floor broke there is no refuge, unless somebody promoted it again.
    """
    fine = {each.number for each in registry.versions(link, model) if certified(each)}
    fine -= {number} | registry.retired(link, model)
    moves, broke = [each for each in registry.history(link, model) if each.alias == alias], set[int]()
    for each in moves:
        broke = broke | {each.before} if each.who == WATCHER else broke - {each.number}
    return next((each.number for each in reversed(moves) if each.number in fine - broke), 0)


def standing_since(link: Connection, version: Version, alias: str = PRODUCTION) -> int | None:
    """The moment at which the alias came to stand for a version, 0 without an alias; None if it does not."""
    if not alias:
        return 0
    number, moved = registry.stand(link, version.model, alias)
    if number != version.number:
        return None
    return int(link.execute(select(event.c.at_ns).where(event.c.id == moved)).scalar_one())


def decide(watched: Watched, link: Connection, version: Version, alias: str = PRODUCTION) -> Decision:
    """What the evidence about a version asks for."""
    if not bool(watched.broken):
        return Decision("keep", version.model, version.number)
    quality = watched.quality
    last = watched.recent.shape[-1]
    text = f"{version} is below its floor of {percent(watched.floor)} right: {percent(quality)} of the last {last}"
    to = last_certified(link, version.model, version.number, alias) if alias else 0
    if not to:
        why = "no other version is certified" if alias else "it was asked for by its number"
        return Decision("alert", version.model, version.number, 0, f"{text}; {why}", quality)
    return Decision("rollback", version.model, version.number, to, f"{text}; back to version {to}", quality)


async def carry_out(book: Book, decision: Decision, alias: str = PRODUCTION) -> bool:
    """Do it, in one transaction; whether this call did, for another process may have been first.

    Raises `RefusedError` or `PennyweightError` if the store cannot be written.
    """
    if decision.kind == "keep":
        return False
    return await book.run(partial(carried_out, decision, alias))


def carried_out(decision: Decision, alias: str, link: Connection) -> bool:
    """Keep the alert, and move the alias unless somebody moved it meanwhile."""
    registry.alone(link, decision.model)
    if decision.kind == "rollback" and registry.pointed(link, decision.model, alias) != decision.number:
        return False
    told = Alert(decision.model, decision.number, "floor", decision.text, decision.value)
    if alerts.add(link, told, 0 if decision.kind == "rollback" else _QUIET_NS) is None:
        return False
    if decision.kind == "rollback":
        asked, move = f"{decision.model}@{decision.to}", Move(WATCHER, decision.text)
        registry.promote(link, asked, alias, move, "rollback")
    return True
