"""An invoice beside what was metered: the differences by tenant, model and day, and the corrections that end them."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from operator import itemgetter
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.store.team.bills import lines
from pennyweight.store.team.corrections import Correction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    Of = tuple[str, str, str]

NUSD = 1_000_000_000
PLAIN = ("tenant", "model", "day", "usd")
# The same in a FOCUS data set; the day is the first ten characters of the moment.
FOCUS = ("SubAccountId", "ResourceName", "ChargePeriodStart", "BilledCost")
_MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class Invoice:
    """What was billed, in nano-dollars by (tenant, model, day in UTC); `left_out` rows name no model."""

    billed: Mapping[Of, int]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an invoice and the meter do not agree; None is what one of the two says nothing about."""

    tenant: str
    model: str
    day: str
    billed_nusd: int | None
    metered_nusd: int | None

    @property
    def nusd(self) -> int:
        """Billed less metered: the correction that makes the two agree."""
        return (self.billed_nusd or 0) - (self.metered_nusd or 0)

    @property
    def kind(self) -> str:
        """What sort of difference it is."""
        if self.metered_nusd is None:
            return "billed, not metered"
        if self.billed_nusd is None:
            return "metered, not billed"
        return "billed more" if self.nusd > 0 else "billed less"

    def correction(self, why: str) -> Correction:
        """The row that makes the bill equal to the invoice, for noon of the day."""
        begin_ns, _ = day_ns(self.day)
        return Correction(self.tenant, self.model, begin_ns + 43_200 * NUSD, self.nusd, why)


def read(path: Path) -> Invoice:
    """An invoice: CSV with tenant, model, day, usd, or a FOCUS data set; several rows of one day add up.

    Raises `BadInputError` that names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(csv.DictReader(file), path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{path} cannot be read: {error}.", "give an invoice as a CSV file.") from error


def differences(link: Connection, invoice: Invoice, least_nusd: int = 1) -> tuple[Difference, ...]:
    """Where the bill differs by `least_nusd` or more on the days from the invoice's first to its last."""
    days = sorted({day for _, _, day in invoice.billed})
    if not days:
        return ()
    begin, end = day_ns(days[0])[0], day_ns(days[-1])[1]
    metered = {
        (line.of[0], line.of[1], line.of[2]): line.total_nusd
        for line in lines(link, ("tenant", "model", "day"), begin, end)
    }
    asked = sorted({*invoice.billed, *metered}, key=itemgetter(2, 0, 1))
    found = (Difference(*of[:3], invoice.billed.get(of), metered.get(of)) for of in asked)
    return tuple(each for each in found if abs(each.nusd) >= max(1, least_nusd))


def day_ns(text: str) -> tuple[int, int]:
    """The first nanosecond of a day such as "2026-11-03" in UTC, and the first after it."""
    try:
        begin = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    except ValueError as error:
        raise BadInputError(f"{text[:40]!r} is no day.", "write it as 2026-11-03.") from error
    end = begin + timedelta(days=1)
    return int(begin.timestamp()) * NUSD, int(end.timestamp()) * NUSD


def _read(rows: csv.DictReader[str], path: Path) -> Invoice:
    heads = tuple(rows.fieldnames or ())
    names = next((names for names in (PLAIN, FOCUS) if set(names) <= set(heads)), None)
    if names is None:
        raise BadInputError(
            f"{path} has the columns {', '.join(heads)[:200]}.", f"give {', '.join(PLAIN)}, or a FOCUS data set."
        )
    return _summed(rows, names, path)


def _summed(rows: Iterable[Mapping[str, str]], names: tuple[str, ...], path: Path) -> Invoice:
    billed: Counter[Of] = Counter()
    left_out = 0
    for line, row in enumerate(rows, 2):
        tenant, model, day, usd = ((row.get(name) or "").strip() for name in names)
        if line > _MOST_ROWS:
            raise BadInputError(f"{path} has more than {_MOST_ROWS:,} rows.", "give one month at a time.")
        if not tenant or (not model and names is PLAIN):
            raise BadInputError(f"{path}, line {line}: who or what is billed is missing.", f"give {', '.join(names)}.")
        if not model:
            left_out += 1
            continue
        day_ns(day[:10])
        billed[tenant, model, day[:10]] += _nusd(usd, f"{path}, line {line}")
    return Invoice(dict(billed), left_out)


def _nusd(text: str, where: str) -> int:
    try:
        value = Decimal(text.removeprefix("$")) * NUSD
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) > 2**62:
        raise BadInputError(f"{where}: {text[:40]!r} is no amount in dollars.", "write it as 12.5.")
    return round(value)
