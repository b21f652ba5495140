"""A team's store with a few hours of requests of two tenants, at prices that change in between."""

from pennyweight.store.team import usage
from pennyweight.store.team.corrections import Correction, correct
from pennyweight.store.team.tables import price
from pennyweight.store.team.tenants import Tenant, add_tenant

S = 10**9
HOUR = 3600 * S
NOV_3 = 1_793_664_000 * S  # 2026-11-03, midnight in UTC


def fill(link, *, corrections=True):
    """Requests in the first and the third hour of November 3rd; what they cost, in nano-dollars."""
    for name, group in (("acme", "group"), ("beta", "beta")):
        add_tenant(link, Tenant(name, group))
    tariffs = [(NOV_3 - HOUR, 0, 7), (NOV_3 + HOUR, 1000, 7)]
    names = ("since_ns", "request_nusd", "second_nusd")
    rest = {"model": "digits", "in_nusd": 0, "out_nusd": 0, "cached_nusd": 0}
    link.execute(price.insert(), [dict(zip(names, each, strict=True)) | rest for each in tariffs])
    rows = [
        usage.Request(f"r{n}", at, who, "k", "digits", 1 + n % 2, usage.Units(3, 3, 1, 700_000_000, 5), 200, nusd)
        for n, (at, who, nusd) in enumerate(
            [
                (NOV_3 + 5, "acme", 5),
                (NOV_3 + 60 * S, "acme", 5),
                (NOV_3 + 61 * S, "beta", 5),
                (NOV_3 + 2 * HOUR, "acme", 1005),
                (NOV_3 + 3 * HOUR - 1, "acme", 1005),
                (NOV_3 + 3 * HOUR - 2, "beta", 1004),
            ]
        )
    ]
    usage.record(link, rows)
    if corrections:
        noon = NOV_3 + 12 * HOUR
        correct(link, [Correction("acme", "digits", noon, -500, "double", at_ns=noon + HOUR)])
        correct(link, [Correction("beta", "digits", noon, -70, "late", at_ns=noon + 40 * 24 * HOUR)])
    return sum(row.cost_nusd for row in rows)
