"""Money that this process holds in leases: a request takes what it may cost at most before it is computed."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pennyweight.store.team.budgets import Budget
    from pennyweight.store.team.leases import Lease

MARGIN_NS = 1_000_000_000  # a lease that ends sooner is not spent from: what is taken now is settled a little later
_PART = 16  # of what is left in a budget, the most that one process leases at once
_AHEAD = 64  # requests like the present one that a first lease is for
_MOST_AHEAD = 1 << 16
_OFTEN_NS, _SELDOM_NS = 500_000_000, 4_000_000_000  # leases that follow each other sooner grow, later they shrink


@dataclass(slots=True, eq=False)
class _Coin:
    lease: Lease
    left: int
    expires_ns: int
    out: int = 0  # taken and not yet settled


@dataclass(frozen=True, slots=True)
class Hold:
    """What a request has taken: `nusd` of every budget, as parts (lease, nusd) until it is settled or given back."""

    nusd: int
    parts: tuple[tuple[str, int], ...] = ()

    def spent(self, nusd: int) -> dict[str, int]:
        """How much of each lease is spent if the request costs `nusd`, at most what was taken."""
        found: dict[str, int] = {}
        left, seen = nusd, 0
        for id_, part in self.parts:
            if seen == self.nusd:  # the parts of one budget follow each other and add up to what was taken
                left, seen = nusd, 0
            found[id_] = min(part, left)
            left, seen = left - found[id_], seen + part
        return found


@dataclass(frozen=True, slots=True)
class Short:
    """A budget of which too little is leased: what a request still needs, and what to lease for those to come too."""

    budget: Budget
    nusd: int
    ahead_nusd: int


@dataclass(slots=True, eq=False)
class _Habit:
    """For how many requests the last lease of a budget was, and when it was made."""

    ahead: int
    at_ns: int


@final
@dataclass(slots=True, eq=False)
class Purse:
    """The leases of one process, by budget, those with something left first. It belongs to the event loop's thread."""

    coins: dict[int, deque[_Coin]] = field(default_factory=dict)
    by_id: dict[str, _Coin] = field(default_factory=dict)
    _habits: dict[int, _Habit] = field(default_factory=dict, init=False)

    def take(self, budgets: Sequence[Budget], nusd: int) -> Hold | Short:
        """Take `nusd` from the leases of every budget; or nothing, and say of which budget more must be leased."""
        now_ns = time.time_ns()
        parts: list[tuple[_Coin, int]] = []
        for budget in budgets:
            missing = nusd
            for coin in self.coins.get(budget.id, ()):
                if missing and coin.left and now_ns < min(coin.expires_ns - MARGIN_NS, coin.lease.end_ns):
                    parts.append((coin, min(missing, coin.left)))
                    missing -= parts[-1][1]
            if missing:
                return Short(budget, missing, nusd * self._ahead(budget.id, now_ns))
        for coin, part in parts:
            coin.left -= part
            coin.out += part
            if not coin.left:
                self.coins[coin.lease.budget].remove(coin)
        return Hold(nusd, tuple((coin.lease.id, part) for coin, part in parts))

    def add(self, lease: Lease) -> None:
        """Put a new lease in."""
        coin = _Coin(lease, lease.nusd, lease.expires_ns)
        self.by_id[lease.id] = coin
        self.coins.setdefault(lease.budget, deque()).append(coin)
        now_ns = time.time_ns()
        self._habits[lease.budget] = _Habit(self._ahead(lease.budget, now_ns), now_ns)

    def _ahead(self, budget: int, now_ns: int) -> int:
        """For how many requests to lease: more the sooner the last lease was used up, so that leases are seldom."""
        habit = self._habits.get(budget)
        if habit is None or now_ns - habit.at_ns > _SELDOM_NS:
            return _AHEAD
        return min(_MOST_AHEAD, 2 * habit.ahead) if now_ns - habit.at_ns < _OFTEN_NS else habit.ahead

    def give_back(self, hold: Hold, spent_nusd: int) -> None:
        """Put back what a settled or dropped request did not spend."""
        spent = hold.spent(spent_nusd)
        for id_, part in hold.parts:
            coin = self.by_id.get(id_)
            if coin is None:
                continue
            coin.out -= part
            if part > spent[id_]:
                if not coin.left:
                    self.coins[coin.lease.budget].appendleft(coin)
                coin.left += part - spent[id_]

    def renewed(self, ids: Iterable[str], expires_ns: int) -> None:
        """Note until when leases live now."""
        for id_ in ids:
            self.by_id[id_].expires_ns = expires_ns

    def drop(self, ids: Iterable[str]) -> None:
        """Forget leases that were ended."""
        for id_ in ids:
            coin = self.by_id.pop(id_, None)
            if coin is not None and coin.left:
                self.coins[coin.lease.budget].remove(coin)

    def stale(self, now_ns: int) -> list[str]:
        """The leases that cannot be spent from again: used up, of a window that is over, or no longer alive."""
        return [
            id_
            for id_, coin in self.by_id.items()
            if not (coin.left or coin.out) or now_ns > min(coin.lease.end_ns, coin.expires_ns) + MARGIN_NS
        ]

    def live(self) -> list[str]:
        """The leases to renew."""
        return list(self.by_id)


def wanted(short: Short, left_nusd: int) -> int:
    """How much to lease while a budget has `left_nusd`: less the nearer the limit is, but enough for one request."""
    return max(short.nusd, min(short.ahead_nusd, left_nusd // _PART))
