"""Requests, corrections and idle hours as FOCUS 1.2 charges: an hour of a tenant, a model, a version and a meter each.

List and contracted cost are unit price × quantity. What is billed is what was recorded, so it differs from the list
by rounding up, by the most that a request was allowed to cost, by corrections, and by idle hours, which have no price
on the list.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pennyweight.store.team.idle import HOUR_NS
from pennyweight.store.team.usage import Price

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.store.team.corrections import Correction
    from pennyweight.store.team.idle import Share

NUSD = 1_000_000_000
NAME = "pennyweight"
Row = dict[str, str | None]
OWN = ("x_ModelVersion", "x_Requests", "x_ComputeSeconds", "x_EnergyJoules")


@dataclass(frozen=True, slots=True)
class Group:
    """The requests of one hour, tenant, model, version and price (`price_id`), added up."""

    hour_ns: int
    tenant: str
    model: str
    number: int
    price_id: int
    requests: int
    fed: int
    cached: int
    made: int
    compute_ns: int
    energy_uj: int
    cost_nusd: int


@dataclass(frozen=True, slots=True)
class Meter:
    """One thing that is counted and has a price: `quantity` units at `price_nusd` each."""

    name: str
    unit: str
    quantity: Decimal
    price_nusd: int

    @property
    def list_nusd(self) -> Decimal:
        """What the list says."""
        return self.quantity * self.price_nusd


def of_group(group: Group, price: Price, organisation: str) -> Iterator[Row]:
    """The charges of a group, one for each meter that has a price; together they are exactly what was recorded."""
    found = meters(group, price)
    billed = [meter.list_nusd for meter in found[:-1]]
    billed.append(group.cost_nusd - sum(billed, Decimal()))
    for at, (meter, nusd) in enumerate(zip(found, billed, strict=True)):
        own = _own(group) if at == 0 else dict.fromkeys(OWN[1:])
        yield (
            _when(group.hour_ns, group.hour_ns)
            | _who(group.tenant, organisation)
            | _what(group.model, group.number)
            | _priced(meter, group.model, group.price_id, nusd)
            | {
                "ChargeFrequency": "Usage-Based",
                "ChargeDescription": f"{meter.name} of {group.model}@{group.number}",
                "x_ModelVersion": str(group.number),
                **own,
            }
        )


def of_correction(made: Correction, organisation: str) -> Row:
    """A correction: a Usage of quantity 0 that costs; a Correction by name if its month was over when it was made."""
    late = month(made.at_ns)[0] > month(made.for_ns)[0]
    meter = Meter("Correction", "Requests", Decimal(), 0)
    return (
        _when(made.for_ns - made.for_ns % HOUR_NS, made.at_ns)
        | _who(made.tenant, organisation)
        | _what(made.model, 0)
        | _priced(meter, made.model, 0, Decimal(made.cost_nusd))
        | {
            "ChargeClass": "Correction" if late else None,
            "ChargeFrequency": "One-Time",
            "ChargeDescription": f"Correction of {made.model}: {made.why}",
        }
    )


def of_idle(share: Share, organisation: str) -> Row:
    """A tenant's part of an idle hour: hours without a price on the list, at what they cost."""
    hours = Decimal(share.idle_ns) / HOUR_NS
    meter = Meter("Idle capacity", "Hours", hours.quantize(Decimal("1e-12")), 0)
    return (
        _when(share.begin_ns, share.begin_ns)
        | _who(share.tenant, organisation)
        | {"ResourceId": None, "ResourceName": None, "ResourceType": None}
        | _priced(meter, "machine", 0, Decimal(share.nusd))
        | {
            "SkuPriceDetails": None,
            "ChargeFrequency": "Recurring",
            "ChargeDescription": f"Idle capacity, shared by use: {share.tenant}",
        }
    )


def meters(group: Group, price: Price) -> list[Meter]:
    """What was counted and has a price; the number of requests, at none, if nothing has."""
    count = Decimal
    every = [
        Meter("Requests", "Requests", count(group.requests), price.request_nusd),
        Meter("Input units", "Units", count(group.fed - group.cached), price.in_nusd),
        Meter("Cached input units", "Units", count(group.cached), price.cached_nusd),
        Meter("Output units", "Units", count(group.made), price.out_nusd),
        Meter("Compute", "Seconds", count(group.compute_ns) / NUSD, price.second_nusd),
    ]
    return [each for each in every if each.price_nusd and each.quantity] or every[:1]


def month(at_ns: int) -> tuple[datetime, datetime]:
    """The month in UTC that holds a moment: its beginning and the beginning of the next."""
    begin = datetime.fromtimestamp(at_ns // NUSD, UTC).replace(day=1, hour=0, minute=0, second=0)
    return begin, begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)


def _when(hour_ns: int, billed_ns: int) -> Row:
    begin, end = month(billed_ns)
    return {
        "BillingPeriodStart": _moment(begin),
        "BillingPeriodEnd": _moment(end),
        "ChargePeriodStart": _moment(datetime.fromtimestamp(hour_ns // NUSD, UTC)),
        "ChargePeriodEnd": _moment(datetime.fromtimestamp((hour_ns + HOUR_NS) // NUSD, UTC)),
    }


def _who(tenant: str, organisation: str) -> Row:
    return {
        "BillingAccountId": organisation or tenant,
        "BillingAccountName": organisation or tenant,
        "BillingCurrency": "USD",
        "InvoiceIssuerName": NAME,
        "ProviderName": NAME,
        "PublisherName": NAME,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Machine Learning",
        "ServiceName": "Model serving",
        "SubAccountId": tenant,
        "SubAccountName": tenant,
    }


def _what(model: str, number: int) -> Row:
    return {
        "ResourceId": f"models/{model}/versions/{number}" if number else f"models/{model}",
        "ResourceName": model,
        "ResourceType": "Model version" if number else "Model",
    }


def _priced(meter: Meter, model: str, price_id: int, billed_nusd: Decimal) -> Row:
    sku = f"{model}/{meter.name.lower().replace(' ', '-')}"
    at_list, price, quantity = _usd(meter.list_nusd), _usd(Decimal(meter.price_nusd)), plain(meter.quantity)
    return {
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "BilledCost": _usd(billed_nusd),
        "EffectiveCost": _usd(billed_nusd),
        "ListCost": at_list,
        "ContractedCost": at_list,
        "ListUnitPrice": price,
        "ContractedUnitPrice": price,
        "PricingCategory": "Standard",
        "PricingQuantity": quantity,
        "PricingUnit": meter.unit,
        "ConsumedQuantity": quantity,
        "ConsumedUnit": meter.unit,
        "SkuId": sku,
        "SkuMeter": meter.name,
        "SkuPriceId": f"{sku}/{price_id}",
        "SkuPriceDetails": json.dumps({"x_Model": model}),
        **dict.fromkeys(OWN),
    }


def _own(group: Group) -> Row:
    return {
        "x_Requests": str(group.requests),
        "x_ComputeSeconds": plain(Decimal(group.compute_ns) / NUSD),
        "x_EnergyJoules": plain(Decimal(group.energy_uj) / 10**6),
    }


def _usd(nusd: Decimal) -> str:
    return plain(nusd / NUSD)


def plain(value: Decimal) -> str:
    """A decimal in digits, without an exponent and without zeros that say nothing."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def price_at(row: Any) -> Price:
    """The price in a row of the table of prices."""
    return Price(row.model, row.request_nusd, row.in_nusd, row.out_nusd, row.cached_nusd, row.second_nusd)
