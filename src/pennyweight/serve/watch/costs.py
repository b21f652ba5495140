"""Hours in which a tenant's requests to a model cost unlike they did before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select

from pennyweight.serve.watch.looks import Spending
from pennyweight.store.team.alerts import Alert
from pennyweight.store.team.tables import usage
from pennyweight.units import usd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    Numbers = NDArray[np.float64]

HOUR_NS = 3600 * 10**9
LEAST_HOURS = 12  # of its own past, before which nothing is odd
LEAST_REQUESTS = 20  # in an hour that is looked at
_FREEDOM = 5.0  # of Student's distribution: hours stray further than normally distributed ones, and are not odd yet
_QUARTILE = 0.7267  # of that distribution
_LEAST_SPREAD = 0.02  # cost per request that always varied less than this is said to have varied so
_NUSD = 1e9


@dataclass(frozen=True, slots=True)
class Hour:
    """What requests of a tenant to a model cost in one hour."""

    tenant: str
    model: str
    begin_ns: int
    requests: int
    cost_nusd: int


def hours(link: Connection, begin_ns: int, end_ns: int) -> tuple[Hour, ...]:
    """All hours between two moments, oldest first; time grows with the requests in between."""
    hour = usage.c.at_ns.op("/")(HOUR_NS)
    asked = (
        select(usage.c.tenant, usage.c.model, hour, func.count(), func.sum(usage.c.cost_nusd))
        .where(usage.c.at_ns >= begin_ns, usage.c.at_ns < end_ns)
        .group_by(usage.c.tenant, usage.c.model, hour)
    )
    rows = (Hour(row[0], row[1], int(row[2]) * HOUR_NS, int(row[3]), int(row[4])) for row in link.execute(asked))
    return tuple(sorted(rows, key=lambda each: (each.begin_ns, each.tenant, each.model)))


def oddness(past: NDArray[Any], now: NDArray[Any]) -> tuple[Numbers, Numbers]:
    """How many spreads (…) the logarithm of a cost `now` (…) is from its past (…, H), and the p-value of that.

    Median and median absolute deviation, so that odd hours in the past count little (Iglewicz & Hoaglin 1993); the
    p-value is Student's with five degrees of freedom, so that a heavy tail raises no false alarms.
    """
    from scipy.special import stdtr

    logs = np.log(np.asarray(past, dtype=np.float64))
    middle = np.median(logs, axis=-1)
    spread = np.median(np.abs(logs - middle[..., None]), axis=-1) / _QUARTILE
    score = (np.log(now) - middle) / np.maximum(spread, _LEAST_SPREAD)
    return score, 2 * stdtr(_FREEDOM, -np.abs(score))


def anomalies(seen: Iterable[Hour], begin_ns: int, spending: Spending | None = None) -> tuple[Alert, ...]:
    """Alerts about the hour that begins at `begin_ns`, each tenant and model against its own hours before.

    The chance of any false alarm within as many looks as are budgeted is about the alpha of `spending`, shared by all
    that are looked at (Bonferroni).
    """
    spending = spending or Spending()
    groups: dict[tuple[str, str], list[Hour]] = {}
    for each in seen:
        if each.requests >= LEAST_REQUESTS and each.cost_nusd > 0 and each.begin_ns <= begin_ns:
            groups.setdefault((each.tenant, each.model), []).append(each)
    fit = [found for found in groups.values() if found[-1].begin_ns == begin_ns and len(found) > LEAST_HOURS]
    return tuple(alert for found in fit if (alert := _odd(found, spending.level / len(fit))))


def _odd(found: list[Hour], level: float) -> Alert | None:
    each = np.array([hour.cost_nusd / hour.requests for hour in found])
    score, p = oddness(each[:-1], each[-1])
    if float(p) > level:
        return None
    usual, now, last = float(np.median(each[:-1])), float(each[-1]), found[-1]
    way = "more" if score > 0 else "less"
    text = f"requests of {last.tenant} to {last.model} cost {usd(now / _NUSD)} each, {way} than the usual"
    return Alert(last.model, 0, "cost", f"{text} {usd(usual / _NUSD)}", now / usual)
