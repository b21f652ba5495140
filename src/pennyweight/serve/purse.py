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
_AHEAD = 64  # requests like the present one that a lease is for


@dataclass(slots=True, eq=False)
class _Coin:
    lease: Lease
    left: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class Hold:
    """What a request has taken: `nusd` of every budget, as parts (lease, nusd) until it is settled or given back."""

    nusd: int
    parts: tuple[tuple[str, int], ...] = ()

    def spent(self, nusd: int) -> dict[str, int]:
        """How much of each lease is spent if the request costs `nusd`, at most what was taken."""
        found: dict[str, int] = {}
        left = 0
        for id_, part in self.parts:
            left = left or nusd  # the parts of one budget follow each other and add up to what was taken
            found[id_] = min(part, left)
            left -= found[id_]
        return found


@dataclass(frozen=True, slots=True)
class Short:
    """A budget of which too little is leased, and how much more a request needs."""

    budget: Budget
    nusd: int


@final
@dataclass(slots=True, eq=False)
class Purse:
    """The leases of one process, by budget. Not thread-safe: it belongs to the event loop."""

    coins: dict[int, deque[_Coin]] = field(default_factory=dict)
    by_id: dict[str, _Coin] = field(default_factory=dict)

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
                return Short(budget, missing)
        for coin, part in parts:
            coin.left -= part
        return Hold(nusd, tuple((coin.lease.id, part) for coin, part in parts))

    def add(self, lease: Lease) -> None:
        """Put a new lease in."""
        coin = _Coin(lease, lease.nusd, lease.expires_ns)
        self.by_id[lease.id] = coin
        self.coins.setdefault(lease.budget, deque()).appendleft(coin)

    def give_back(self, hold: Hold, spent_nusd: int) -> None:
        """Put back what a settled or dropped request did not spend."""
        spent = hold.spent(spent_nusd)
        for id_, part in hold.parts:
            if id_ in self.by_id:
                self.by_id[id_].left += part - spent[id_]

    def renewed(self, ids: Iterable[str], expires_ns: int) -> None:
        """Note until when leases live now."""
        for id_ in ids:
            self.by_id[id_].expires_ns = expires_ns

    def drop(self, ids: Iterable[str]) -> None:
        """Forget leases that were ended."""
        for id_ in ids:
            coin = self.by_id.pop(id_, None)
            if coin is not None:
                self.coins[coin.lease.budget].remove(coin)

    def stale(self, now_ns: int) -> list[str]:
        """The leases that cannot be spent from again: of a window that is over, or no longer alive."""
        return [id_ for id_, coin in self.by_id.items() if now_ns > min(coin.lease.end_ns, coin.expires_ns) + MARGIN_NS]

    def live(self) -> list[str]:
        """The leases to renew."""
        return list(self.by_id)


def wanted(nusd: int, left_nusd: int) -> int:
    """How much to lease for requests of `nusd` each while a budget has `left_nusd`: less the nearer the limit is."""
    return max(nusd, min(_AHEAD * nusd, left_nusd // _PART))
