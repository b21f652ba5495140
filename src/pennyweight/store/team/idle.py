"""What a machine costs while it computes nothing, shared out by rule: hour by hour, in proportion to use.

The rule: in every hour, capacity (the hours that the machine ran × its price) less the metered compute at that price is
idle. It is spread over the tenants in proportion to their compute in that hour; an hour that nobody used is spread in
proportion to the whole span.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from pennyweight.store.team.tables import usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

HOUR_NS = 3_600 * 10**9


@dataclass(frozen=True, slots=True)
class Share:
    """A tenant's part of an idle hour that begins at `begin_ns`: nanoseconds, and nano-dollars."""

    begin_ns: int
    tenant: str
    idle_ns: int
    nusd: int


def allocate(link: Connection, hour_nusd: int, begin_ns: int, end_ns: int) -> tuple[Share, ...]:
    """The shares of a machine of `hour_nusd` per hour that ran from the first request of a span to its end.

    Time and memory grow with the hours and the tenants in between.
    """
    used = _used(link, begin_ns, end_ns)
    first = link.execute(select(func.min(usage.c.at_ns)).where(usage.c.at_ns >= begin_ns, usage.c.at_ns < end_ns))
    return shares(used, hour_nusd, int(first.scalar() or end_ns), end_ns)


def shares(used: Mapping[int, Mapping[str, int]], hour_nusd: int, begin_ns: int, end_ns: int) -> tuple[Share, ...]:
    """Spread what was idle; `used` is the compute (ns) by the beginning of the hour and by tenant."""
    whole: dict[str, int] = {}
    for hour in used.values():
        for tenant, spent_ns in hour.items():
            whole[tenant] = whole.get(tenant, 0) + spent_ns
    found: list[Share] = []
    for hour_ns in range(begin_ns - begin_ns % HOUR_NS, end_ns, HOUR_NS):
        on_ns = min(end_ns, hour_ns + HOUR_NS) - max(begin_ns, hour_ns)
        here = used.get(hour_ns, {})
        idle_ns = max(0, on_ns - sum(here.values()))
        weights = here if sum(here.values()) else whole
        spread_ns = split(idle_ns, weights)
        spread_nusd = split(idle_ns * hour_nusd // HOUR_NS, weights)
        found += [Share(hour_ns, name, spread_ns[name], spread_nusd[name]) for name in spread_ns]
    return tuple(each for each in found if each.idle_ns)


def split(amount: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Whole parts in proportion to weights that add up to `amount` exactly: the largest remainders get one more."""
    total = sum(weights.values())
    if not total:
        return {}
    parts = {name: divmod(amount * weight, total) for name, weight in weights.items()}
    left = amount - sum(whole for whole, _ in parts.values())
    first = sorted(parts, key=lambda name: (-parts[name][1], name))[:left]
    return {name: whole + (name in first) for name, (whole, _) in sorted(parts.items())}


def _used(link: Connection, begin_ns: int, end_ns: int) -> dict[int, dict[str, int]]:
    hour = usage.c.at_ns.op("/")(HOUR_NS)
    asked = (
        select(hour, usage.c.tenant, func.sum(usage.c.compute_ns))
        .where(usage.c.at_ns >= begin_ns, usage.c.at_ns < end_ns)
        .group_by(hour, usage.c.tenant)
    )
    found: dict[int, dict[str, int]] = {}
    for number, tenant, spent_ns in link.execute(asked):
        found.setdefault(int(number) * HOUR_NS, {})[tenant] = int(spent_ns)
    return found
