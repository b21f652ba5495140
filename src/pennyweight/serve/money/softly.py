"""Budgets that only warn: money is counted against them when it is spent, and they are told of at 80% and at 100%."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pennyweight.store.team import alerts
from pennyweight.store.team.alerts import Alert
from pennyweight.store.team.budgets import warnings
from pennyweight.store.team.periods import span
from pennyweight.units import percent, usd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from pennyweight.store.team.alerts import Kind
    from pennyweight.store.team.budgets import Budget, State
    from pennyweight.store.team.tenants import Ring
    from pennyweight.store.team.usage import Request

    Soft = Mapping[tuple[str, str], tuple[Budget, ...]]

_NUSD = 1e9
_LOCAL = ("local", "")


def by_caller(ring: Ring, budgets: Sequence[Budget]) -> Soft:
    """The soft budgets that a request is counted against, by its tenant and key; without any key by "local" and ""."""
    soft = [each for each in budgets if not each.hard]
    if not soft:
        return {}
    owners = {(caller.tenant.name, caller.key): frozenset(caller.owners) for _, caller in ring.callers.values()}
    owners[_LOCAL] = frozenset({("tenant", "local"), ("organisation", "local")})
    found = {of: tuple(each for each in soft if (each.level, each.owner) in mine) for of, mine in owners.items()}
    return {of: each for of, each in found.items() if each}


def spent(requests: Iterable[Request], soft: Soft) -> dict[tuple[int, int], int]:
    """What requests add to soft budgets, by budget and the beginning of its window."""
    found: Counter[tuple[int, int]] = Counter()
    for request in requests:
        for budget in soft.get((request.tenant, request.key), ()):
            begin, _ = span(budget.period, budget.zone, request.at_ns)
            found[budget.id, begin] += request.cost_nusd
    return dict(found)


def warn(link: Connection, now_ns: int, told: set[tuple[int, int, str]]) -> None:
    """Keep an alert for every budget that has reached 80% or 100%: once in its window, whichever process is first.

    `told` is what this process knows to be said already; it forgets windows that are over.
    """
    stands = warnings(link, now_ns)
    now = {(each.budget.id, each.begin_ns, each.warning): each for each in stands}
    for of, each in now.items():
        if of not in told:
            alerts.add(link, _alert(each), now_ns - each.begin_ns)
    told.clear()
    told.update(now)


def _alert(stands: State) -> Alert:
    of = stands.budget
    what = f"{percent(stands.used, 0)} of the {usd(of.limit_nusd / _NUSD)} per {of.period} of {of.level} {of.owner}"
    end = "" if of.hard else "; it is a soft budget, nothing is refused"
    level: Kind = "budget 100%" if stands.warning == "100%" else "budget 80%"
    return Alert(of.owner, of.id, level, f"{what} is spent{end}.", stands.used)
