"""What requests come to: sums over usage, corrections and shares of idle machines, in whole nano-dollars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, literal, select

from pennyweight.errors import UnknownNameError
from pennyweight.store.team.tables import correction, tenant, usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from pennyweight.store.team.idle import Share

_DAY_NS = 86_400 * 10**9
BY = ("tenant", "organisation", "model", "version", "key", "day")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill: what it is for (in the order asked), how much of it, and what it costs."""

    of: tuple[str, ...]
    requests: int
    fed: int
    made: int
    compute_s: float
    joule: float
    usage_nusd: int
    corrected_nusd: int
    idle_nusd: int = 0  # a line has either this or the others

    @property
    def total_nusd(self) -> int:
        """What is to be paid."""
        return self.usage_nusd + self.corrected_nusd + self.idle_nusd

    def facts(self, by: Sequence[str]) -> dict[str, Any]:
        """The line as plain values, what it is for under the words that it was asked `by`."""
        return dict(zip(by, self.of, strict=True)) | {
            "requests": self.requests,
            "in_units": self.fed,
            "out_units": self.made,
            "compute_s": self.compute_s,
            "joule": self.joule,
            "usage_nusd": self.usage_nusd,
            "corrected_nusd": self.corrected_nusd,
            "idle_nusd": self.idle_nusd,
            "total_nusd": self.total_nusd,
        }


def lines(link: Connection, by: Sequence[str], begin_ns: int, end_ns: int) -> tuple[Line, ...]:
    """The bill of the requests from `begin_ns` on and before `end_ns`, dearest first.

    A correction counts on the day that it corrects. Days are those of UTC. Raises `UnknownNameError` for a word that
    bills are not split by. Time grows with the rows in between; memory with the lines.
    """
    wrong = next((each for each in by if each not in BY), None)
    if wrong is not None:
        raise UnknownNameError.of("split of a bill", wrong, BY)
    used = _used(link, by, begin_ns, end_ns)
    mended = _mended(link, by, begin_ns, end_ns)
    rows = {of: Line(of, 0, 0, 0, 0.0, 0.0, 0, 0) for of in mended} | used
    found = [replace(line, corrected_nusd=mended.get(of, 0)) for of, line in rows.items()]
    return tuple(sorted(found, key=lambda line: (-line.total_nusd, line.of)))


def idle_lines(link: Connection, by: Sequence[str], shares: Sequence[Share]) -> tuple[Line, ...]:
    """Idle capacity as lines of their own, dearest first; models, versions and keys are "" there."""
    of_tenant = {row.name: row.organisation for row in link.execute(select(tenant))}
    found: dict[tuple[str, ...], int] = {}
    for share in shares:
        facts = {
            "tenant": share.tenant,
            "organisation": of_tenant.get(share.tenant, ""),
            "day": _day(share.begin_ns // _DAY_NS),
        }
        of = tuple(facts.get(each, "") for each in by)
        found[of] = found.get(of, 0) + share.nusd
    made = (Line(of, 0, 0, 0, 0.0, 0.0, 0, 0, nusd) for of, nusd in found.items())
    return tuple(sorted(made, key=lambda line: (-line.total_nusd, line.of)))


def _used(link: Connection, by: Sequence[str], begin_ns: int, end_ns: int) -> dict[tuple[str, ...], Line]:
    split = {
        "tenant": usage.c.tenant,
        "organisation": tenant.c.organisation,
        "model": usage.c.model,
        "version": usage.c.number,
        "key": usage.c.key,
        "day": usage.c.at_ns.op("/")(_DAY_NS),
    }
    columns = [split[each] for each in by]
    asked = (
        select(
            *columns,
            func.count(),
            func.sum(usage.c.in_units),
            func.sum(usage.c.out_units),
            func.sum(usage.c.compute_ns),
            func.sum(usage.c.energy_uj),
            func.sum(usage.c.cost_nusd),
        )
        .select_from(usage.outerjoin(tenant, tenant.c.name == usage.c.tenant))
        .where(usage.c.at_ns >= begin_ns, usage.c.at_ns < end_ns)
        .group_by(*columns)
    )
    found = {}
    for row in link.execute(asked):
        count, fed, made, compute_ns, energy_uj, nusd = (int(each or 0) for each in row[len(by) :])
        if count:
            of = _of(by, row)
            found[of] = Line(of, count, fed, made, compute_ns / 1e9, energy_uj / 1e6, nusd, 0)
    return found


def _mended(link: Connection, by: Sequence[str], begin_ns: int, end_ns: int) -> dict[tuple[str, ...], int]:
    nobody: Any = literal("")
    split = {
        "tenant": correction.c.tenant,
        "organisation": tenant.c.organisation,
        "model": correction.c.model,
        "version": nobody,
        "key": nobody,
        "day": correction.c.for_ns.op("/")(_DAY_NS),
    }
    rows = select(*(split[each].label(each) for each in by), correction.c.cost_nusd).select_from(
        correction.outerjoin(tenant, tenant.c.name == correction.c.tenant)
    )
    found: dict[tuple[str, ...], int] = {}
    for row in link.execute(rows.where(correction.c.for_ns >= begin_ns, correction.c.for_ns < end_ns)):
        of = _of(by, row)
        found[of] = found.get(of, 0) + int(row[-1])
    return found


def _of(by: Sequence[str], row: Any) -> tuple[str, ...]:
    return tuple(_day(value) if each == "day" else str(value) for each, value in zip(by, row, strict=False))


def _day(number: Any) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(number) * 86_400, UTC).date().isoformat()
